"""Frames cut out of many clips at once, from where they lie in memory: by several threads, or a kernel of a GPU."""

import collections
import functools
import itertools
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genreray.device import send
from genreray.machine_code import compiled

_Job = tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64], NDArray[Any]]
_WORTH = 2**18  # bytes that a thread should have to copy: 40 us, about what it takes to wake it


def of(inputs: Mapping[str, Tensor], rows: Tensor, starts: Tensor, n_frames: int) -> dict[str, Tensor]:
    """Return what `cut` does of each input, where that is; rows and starts are int64 [m], on the CPU.

    From where clips lie: of whole ones copied first, three quarters would not be looked at.
    """
    device = next(iter(inputs.values())).device
    if device.type != "cpu":
        places = send(torch.stack([rows, starts]), device)
        return {name: gather(x, places, n_frames) for name, x in inputs.items()}
    asked = (rows.numpy(), starts.numpy(), n_frames, torch.get_num_threads())
    return {name: torch.from_numpy(cut(x.numpy(), *asked)) for name, x in inputs.items()}


def gather(x: Tensor, places: Tensor, n_frames: int) -> Tensor:
    """Return what `cut` does of the clips and starts in `places`, int64 [2, m], as one kernel of a GPU."""
    return x.unfold(2, n_frames, 1)[places[0], :, places[1]]


def cut(
    x: NDArray[Any], rows: NDArray[np.int64], starts: NDArray[np.int64], n_frames: int, n_threads: int = 1
) -> NDArray[Any]:
    """Return `n_frames` frames, from starts[i] on, of each clip x[rows[i]] of x [n, bins, frames]: [m, bins, n_frames].

    Raises IndexError where one of them does not lie in x.
    """
    if len(rows) and not (0 <= rows.min() <= rows.max() < len(x)):
        raise IndexError(f"there are no such clips among {len(x)}")
    if len(rows) and not (0 <= starts.min() <= starts.max() <= x.shape[2] - n_frames):
        raise IndexError(f"there are no such {n_frames} frames in clips of {x.shape[2]}")
    out = np.empty((len(rows), x.shape[1], n_frames), x.dtype)
    bits = np.dtype(f"u{x.itemsize}")  # whatever they are: numba compiles no float16
    n_jobs = max(1, min(n_threads, out.nbytes // _WORTH))
    ends = [len(rows) * i // n_jobs for i in range(n_jobs + 1)]
    jobs = collections.deque(
        (x.view(bits), rows[i:j], starts[i:j], out[i:j].view(bits)) for i, j in itertools.pairwise(ends)
    )
    helpers = [_threads(n_threads).submit(_work, jobs) for _ in range(n_jobs - 1)]
    _work(jobs)
    for helper in helpers:
        if not helper.cancel():  # one that slept through all of it is not waited for
            helper.result()
    return out


def _work(jobs: collections.deque[_Job]) -> None:
    copy = _copy()
    while True:
        try:
            job = jobs.popleft()
        except IndexError:
            return
        copy(*job)


@functools.cache
def _threads(n: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n, thread_name_prefix="crops")


@functools.cache
def _copy() -> Callable[..., None]:
    try:
        return compiled(_copy_frames)
    except ImportError:  # a machine that has what training wants, and no more
        return _copy_by_numpy


def _copy_frames(
    x: NDArray[np.unsignedinteger], rows: NDArray[np.int64], starts: NDArray[np.int64], out: NDArray[np.unsignedinteger]
) -> None:
    """Set each of out to its frames of a clip of x."""
    for i in range(len(rows)):
        clip, start = x[rows[i]], starts[i]
        for j in range(len(clip)):
            source, target = clip[j, start : start + out.shape[2]], out[i, j]
            for frame in range(len(target)):
                target[frame] = source[frame]


def _copy_by_numpy(
    x: NDArray[np.unsignedinteger], rows: NDArray[np.int64], starts: NDArray[np.int64], out: NDArray[np.unsignedinteger]
) -> None:
    """Do what `_copy_frames` does, letting no other thread run."""
    windows = np.lib.stride_tricks.sliding_window_view(x, out.shape[2], axis=2)
    out[:] = windows[rows, :, starts]
