"""Rows of FEATURES + a checkpoint -> PREDICTIONS, on Ray Data: tasks on CPUs, actors on GPUs."""

import functools
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data
import torch

from genreray import checkpoint, dataset, loop, tables
from genreray.checkpoint import Checkpoint
from genreray.cluster import Cluster, Gpu, wants_gpu
from genreray.errors import Status, UserError
from genreray.featureset import FeatureSet
from genreray.feed import row_dataset
from genreray.progress import Progress

_BATCH = 32  # clips scored at a time


def predict(
    features: FeatureSet,
    checkpoint_uri: str,
    *,
    split: str | None,
    gpu: Gpu,
    cluster: Cluster,
    progress: Progress,
    embedding: bool = False,
) -> pa.Table:
    """Return PREDICTIONS with the probabilities of all genres for every row in `split` (or all), by track id.

    With `embedding`, that column too.
    Raises UserError where the features were made with other settings than the checkpoint's.
    """
    settings = checkpoint.load_settings(checkpoint_uri)
    if settings.features != features.config:
        raise UserError(
            f"{features.uri} and {checkpoint_uri} were made with different feature settings: "
            f"extract features with those of the checkpoint ({_shown(settings)})"
        )
    index = features.rows(split)
    cluster.connect()
    columns = ["track_id", "uri", "genre", "status", "error", "n_frames"]
    rows = row_dataset(index, [*columns, *dataset.columns(settings.build().inputs)])
    predicted = prediction_stage(rows, checkpoint_uri, top_k=len(settings.genres), gpu=gpu, embedding=embedding)
    found = []
    with progress.track(len(index)) as advance:
        for block in predicted.iter_batches(batch_size=None, batch_format="pyarrow"):
            found.append(block)
            advance(len(block))
    return pa.concat_tables(found).cast(tables.predictions(embedding)).sort_by("track_id")


def prediction_stage(
    rows: "ray.data.Dataset", checkpoint_uri: str, *, top_k: int, gpu: Gpu, embedding: bool = False
) -> "ray.data.Dataset":
    """Add the stage that turns rows of FEATURES into rows of PREDICTIONS."""
    arguments = {
        "checkpoint_uri": checkpoint_uri,
        "fingerprint": checkpoint.fingerprint(checkpoint_uri),
        "top_k": top_k,
        "embedding": embedding,
    }
    if not wants_gpu(gpu):
        return rows.map_batches(predict_block, fn_kwargs=arguments, batch_size=None, batch_format="pyarrow")
    return rows.map_batches(
        GpuPredictor,
        fn_constructor_kwargs=arguments,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=int(ray.cluster_resources()["GPU"])),
        num_gpus=1,
        batch_size=None,
        batch_format="pyarrow",
    )


class GpuPredictor:
    """An actor that holds the network on its GPU."""

    def __init__(self, checkpoint_uri: str, fingerprint: str, top_k: int, embedding: bool) -> None:
        self._checkpoint = _load(checkpoint_uri, fingerprint)
        self._checkpoint.model.cuda()
        self._top_k = top_k
        self._embedding = embedding

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return rows of PREDICTIONS for rows of FEATURES."""
        return predict_rows(block, self._checkpoint, self._top_k, torch.device("cuda"), self._embedding)


def predict_block(block: pa.Table, checkpoint_uri: str, fingerprint: str, top_k: int, embedding: bool) -> pa.Table:
    """Return rows of PREDICTIONS for rows of FEATURES, with the checkpoint kept in the worker's memory."""
    return predict_rows(block, _load(checkpoint_uri, fingerprint), top_k, torch.device("cpu"), embedding)


@functools.lru_cache(maxsize=1)
def _load(checkpoint_uri: str, fingerprint: str) -> Checkpoint:
    """Load a checkpoint once a process; by its fingerprint, so that a folder trained anew is loaded anew."""
    loaded = checkpoint.load(checkpoint_uri)
    if loaded.fingerprint != fingerprint:
        raise UserError(f"{checkpoint_uri} was changed while the job was running: run it again")
    return loaded


def predict_rows(
    rows: pa.Table, trained: Checkpoint, top_k: int, device: torch.device, embedding: bool = False
) -> pa.Table:
    """Return one row of PREDICTIONS for each row of FEATURES, the `top_k` most probable genres in it."""
    settings = trained.settings
    ok = pc.equal(rows.column("status"), Status.OK.value)
    clips = rows.filter(ok)
    found: list[dict[str, Any]] = []
    for i in range(0, len(clips), _BATCH):
        batch = dataset.from_table(clips.slice(i, _BATCH), trained.model.inputs, settings.features, settings.genres)
        how: dict[str, Any] = {
            "crop_frames": settings.crop_frames,
            "n_crops": settings.n_crops,
            "device": device,
            "temperature": settings.temperature,
        }
        if embedding:
            probabilities, embeddings = loop.predict_and_embed(trained.model, batch, **how)
            extra = [{"embedding": row} for row in embeddings.tolist()]
        else:
            probabilities, extra = loop.predict(trained.model, batch, **how), [{}] * len(batch)
        ranked = [_ranked(row, settings.genres, top_k) for row in probabilities.tolist()]
        found += [{**row, **more} for row, more in zip(ranked, extra, strict=True)]
    predictions = iter(found)
    columns = [name for name in ("track_id", "uri", "status", "error") if name in rows.schema.names]
    return pa.Table.from_pylist(
        [
            {
                **row,
                "true_genre": genre,
                **(next(predictions) if row["status"] == Status.OK.value else {}),
            }
            for row, genre in zip(rows.select(columns).to_pylist(), rows.column("genre").to_pylist(), strict=True)
        ],
        schema=tables.predictions(embedding),
    )


def _ranked(probabilities: list[float], genres: list[str], top_k: int) -> dict[str, Any]:
    """Return the prediction columns of one track; equal probabilities stay in class order."""
    order = sorted(range(len(genres)), key=lambda i: -probabilities[i])[:top_k]
    return {
        "genre": genres[order[0]],
        "confidence": probabilities[order[0]],
        "genres": [{"genre": genres[i], "probability": probabilities[i]} for i in order],
    }


def _shown(settings: checkpoint.Settings) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in settings.features.to_json().items())
