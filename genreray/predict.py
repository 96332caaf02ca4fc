"""Rows of FEATURES + a checkpoint -> PREDICTIONS, on Ray Data: tasks on CPUs, actors on GPUs."""

import functools
from typing import Any

import pyarrow as pa
import ray
import ray.data
import torch

from genreray import checkpoint, heap, labels, loading, predictions, scoring, spread, tables
from genreray.checkpoint import Checkpoint
from genreray.cluster import Cluster, Gpu, may_grow, n_gpus, wants_gpu
from genreray.errors import Status, UserError
from genreray.featureset import FeatureSet
from genreray.feed import row_dataset
from genreray.progress import Progress


def predict(
    features: FeatureSet,
    checkpoint_uri: str,
    *,
    split: str | None,
    gpu: Gpu,
    cluster: Cluster,
    progress: Progress,
    embedding: bool = False,
    model: str | None = None,
) -> pa.Table:
    """Return PREDICTIONS with the probabilities of all genres for every row in `split` (or all), by track id.

    With `embedding`, that column too; where a track has several genres, those of tables.TO_SCORE.
    `model` is a module that the user named, where the checkpoint is of one.
    Raises UserError where the features were made with other settings than the checkpoint's.
    """
    settings = checkpoint.load_settings(checkpoint_uri, model)
    check_features(features, checkpoint_uri, settings)
    index = features.rows(split)
    cluster.connect(progress.line)
    columns = ["track_id", "uri", "genre", "status", "error", "n_frames"]
    to_score = settings.tree is not None
    if to_score:
        columns.append("genres")
    rows = row_dataset(index, [*columns, *loading.columns(settings.build().inputs)])
    predicted = prediction_stage(
        rows, checkpoint_uri, top_k=len(settings.genres), gpu=gpu, embedding=embedding, to_score=to_score
    )
    found = []
    with progress.track(len(index)) as advance:
        for block in predicted.iter_batches(batch_size=None, batch_format="pyarrow"):
            found.append(block)
            advance(len(block))
    return pa.concat_tables(found).cast(tables.predictions(embedding, to_score)).sort_by("track_id")


def check_features(features: FeatureSet, checkpoint_uri: str, settings: checkpoint.Settings) -> None:
    """Raise UserError where the features were made with other settings than the checkpoint's."""
    if settings.features != features.config:
        raise UserError(
            f"{features.uri} and {checkpoint_uri} were made with different feature settings: "
            f"extract features with those of the checkpoint ({_shown(settings)})"
        )


def prediction_stage(
    rows: "ray.data.Dataset",
    checkpoint_uri: str,
    *,
    top_k: int,
    gpu: Gpu,
    embedding: bool = False,
    to_score: bool = False,
) -> "ray.data.Dataset":
    """Add the stage that turns rows of FEATURES into rows of PREDICTIONS; the other arguments are `predict_rows`'."""
    arguments = {
        "checkpoint_uri": checkpoint_uri,
        "fingerprint": checkpoint.fingerprint(checkpoint_uri),
        "top_k": top_k,
        "embedding": embedding,
        "to_score": to_score,
    }
    if not wants_gpu(gpu):
        return rows.map_batches(predict_block, fn_kwargs=arguments, batch_size=None, batch_format="pyarrow")
    return rows.map_batches(
        GpuPredictor,
        fn_constructor_kwargs=arguments,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=None if may_grow() else n_gpus()),
        num_gpus=1,
        num_cpus=0,  # or it would hold the CPU of the tasks that feed it, where there is but one
        batch_size=None,
        batch_format="pyarrow",
    )


class GpuPredictor:
    """An actor that holds the network on its GPU."""

    def __init__(self, checkpoint_uri: str, fingerprint: str, **how: Any) -> None:
        self._checkpoint = _load(checkpoint_uri, fingerprint)
        self._checkpoint.model.cuda()
        self._how = how

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return rows of PREDICTIONS for rows of FEATURES."""
        return predict_rows(block, self._checkpoint, device=torch.device("cuda"), **self._how)


def predict_block(block: pa.Table, checkpoint_uri: str, fingerprint: str, **how: Any) -> pa.Table:
    """Return rows of PREDICTIONS for rows of FEATURES, with the checkpoint kept in the worker's memory."""
    heap.keep()
    return predict_rows(block, _load(checkpoint_uri, fingerprint), device=torch.device("cpu"), **how)


@functools.lru_cache(maxsize=1)
def _load(checkpoint_uri: str, fingerprint: str) -> Checkpoint:
    """Load a checkpoint once a process; by its fingerprint, so that a folder trained anew is loaded anew."""
    return checkpoint.load(checkpoint_uri, approved=fingerprint)


def predict_rows(
    rows: pa.Table,
    trained: Checkpoint,
    top_k: int,
    device: torch.device,
    embedding: bool = False,
    to_score: bool = False,
) -> pa.Table:
    """Return one row of PREDICTIONS for each row of FEATURES, or of FEATURES_OF_CLIPS.

    Its genres are the `top_k` most probable ones; where a track has several, those above their thresholds, and with
    `to_score` the columns of tables.TO_SCORE. Of several clips of a track the probabilities are averaged, as those of
    crops are within each, and so are embeddings.
    """
    settings = trained.settings
    clips, counts = spread.clips_of(rows)
    hierarchy = settings.hierarchy()
    of_clips, embeddings = scoring.score(clips, trained, device, embedding)
    found: list[dict[str, Any]] = []
    if len(of_clips):
        values = spread.mean(of_clips, counts)
        if hierarchy is None:
            found = predictions.of_one_genre(values, settings.genres, top_k)
        else:
            found = predictions.of_several_genres(values, settings.genres, settings.thresholds, hierarchy, to_score)
        more: dict[str, list[Any]] = {"n_clips": counts.tolist()}
        if embeddings is not None:
            more["embedding"] = spread.mean(embeddings, counts).tolist()
        found = [{**answer, **{name: of[i] for name, of in more.items()}} for i, answer in enumerate(found)]
    of_files = all(field.name in rows.schema.names for field in tables.FILE_STAMP)
    return _joined(rows, found, settings, tables.predictions(embedding, to_score, of_files))


def _joined(rows: pa.Table, found: list[dict[str, Any]], settings: checkpoint.Settings, schema: pa.Schema) -> pa.Table:
    """Return rows of PREDICTIONS: what is known of each row of FEATURES, and what was found of those that are ok."""
    answers = iter(found)
    known = ("track_id", "uri", "status", "error", *(field.name for field in tables.FILE_STAMP))
    columns = [name for name in known if name in rows.schema.names]
    truth = [{"true_genre": genre} for genre in rows.column("genre").to_pylist()]
    if "true_genres" in schema.names:
        several = labels.all_genres(rows, settings.tree or {})
        truth = [{**row, "true_genres": genres} for row, genres in zip(truth, several, strict=True)]
    return pa.Table.from_pylist(
        [
            {**row, **true, **(next(answers) if row["status"] == Status.OK.value else {})}
            for row, true in zip(rows.select(columns).to_pylist(), truth, strict=True)
        ],
        schema=schema,
    )


def _shown(settings: checkpoint.Settings) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in settings.features.to_json().items())
