"""Fair timing: contenders take turns, so that what else the machine does falls on all of them alike."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def interleave(contenders: Mapping[str, Callable[[], T]], repeats: int, warm_up: int = 0) -> dict[str, list[T]]:
    """Call the contenders in turn, A B C A B C ..., and return what each gave in each of `repeats` rounds.

    `warm_up` rounds before them are thrown away.
    """
    results: dict[str, list[T]] = {name: [] for name in contenders}
    for turn in range(warm_up + repeats):
        for name, contender in contenders.items():
            result = contender()
            if turn >= warm_up:
                results[name].append(result)
    return results


def timed(function: Callable[[], object]) -> Callable[[], float]:
    """Return a contender that gives the seconds, of the clock on the wall, that `function` takes."""

    def contender() -> float:
        started = time.perf_counter()
        function()
        return time.perf_counter() - started

    return contender


def cpu_time(function: Callable[[], object], calls: int, warm_up: int) -> Callable[[], float]:
    """Return a contender that gives the seconds of CPU, of all threads, that one of `calls` calls in a row takes.

    `warm_up` calls before them are not counted: they leave caches and heap as a long run of the same work has them,
    not as the contender before left them.
    """

    def contender() -> float:
        for _ in range(warm_up):
            function()
        started = time.process_time()
        for _ in range(calls):
            function()
        return (time.process_time() - started) / calls

    return contender


def paired_ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Return the ratio within each round: what slows a whole round down leaves it as it is."""
    return [a / b for a, b in zip(numerators, denominators, strict=True)]


def steady_rate(times: Sequence[float], done: Sequence[int], workers: int) -> float:
    """Return what is done a second once each of `workers` has started.

    `done` is how much came at each of `times`, in seconds and in their order. Workers that are equally fast come in
    turn, so every `workers`-th time is taken to be of the same one. The rate is the sum of theirs, each from its first
    time to its last: what starts a worker is not in it, nor that one ends before another. Raises ValueError where one
    has fewer than two times.
    """
    if len(times) < 2 * workers:
        raise ValueError(f"{len(times)} times of {workers} workers: each needs two")
    at, much = np.array(times), np.array(done)
    lanes = [slice(first, None, workers) for first in range(workers)]
    return float(sum(much[lane][1:].sum() / np.ptp(at[lane]) for lane in lanes))
