"""CATALOG + a checkpoint -> PREDICTIONS, in one streamed Ray Data job without features on disk; then what they say."""

import dataclasses
from typing import Any

import pyarrow as pa
import ray.data

from genreray import checkpoint, outputs, pipeline, spread, storage, tables
from genreray.cluster import Cluster, Gpu
from genreray.errors import UserError
from genreray.extract import feature_stage
from genreray.isolation import DEFAULT_LIMITS, Limits
from genreray.outputs import Wanted
from genreray.parts import Parts
from genreray.pipeline import Outcome
from genreray.predict import prediction_stage
from genreray.predictions import PREDICTIONS_FOLDER, REVIEW_FILE
from genreray.progress import Progress

_TOP_K = 3


@dataclasses.dataclass(frozen=True)
class Tagged(Outcome):
    """What became of the tracks, and what was written of it."""

    facts: dict[str, Any] = dataclasses.field(default_factory=dict)  # for the summary


def tag(
    catalog: pa.Table,
    tags_uri: str,
    checkpoint_uri: str,
    *,
    top_k: int | None,
    gpu: Gpu,
    cluster: Cluster,
    progress: Progress,
    wanted: Wanted = Wanted(),  # noqa: B008 - frozen
    embedding: bool = False,
    coverage: int = 1,
    model: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
    retry_failed: bool = False,
    fresh: bool = False,
) -> Tagged:
    """Label every track of `catalog`: PREDICTIONS in Parquet below `tags_uri`, as the job goes, then what is `wanted`.

    PREDICTIONS hold all that the model says, by the names of its own genres: every genre with its probability, of
    models of several genres a track those above their thresholds; with `embedding` that column too. They are the means
    over at most `coverage` clips spread over each track. `top_k` (None: three, or all where there are fewer) and the
    names of a map are for what people get of it, which each run writes anew. `model` is a module that the user named,
    where the checkpoint is of one.

    Tracks that are there already are not done again, but with `retry_failed` those whose status is not ok; with `fresh`
    what is there is deleted first. One row comes out for each row that goes in.
    Raises UserError where there is no checkpoint, the folder holds something else or another model's labels, or what is
    wanted cannot be.
    """
    settings = _settings(checkpoint_uri, model)
    spread.check(coverage, settings.features.duration)
    view = wanted.view(settings.genres, _shown(top_k, settings), settings.tree or {})
    _check_output(tags_uri)
    wanted.check(catalog, tags_uri)
    schema = _schema(checkpoint_uri, settings, coverage, embedding)
    output = Parts(storage.join(tags_uri, PREDICTIONS_FOLDER), schema)

    def stages(rows: "ray.data.Dataset") -> "ray.data.Dataset":
        made = feature_stage(pipeline.stage(rows, stamp_block), settings.features, limits, coverage)
        tagged = prediction_stage(made, checkpoint_uri, top_k=len(settings.genres), gpu=gpu, embedding=embedding)
        return pipeline.stage(tagged, pipeline.write_part, parts=output)

    if fresh:
        cluster.connect(progress.line)  # what cannot begin shall not delete
        storage.delete_files([*outputs.made_before(tags_uri), *output.ours()], tags_uri)
    done = pipeline.run(
        catalog,
        stages,
        output,
        cluster=cluster,
        progress=progress,
        seconds=coverage * settings.features.duration,
        retry_failed=retry_failed,
    )
    n_rows = sum(done.counts.values())
    facts = outputs.write(output.files(), schema.names, catalog, n_rows, wanted, view, tags_uri, progress)
    return Tagged(**vars(done), facts=facts)


def _settings(checkpoint_uri: str, model: str | None) -> checkpoint.Settings:
    """Return what a checkpoint says of itself; raises UserError for one that cannot label files."""
    settings = checkpoint.load_settings(checkpoint_uri, model)
    if settings.statistics == checkpoint.FMA:
        raise UserError(
            f"{checkpoint_uri} was trained on FMA's own statistics of whole tracks, which files do not have: "
            "train without --fma-features"
        )
    return settings


def _schema(checkpoint_uri: str, settings: checkpoint.Settings, coverage: int, embedding: bool) -> pa.Schema:
    """Return the columns of PREDICTIONS, and in their metadata what made them."""
    metadata = {
        "table": "predictions",
        "checkpoint": checkpoint.fingerprint(checkpoint_uri),
        "genres": settings.genres,
        "tree": settings.tree,
        "coverage": coverage,
        "embedding": embedding,
    }
    return tables.with_metadata(tables.predictions(embedding, of_files=True), metadata)


def _shown(top_k: int | None, settings: checkpoint.Settings) -> int | None:
    """Return how many genres of a track people get; None of several a track, which are as many as there are."""
    if settings.tree is not None:
        return None
    n = len(settings.genres)
    top_k = min(_TOP_K, n) if top_k is None else top_k
    if not 1 <= top_k <= n:
        raise UserError(f"top k is {top_k}: give 1 to {n}, the number of genres of the checkpoint")
    return top_k


def stamp_block(block: pa.Table) -> pa.Table:
    """Return rows of CATALOG with the size and the time of each file on disk, before anything is read of it."""
    stamps = [storage.stamp(uri) for uri in block.column("uri").to_pylist()]
    values = ([stamp and stamp.size for stamp in stamps], [stamp and stamp.modified for stamp in stamps])
    for field, column in zip(tables.FILE_STAMP, values, strict=True):
        block = block.append_column(field, pa.array(column, field.type))
    return block


def _check_output(tags_uri: str) -> None:
    """Raise UserError where the folder holds what no earlier run of this job can have written."""
    if not storage.exists(tags_uri):
        return
    if not storage.is_folder(tags_uri):
        raise UserError(f"{tags_uri} is a file: give a folder")
    names = [name for name, _ in storage.list_files(tags_uri)]
    others = [name for name in names if not name.startswith(f"{PREDICTIONS_FOLDER}/")]
    with_predictions = len(others) < len(names)
    known = (name == REVIEW_FILE or outputs.is_ours(name, with_predictions=with_predictions) for name in others)
    foreign = next((name for name, is_known in zip(others, known, strict=True) if not is_known), None)
    if foreign is not None:
        raise UserError(f"{tags_uri} holds {foreign}, which this job did not write: give another folder")
