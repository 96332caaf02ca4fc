"""A function in a process of its own, and how much memory that process and its workers take (Linux)."""

import contextlib
import dataclasses
import multiprocessing
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

_PAUSE = 2.0  # seconds between two looks: each takes some 30 ms of a CPU
_POLL = 0.02  # seconds between two questions whether something is so
_OF_A_PROCESS = 2  # CPUCLOCK_SCHED: what Linux's clock ids of other processes end in
# Ray's own processes (GCS, raylet, dashboard, agents) are there whatever the job is, and are not counted.
_SERVICE = re.compile(r"ray/core/src|ray/(dashboard|autoscaler)/|log_monitor|ray[.-]dashboard|ray::\w+Agent")


@dataclasses.dataclass(frozen=True)
class Watched:
    """What a run took."""

    seconds: float  # start of the process included
    peak: float | None  # bytes at most, of driver and workers together; None where nobody looked, or could


def apart(function: Callable[..., None], *arguments: Any) -> Watched:
    """Run `function` in a fresh process and watch it and all the processes that it starts.

    Raises RuntimeError where it fails.
    """
    stop = threading.Event()
    peaks: list[int] = []

    def begin(pid: int) -> threading.Thread:
        watcher = threading.Thread(target=_watch, args=(pid, stop, peaks), daemon=True)
        watcher.start()
        return watcher

    seconds, watcher = _run(function, arguments, begin)
    stop.set()
    watcher.join()
    return Watched(seconds, max(peaks, default=0) or None)


def alone(function: Callable[..., None], *arguments: Any) -> Watched:
    """Run `function` in a fresh process and look at nothing but the clock, so as to take no time from it.

    Raises RuntimeError where it fails.
    """
    seconds, _ = _run(function, arguments, lambda _: None)
    return Watched(seconds, None)


def _run(function: Callable[..., None], arguments: Sequence[Any], begin: Callable[[int], T]) -> tuple[float, T]:
    """Run `function` in a fresh process, of whose id `begin` is told; return the seconds and what that gave."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    started = time.perf_counter()
    process.start()
    assert process.pid is not None
    begun = begin(process.pid)
    process.join()
    seconds = time.perf_counter() - started
    if process.exitcode:
        raise RuntimeError(f"{function.__name__} failed with exit code {process.exitcode}")
    return seconds, begun


def until(is_so: Callable[[], bool], function: Callable[..., None], *arguments: Any) -> float:
    """Run `function` in a fresh process until something is so; end it then, with all that it started.

    Returns the seconds, start of the process included. Raises RuntimeError where the process ends before.
    """
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    started = time.perf_counter()
    process.start()
    assert process.pid is not None
    try:
        while not is_so():
            if process.exitcode is not None and not is_so():
                raise RuntimeError(f"{function.__name__} ended with exit code {process.exitcode} before it was so")
            time.sleep(_POLL)
        return time.perf_counter() - started
    finally:
        for pid in tree(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.join()


def _watch(root: int, stop: threading.Event, sizes: list[int]) -> None:
    while not stop.wait(_PAUSE):
        sizes.append(sum(memory(pid) for pid in tree(root) if not _SERVICE.search(command(pid))))


def tree(root: int) -> list[int]:
    """Return the ids of the process `root` and of all that it and they started; none without /proc."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            after_name = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        children.setdefault(int(after_name[1]), []).append(int(folder.name))
    found = [root] if Path(f"/proc/{root}").exists() else []
    for pid in found:
        found += children.get(pid, [])
    return found


def memory(pid: int) -> int:
    """Return a process's proportional set size in bytes: of a page that k processes share, a k-th; 0 if it ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has taken so far, all threads of it (Linux).

    Raises OSError where it has ended.
    """
    return time.clock_gettime(~pid << 3 | _OF_A_PROCESS)


def command(pid: int) -> str:
    """Return the command line of a process, in words; nothing where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
    except OSError:
        return ""
