"""Where the clips of a track lie, and what both decoders make of what a file holds there."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from genreray.errors import Status, TrackError
from genreray.machine_code import compiled

_MAX_CHANNELS = 32
_SAMPLE_RATES = range(1_000, 768_001)  # Hz; beyond these a header is taken for damaged

Samples = NDArray[np.float32]


class Clip(NamedTuple):
    """What was decoded of a track in one place."""

    start: float  # where that begins, in seconds
    y: Samples  # float32 [n_samples], mono


# Makes a clip of its place, its samples in mono and their rate, or says why it cannot be used. It is called with one
# clip after another, so that no more than one is held at the rate of the file.
Finish = Callable[[float, Samples, int], Clip | TrackError]


def starts(first: float, end: float, length: float, n: int) -> list[float]:
    """Return where clips of `length` begin, in the middle of each of n equal parts of a track from `first` to `end`.

    Of a shorter track they are as many as it has room for without an overlap, and one of the shortest, at `first`.
    """
    n = max(1, min(n, int((end - first) / length)))
    return [max(first, ((2 * (n - i) - 1) * first + (2 * i + 1) * end - n * length) / (2 * n)) for i in range(n)]


def check_format(native_sr: int, n_channels: int) -> None:
    """Raise TrackError where a header cannot be right."""
    if native_sr not in _SAMPLE_RATES or not 1 <= n_channels <= _MAX_CHANNELS:
        raise TrackError(Status.UNDECODABLE, f"header claims {n_channels} channels at {native_sr} Hz")


def to_mono(samples: Samples, out: Samples | None = None) -> Samples:
    """Return the mean over channels of [n_samples, n_channels], written to `out` where that is given."""
    n_channels = samples.shape[1]
    mono = np.empty(len(samples), np.float32) if out is None else out
    if n_channels == 1:
        mono[:] = samples[:, 0]
    elif n_channels == 2 and samples.flags.c_contiguous:
        compiled(_average_pairs)(samples.reshape(-1), mono)
    elif n_channels == 2:  # numpy's mean over an axis of two is ten times slower than this, with the same bits
        np.add(samples[:, 0], samples[:, 1], out=mono)
        mono *= np.float32(0.5)
    else:
        samples.mean(axis=1, dtype=np.float32, out=mono)
    return mono


def _average_pairs(stereo: Samples, mono: Samples) -> None:
    """Set mono [n_samples] to the means of the pairs of stereo [2 * n_samples]."""
    for i in range(len(mono)):
        mono[i] = np.float32(0.5) * (stereo[2 * i] + stereo[2 * i + 1])
