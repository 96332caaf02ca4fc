"""What each Ray Train worker does: its share of the clips through a Trainer, a checkpoint each epoch."""

import dataclasses
import functools
import os
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import ray.train
import ray.train.torch
import torch

from genreray import dataset, resume
from genreray.checkpoint import Settings
from genreray.recipe import TrainingConfig
from genreray.source import Source
from genreray.trainer import Trainer


@dataclasses.dataclass(frozen=True)
class WorkerTask:
    """What all workers of a run are told."""

    run_uri: str
    settings: Settings
    config: TrainingConfig
    counts: list[int]  # training clips of each genre, in class order
    threads: int  # 0 for as many as the machine has CPUs
    memory: int  # bytes of clips that each worker may keep


def train_worker(loop_config: dict[str, Any]) -> None:
    """Train to the last epoch, from the run's last checkpoint where there is one."""
    task: WorkerTask = loop_config["task"]
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    machine = os.cpu_count() or 1  # Ray's logical CPUs may be more
    torch.set_num_threads(min(task.threads or machine, machine))
    training = collect_places(ray.train.get_dataset_shard("training"))
    # Split here and not by Ray Train, which drops rows so that all workers have as many.
    validation = collect_places(ray.train.get_dataset_shard("validation"))
    validation = validation.take(np.arange(rank, len(validation), world))
    n_clips = len(training) + len(validation)
    trainer = Trainer(
        task.settings,
        task.config,
        functools.partial(_open, training, task, n_clips),
        functools.partial(_open, validation, task, n_clips),
        counts=task.counts,
        device=ray.train.torch.get_device(),
        rank=rank,
        world=world,
        parallel=functools.partial(ray.train.torch.prepare_model, move_to_device=False),
    )
    last = ray.train.get_checkpoint()
    if last is not None:
        with last.as_directory() as folder:
            trainer.load(folder)
    while not trainer.finished:
        entry = trainer.epoch()
        if rank == 0:
            resume.write_history(task.run_uri, trainer.history)
        if not entry.get("diverged"):
            _report(trainer, rank)


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
