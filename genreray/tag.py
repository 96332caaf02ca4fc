"""CATALOG + a checkpoint -> PREDICTIONS, in one streamed Ray Data job: no features on disk; and tags.csv."""

import csv
import io
from typing import Any

import pyarrow as pa
import ray.data

from genreray import checkpoint, parts, pipeline, storage, tables
from genreray.cluster import Cluster, Gpu
from genreray.errors import UserError
from genreray.extract import feature_stage
from genreray.isolation import DEFAULT_LIMITS, Limits
from genreray.parts import Parts
from genreray.pipeline import Outcome
from genreray.predict import prediction_stage
from genreray.progress import Progress

PREDICTIONS_FOLDER = "predictions"
CSV_FILE = "tags.csv"
SUMMARY_FILE = "summary.json"
_AT_A_TIME = 4096  # rows of tags.csv that are Python's objects


def tag(
    catalog: pa.Table,
    tags_uri: str,
    checkpoint_uri: str,
    *,
    top_k: int,
    gpu: Gpu,
    cluster: Cluster,
    progress: Progress,
    embedding: bool = False,
    model: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
    retry_failed: bool = False,
    fresh: bool = False,
) -> Outcome:
    """Label every track of `catalog`: PREDICTIONS in Parquet below `tags_uri`, as the job goes, and tags.csv.

    With `embedding`, PREDICTIONS have that column too. `top_k` is for models of one genre a track; of several, all
    that are above their thresholds are given. `model` is a module that the user named, where the checkpoint
    is of one.

    Tracks that are there already are not done again, but with `retry_failed` those whose status is not ok; with `fresh`
    what is there is deleted first. One row comes out for each row that goes in.
    Raises UserError where there is no checkpoint, or the folder holds something else or another model's labels.
    """
    settings = checkpoint.load_settings(checkpoint_uri, model)
    if settings.statistics == checkpoint.FMA:
        raise UserError(
            f"{checkpoint_uri} was trained on FMA's own statistics of whole tracks, which files do not have: "
            "train without --fma-features"
        )
    several = settings.tree is not None
    if not several and not 1 <= top_k <= len(settings.genres):
        raise UserError(f"top k is {top_k}: give 1 to {len(settings.genres)}, the number of genres of the checkpoint")
    _check_output(tags_uri)
    metadata = {
        "table": "predictions",
        "checkpoint": checkpoint.fingerprint(checkpoint_uri),
        "embedding": embedding,
        **({} if several else {"top_k": top_k}),
    }
    schema = tables.with_metadata(tables.predictions(embedding), metadata)
    output = Parts(storage.join(tags_uri, PREDICTIONS_FOLDER), schema)

    def stages(rows: "ray.data.Dataset") -> "ray.data.Dataset":
        made = feature_stage(rows, settings.features, limits)
        return prediction_stage(made, checkpoint_uri, top_k=top_k, gpu=gpu, embedding=embedding)

    if fresh:
        cluster.connect(progress.line)  # what cannot begin shall not delete
        others = [storage.join(tags_uri, name) for name in (CSV_FILE, SUMMARY_FILE)]
        storage.delete_files([*others, *output.ours()], tags_uri)
    outcome = pipeline.run(catalog, stages, output, cluster=cluster, progress=progress, retry_failed=retry_failed)
    write_csv(output, storage.join(tags_uri, CSV_FILE), None if several else top_k)
    return outcome


def _check_output(tags_uri: str) -> None:
    """Raise UserError where the folder holds what no earlier run of this job can have written."""
    if not storage.exists(tags_uri):
        return
    if not storage.is_folder(tags_uri):
        raise UserError(f"{tags_uri} is a file: give a folder")
    names = [name for name, _ in storage.list_files(tags_uri)]
    predictions = [name for name in names if name.startswith(f"{PREDICTIONS_FOLDER}/")]
    ours = {CSV_FILE, SUMMARY_FILE, *predictions} if predictions else set()
    foreign = next((name for name in names if name not in ours), None)
    if foreign is not None:
        raise UserError(f"{tags_uri} holds {foreign}, which this job did not write: give another folder")


def write_csv(output: Parts, uri: str, top_k: int | None) -> None:
    """Write the predictions as one CSV in the order of track ids.

    A column for each of the `top_k` best genres and its probability; where top_k is None, one for all genres.
    """
    columns = [field.name for field in tables.PREDICTIONS]
    rows = parts.read(output.files(), columns, tables.PREDICTIONS).sort_by("track_id")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ranks = range(1, (top_k or 0) + 1)
    names = [name for rank in ranks for name in (f"genre_{rank}", f"probability_{rank}")]
    writer.writerow(["track_id", "uri", "status", "error", *(names or ("genre", "genres", "probabilities"))])
    in_turn = (row for batch in rows.to_batches(max_chunksize=_AT_A_TIME) for row in batch.to_pylist())
    for row in in_turn:
        cells = _joined(row) if top_k is None else _ranked(row, top_k)
        writer.writerow([row["track_id"], row["uri"], row["status"], row["error"], *cells])
    storage.write_text(uri, text.getvalue())


def _ranked(row: dict[str, Any], top_k: int) -> list[str]:
    best = [value for genre in row["genres"] or () for value in (genre["genre"], f"{genre['probability']:.4f}")]
    return [*best, *[""] * (2 * top_k - len(best))]


def _joined(row: dict[str, Any]) -> list[str]:
    found = row["genres"] or ()
    names, probabilities = (genre["genre"] for genre in found), (f"{genre['probability']:.4f}" for genre in found)
    return [row["genre"] or "", "; ".join(names), "; ".join(probabilities)]
