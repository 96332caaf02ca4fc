"""The window of a frame and the mel filters of its spectrum, bit for bit librosa's."""

import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# librosa.filters imports scipy.signal for the window, which takes a second: every decoding process, and with it the
# first row of a job, would wait for that.


class MelFilters(NamedTuple):
    """What is not zero of a matrix [n_mels, 1 + n_fft / 2], band after band."""

    weights: NDArray[np.float32]  # [n]
    bins: NDArray[np.int32]  # [n]: the bin of the spectrum that each weighs
    starts: NDArray[np.int32]  # [n_mels + 1]: band i has those from starts[i] to starts[i + 1]


@functools.lru_cache(maxsize=4)
def hann(n_fft: int) -> NDArray[np.float32]:
    """Return the periodic Hann window, float32 [n_fft]: `scipy.signal.get_window("hann", n_fft)`."""
    window: NDArray[np.float32] = np.hanning(n_fft + 1)[:-1].astype(np.float32)
    return window


@functools.lru_cache(maxsize=4)
def mel_filters(sr: int, n_fft: int, n_mels: int) -> MelFilters:
    """Return `librosa.filters.mel(sr=sr, n_fft=n_fft, n_mels=n_mels)`: triangles of area 1.

    Their edges lie evenly on Slaney's mel scale (Auditory Toolbox, 1998) from 0 to sr / 2.
    """
    import librosa

    hertz = np.fft.rfftfreq(n_fft, 1 / sr)
    edges = librosa.mel_frequencies(n_mels=n_mels + 2, fmin=0, fmax=sr / 2)[:, np.newaxis]
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    triangles = np.maximum(0, np.minimum((hertz - low) / (centre - low), (high - hertz) / (high - centre)))
    basis = (triangles.astype(np.float32) * (2 / (high - low))).astype(np.float32)
    bands, bins = np.nonzero(basis)
    starts = np.searchsorted(bands, np.arange(n_mels + 1))
    return MelFilters(basis[bands, bins], bins.astype(np.int32), starts.astype(np.int32))
