"""A job on Ray in a process of its own, and which of its processes take the CPUs' time while it runs (Linux)."""

import contextlib
import dataclasses
import multiprocessing
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import watch

DECODING, WORKERS, DRIVER, SERVICES = "decoding processes", "Ray's workers", "driver", "Ray's own services"
KINDS = (DECODING, WORKERS, DRIVER, SERVICES)
_OF_RAY = re.compile(r"ray::\w+(Actor|Agent)\b")  # in workers, but Ray's own
_PAUSE = 0.5  # seconds between two looks: each takes some 6 ms of a CPU


@dataclasses.dataclass(frozen=True)
class Look:
    """What all processes of a job had taken when they were looked at."""

    time: float  # seconds since 1970
    seconds: Mapping[str, float]  # of CPU, by kind


class Looker:
    """Looks at a process and all that it starts, those that have ended by then included."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._taken: dict[int, tuple[str, float]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.looks: list[Look] = []

    def __enter__(self) -> "Looker":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def look(self) -> None:
        """Note what each kind of process has taken so far."""
        for pid in watch.tree(self._root):
            command = watch.command(pid)
            with contextlib.suppress(OSError):  # it has ended
                if command:  # nor has it begun to end
                    self._taken[pid] = (kind_of(command, is_driver=pid == self._root), watch.cpu_seconds(pid))
        sums = {kind: sum(seconds for one, seconds in self._taken.values() if one == kind) for kind in KINDS}
        self.looks.append(Look(time.time(), sums))

    def _run(self) -> None:
        while not self._stop.wait(_PAUSE):
            self.look()


def kind_of(command: str, *, is_driver: bool) -> str:
    """Return the kind of a process by its command line."""
    if is_driver:
        return DRIVER
    if "genreray.isolation" in command:
        return DECODING
    is_worker = command.startswith("ray::") or "default_worker.py" in command
    return WORKERS if is_worker and not _OF_RAY.match(command) else SERVICES


def apart(function: Callable[..., None], *arguments: Any) -> list[Look]:
    """Run `function` in a fresh process and return what was seen of it; raises RuntimeError where it fails."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    process.start()
    assert process.pid is not None
    with Looker(process.pid) as looker:
        process.join()
    if process.exitcode:
        raise RuntimeError(f"{function.__name__} failed with exit code {process.exitcode}")
    return looker.looks


def busy(looks: Sequence[Look], start: float, end: float) -> dict[str, float]:
    """Return how many CPUs each kind of process keeps busy from `start` to `end`, times between those of the looks.

    Raises RuntimeError where too few looks lie in between.
    """
    times = np.array([look.time for look in looks])
    if np.count_nonzero((times > start) & (times < end)) < 2:
        raise RuntimeError("the steady part of the run is too short to be looked at: give more files")
    taken = {kind: np.interp([start, end], times, [look.seconds[kind] for look in looks]) for kind in KINDS}
    return {kind: float((b - a) / (end - start)) for kind, (a, b) in taken.items()}


def steady(output: Path, workers: int) -> tuple[float, float]:
    """Return when the first part of each of `workers` was there, and when the first of them had no more to do."""
    times = sorted(path.stat().st_mtime_ns / 1e9 for path in output.iterdir())
    return times[workers - 1], times[-workers]
