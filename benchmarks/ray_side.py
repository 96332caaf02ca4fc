"""genreray's side of the comparisons: the command on a Ray of so many CPUs."""

import logging
import os
from pathlib import Path

import ray
from ray.data import DataContext
from rich.console import Console

from benchmarks import machine
from genreray import cli, cluster


def start(cpus: int, memory: int | None = None, store: int | None = None) -> None:
    """Start a quiet Ray with `cpus` CPUs here, if there is none yet; genreray's jobs then use it.

    `memory` is how many bytes Ray takes the machine to have for its workers, where that is to be another number, and
    `store` the bytes of its object store.
    """
    if ray.is_initialized():
        return
    machine.hold_to(cpus)
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    cluster.set_alone()  # as genreray starts it, and the options
    options = {"logging_level": "error", "log_to_driver": False, "include_dashboard": False}
    ray.init(address="local", num_cpus=cpus, _memory=memory, object_store_memory=store, **options)
    DataContext.get_current().enable_progress_bars = False


def extract(music: Path | str, output: Path, cpus: int) -> None:
    """Run `genreray extract` on all files of the folder or bucket `music`; raises RuntimeError where it fails."""
    job(["extract", str(music), str(output)], cpus)


def tag(music: Path, output: Path, checkpoint: Path, cpus: int) -> None:
    """Run `genreray tag` on all files of the folder `music`; raises RuntimeError where it fails."""
    job(["tag", str(music), str(output), "--checkpoint", str(checkpoint), "--gpu", "no"], cpus)


def job(argv: list[str], cpus: int) -> None:
    """Run the command with these words; raises RuntimeError where it does not end well."""
    start(cpus)
    with Path(os.devnull).open("w") as silence:
        code = cli.run(argv, Console(file=silence))
    if code:
        raise RuntimeError(f"genreray {argv[0]} ended with exit code {code}")
