"""What each Ray Train worker does: its share of the clips through a Trainer, a checkpoint each epoch."""

import dataclasses
import functools
import os
import tempfile
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import ray.train
import ray.train.collective
import ray.train.torch
import torch

from genreray import dataset, heap, resume
from genreray.checkpoint import Settings
from genreray.recipe import TrainingConfig
from genreray.sharing import Shared
from genreray.source import SharedSource, Source
from genreray.trainer import Trainer

_SPLITS = ("training", "validation")


class Judge(Protocol):
    """Who is told of each epoch, and says whether there shall be another."""

    def begin(self) -> None:
        """Hear that the first worker has started."""

    def go_on(self, epoch: dict[str, Any]) -> bool:
        """Return whether to train on after an epoch of the history."""


@dataclasses.dataclass(frozen=True)
class WorkerTask:
    """What all workers of a run are told."""

    run_uri: str
    settings: Settings
    config: TrainingConfig
    counts: list[int]  # training clips of each genre, in class order
    threads: int  # 0 for as many as the machine has CPUs
    memory: int  # bytes of clips that each worker may keep
    shared: Shared | None = None  # the clips, where they are in the object store
    judge: Judge | None = None


def train_worker(loop_config: dict[str, Any]) -> None:
    """Train to the last epoch, from the run's last checkpoint where there is one."""
    task: WorkerTask = loop_config["task"]
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    machine = os.cpu_count() or 1  # Ray's logical CPUs may be more
    torch.set_num_threads(min(task.threads or machine, machine))
    device = ray.train.torch.get_device()
    if device.type == "cpu":
        heap.keep()
    training, validation = _clips(task, rank, world)
    trainer = Trainer(
        task.settings,
        task.config,
        training,
        validation,
        counts=task.counts,
        device=device,
        rank=rank,
        world=world,
        parallel=functools.partial(ray.train.torch.prepare_model, move_to_device=False),
    )
    last = ray.train.get_checkpoint()
    if last is not None:
        with last.as_directory() as folder:
            trainer.load(folder)
    if task.judge is not None and rank == 0:
        task.judge.begin()
    # What was judged before an interruption is judged again: whoever judges may have forgotten it.
    if not all(_goes_on(task, entry, rank) for entry in trainer.history):
        return
    while not trainer.finished:
        entry = trainer.epoch()
        if rank == 0:
            resume.write_history(task.run_uri, trainer.history)
        if entry.get("diverged"):
            return
        _report(trainer, rank)
        if not _goes_on(task, entry, rank):
            return


def _goes_on(task: WorkerTask, entry: dict[str, Any], rank: int) -> bool:
    """Return what the judge says to the first worker, who tells the others."""
    if task.judge is None:
        return True
    return bool(ray.train.collective.broadcast_from_rank_zero(task.judge.go_on(entry) if rank == 0 else None))


def _clips(task: WorkerTask, rank: int, world: int) -> tuple[Callable[[Sequence[str]], Source], ...]:
    """Return what opens this worker's share of the training clips, and of those of validation."""
    if task.shared is not None:
        return tuple(functools.partial(_shared, task.shared, split, rank, world) for split in _SPLITS)
    training, validation = (collect_places(ray.train.get_dataset_shard(split)) for split in _SPLITS)
    # Split here and not by Ray Train, which drops rows so that all workers have as many.
    validation = validation.take(np.arange(rank, len(validation), world))
    n_clips = len(training) + len(validation)
    return tuple(functools.partial(_open, places, task, n_clips) for places in (training, validation))


def _shared(shared: Shared, split: str, rank: int, world: int, inputs: Sequence[str]) -> Source:
    return SharedSource(shared.clips(split, inputs, rank, world))


def collect_places(shard: Any) -> pa.Table:
    """Return all places of a Ray Data shard, in the order of the files."""
    blocks = list(shard.iter_batches(batch_size=None, batch_format="pyarrow"))
    return pa.concat_tables(blocks).sort_by([("part", "ascending"), ("row", "ascending")])


def _open(places: pa.Table, task: WorkerTask, n_clips: int, inputs: Sequence[str]) -> Source:
    """Open a source that keeps its clips where all `n_clips` of the worker fit."""
    fits = n_clips * dataset.clip_bytes(inputs, task.settings.features) <= task.memory
    return Source(places, task.settings, inputs, fits)


def _report(trainer: Trainer, rank: int) -> None:
    """Hand the epoch to Ray Train, with a checkpoint (from rank 0) that training can go on from."""
    metrics = dict(trainer.history[-1])
    if rank != 0:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        trainer.save(folder)
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))
