"""What each Ray Train worker does: its share of the clips through the training step, a checkpoint each epoch."""

import dataclasses
import math
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import ray.train
import ray.train.torch
import torch
import torch.distributed

from genreray import checkpoint, dataset, loop, parts, resume
from genreray.ahead import map_ahead
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
    memory: int  # bytes of clips that each worker may keep


class Feed:
    """The clips at some places of FEATURES, epoch after epoch: kept in memory where they fit, else streamed."""

    def __init__(self, places: pa.Table, settings: Settings, inputs: Sequence[str], in_memory: bool) -> None:
        self._places = places
        self._settings = settings
        self._inputs = inputs
        self._clips = self._load(places) if in_memory else None

    def batches(self, batch_size: int, generator: torch.Generator | None = None) -> Iterator[Clips]:
        """Yield every clip once, shuffled where a generator is given."""
        if self._clips is not None:
            yield from self._clips.batches(batch_size, generator)
            return
        places = self._places if generator is None else _shuffle_parts(self._places, generator)
        windows = (places.slice(start, _STREAMED_ROWS) for start in range(0, len(places), _STREAMED_ROWS))
        for clips in map_ahead(self._load, windows, 1):
            yield from clips.batches(batch_size, generator)

    def _load(self, places: pa.Table) -> Clips:
        settings = self._settings
        columns = ["track_id", "genre", "n_frames", *dataset.columns(self._inputs)]
        tables = parts.read_places(places, columns)
        return dataset.load(tables, len(places), self._inputs, settings.features, settings.genres)


def collect_places(shard: Any) -> pa.Table:
    """Return all places of a Ray Data shard, in the order of the files."""
    blocks = list(shard.iter_batches(batch_size=None, batch_format="pyarrow"))
    return pa.concat_tables(blocks).sort_by([("part", "ascending"), ("row", "ascending")])


def _shuffle_parts(places: pa.Table, generator: torch.Generator) -> pa.Table:
    """Return `places` with the parts in another order, so that other clips meet in a window every epoch."""
    part_of_row = parts.part_numbers(places)
    place_of_part = torch.randperm(int(part_of_row.max()) + 1, generator=generator).numpy()
    return places.take(np.argsort(place_of_part[part_of_row], kind="stable"))


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
    training, validation = _feeds(task, network.inputs, rank, world)
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
            map(_labelled, validation.batches(config.batch_size)),
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


def _feeds(task: WorkerTask, inputs: Sequence[str], rank: int, world: int) -> tuple[Feed, Feed]:
    training = collect_places(ray.train.get_dataset_shard("training"))
    # Split here and not by Ray Train, which drops rows so that all workers have as many.
    validation = collect_places(ray.train.get_dataset_shard("validation"))
    validation = validation.take(np.arange(rank, len(validation), world))
    size = (len(training) + len(validation)) * dataset.clip_bytes(inputs, task.settings.features)
    fits = size <= task.memory
    return (
        Feed(training, task.settings, inputs, fits),
        Feed(validation, task.settings, inputs, fits),
    )


def _seed(*numbers: int) -> int:
    """Mix a run's seed, epoch and rank, so that an epoch is the same whether or not the run was interrupted."""
    return zlib.crc32(" ".join(map(str, numbers)).encode())


def _labelled(clips: Clips) -> Clips:
    """Leave out clips of genres that the training split lacks."""
    return clips.select(torch.nonzero(clips.labels != dataset.NO_LABEL)[:, 0])


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
