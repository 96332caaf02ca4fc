"""What each Ray Train worker does: its share of the clips through the training step, a checkpoint each epoch."""

import dataclasses
import math
import tempfile
import time
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import ray.train
import ray.train.torch
import torch
import torch.distributed

from genreray import checkpoint, dataset, loop, resume
from genreray.checkpoint import Settings
from genreray.dataset import Clips
from genreray.loop import Totals
from genreray.models import GenreModel
from genreray.models.base import make_optimizer
from genreray.recipe import TrainingConfig

_STREAMED_ROWS = 512  # rows shuffled together where the features do not fit in memory


@dataclasses.dataclass(frozen=True)
class WorkerTask:
    """What all workers of a run are told."""

    run_uri: str
    settings: Settings
    config: TrainingConfig
    threads: int
    n_training: int  # rows, over all workers
    n_validation: int
    memory: int  # bytes of clips that each worker may keep


class Feed:
    """One split's clips, epoch after epoch: kept in memory after the first pass where they fit, else streamed."""

    def __init__(self, shard: Any, task: WorkerTask, model: GenreModel, n_rows: int, in_memory: bool) -> None:
        self._shard = shard
        self._names = model.inputs
        self._settings = task.settings
        self._n_rows = n_rows
        self._clips: Clips | None = self._load() if in_memory else None

    def batches(self, batch_size: int, generator: torch.Generator | None) -> Iterator[Clips]:
        """Yield every clip once, shuffled where a generator is given."""
        if self._clips is not None:
            yield from self._clips.batches(batch_size, generator)
            return
        for table in self._tables(_STREAMED_ROWS):
            clips = dataset.from_table(table, self._names, self._settings.features, self._settings.genres)
            yield from clips.batches(batch_size, generator)

    def _load(self) -> Clips:
        settings = self._settings
        return dataset.load(self._tables(None), self._n_rows, self._names, settings.features, settings.genres)

    def _tables(self, batch_size: int | None) -> Iterable[pa.Table]:
        tables: Iterable[pa.Table] = self._shard.iter_batches(
            batch_size=batch_size, batch_format="pyarrow", prefetch_batches=2
        )
        return tables


def train_worker(loop_config: dict[str, Any]) -> None:
    """Train to the last epoch, from the run's last checkpoint where there is one."""
    task: WorkerTask = loop_config["task"]
    config, settings = task.config, task.settings
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    device = ray.train.torch.get_device()
    torch.set_num_threads(task.threads)
    torch.manual_seed(config.seed)
    network = settings.build()
    history: resume.History = []
    # Convolutions in this order of memory are a third faster on CPUs, and what tensor cores want on GPUs.
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = make_optimizer(network, settings.model_config)
    last = ray.train.get_checkpoint()
    if last is not None:
        with last.as_directory() as folder:
            network.load_state_dict(checkpoint.load(folder).model.state_dict())
            history = resume.load(folder, optimizer)
    model = ray.train.torch.prepare_model(network, move_to_device=False)
    training, validation = _feeds(task, network, world)
    for epoch in range(len(history) + 1, config.epochs + 1):
        started = time.perf_counter()
        seed = _seed(config.seed, epoch, rank)
        torch.manual_seed(seed)  # dropout draws from it
        generator = torch.Generator().manual_seed(seed)
        trained = loop.train_epoch(
            model,
            training.batches(math.ceil(config.batch_size / world), generator),
            optimizer,
            crop_frames=config.crop_frames,
            first_crop=config.first_crop,
            generator=generator,
            device=device,
        )
        scored = loop.score(
            network,
            _shares(validation.batches(config.batch_size, None), rank, world),
            crop_frames=config.crop_frames,
            n_crops=config.crops,
            device=device,
        )
        entry = _entry(epoch, _add(trained, device), _add(scored, device), time.perf_counter() - started)
        history = [*history, entry]
        if rank == 0:
            resume.write_history(task.run_uri, history)
        if entry.get("diverged"):
            return
        _report(task, network, optimizer, history, rank)


def _feeds(task: WorkerTask, network: GenreModel, world: int) -> tuple[Feed, Feed]:
    rows = math.ceil(task.n_training / world)
    bytes_per_clip = dataset.clip_bytes(network.inputs, task.settings.features)
    fits = (rows + task.n_validation) * bytes_per_clip <= task.memory
    return (
        Feed(ray.train.get_dataset_shard("training"), task, network, rows, fits),
        Feed(ray.train.get_dataset_shard("validation"), task, network, task.n_validation, fits),
    )


def _seed(*numbers: int) -> int:
    """Mix a run's seed, epoch and rank, so that an epoch is the same whether or not the run was interrupted."""
    return zlib.crc32(" ".join(map(str, numbers)).encode())


def _shares(batches: Iterable[Clips], rank: int, world: int) -> Iterator[Clips]:
    """Yield the labelled clips that are this worker's to score: by a hash, as workers see batches of their own."""
    for batch in batches:
        mine = [
            row
            for row, track_id in enumerate(batch.track_ids)
            if zlib.crc32(track_id.encode()) % world == rank and batch.labels[row] != dataset.NO_LABEL
        ]
        if mine:
            yield batch.select(torch.tensor(mine))


def _add(totals: Totals, device: torch.device) -> Totals:
    """Return the sums over all workers."""
    if not torch.distributed.is_initialized():
        return totals
    sums = torch.tensor(totals, dtype=torch.float64, device=device)
    torch.distributed.all_reduce(sums)
    return Totals(*sums.tolist())


def _entry(epoch: int, trained: Totals, scored: Totals, seconds: float) -> dict[str, Any]:
    if not (math.isfinite(trained.loss) and math.isfinite(scored.loss)):
        return {"epoch": epoch, "diverged": True}
    return {
        "epoch": epoch,
        "training_loss": trained.loss / trained.n,
        "training_accuracy": trained.n_correct / trained.n,
        "validation_loss": scored.loss / scored.n,
        "validation_accuracy": scored.n_correct / scored.n,
        "seconds": seconds,
    }


def _report(
    task: WorkerTask, network: GenreModel, optimizer: torch.optim.Optimizer, history: resume.History, rank: int
) -> None:
    """Hand the epoch to Ray Train, with a checkpoint (from rank 0) that training can go on from."""
    metrics = {name: value for name, value in history[-1].items() if name != "diverged"}
    if rank != 0:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        checkpoint.save(folder, network, dataclasses.replace(task.settings, metrics=metrics))
        resume.save(folder, optimizer, history)
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))
