"""An audio file -> y: mono float32 at `sr`, `duration` seconds from the middle, or several such clips all over it."""

import io
import math
from typing import BinaryIO

import numpy as np
import soxr

from genreray.audio import ffmpeg, libsndfile
from genreray.audio.clips import Clip, Finish, Samples
from genreray.audio.source import Source
from genreray.errors import Status, TrackError

MIN_DURATION = 3.0  # seconds
SILENCE = 1e-4  # peak amplitude, -80 dBFS: what 16-bit dither leaves of digital silence
LOUDEST = 1e6  # peak amplitude; a float file with more is damaged, and its power would overflow float32


def decode(file: bytes | BinaryIO, sr: int, duration: float) -> Samples:
    """Decode a whole file, its bytes or itself, to y: float32 [n_samples], mono, at `sr` Hz.

    A longer track gives its middle `duration` seconds, as Free Music Archive clips are cut; no more than these are
    decoded. Channels are averaged and then resampled (soxr HQ), in the order and with the length of `librosa.load`.

    Raises TrackError (empty, undecodable, too_short, silent, too_large), and what reading the file raises.
    """
    return decode_clips(file, sr, duration, 1)[0].y


def decode_clips(file: bytes | BinaryIO, sr: int, duration: float, n: int) -> list[Clip]:
    """Decode `n` clips of `duration` seconds, each as `decode` does its one: the middles of n equal parts of the track.

    They never overlap: a shorter track gives as many as there is room for, one at least. A clip that cannot be used
    (silent, damaged) is left out. Raises what the first one has where none can be, and as `decode` does.
    """

    def finish(start: float, y: Samples, native_sr: int) -> Clip | TrackError:
        try:
            return Clip(start, _usable(y, native_sr, sr, duration))
        except TrackError as fault:
            return fault

    made = _read(Source(io.BytesIO(file) if isinstance(file, bytes) else file), duration, n, finish)
    clips = [one for one in made if isinstance(one, Clip)]
    if not clips:
        raise next(one for one in made if isinstance(one, TrackError))
    return clips


def _usable(y: Samples, native_sr: int, sr: int, duration: float) -> Samples:
    """Return what was read at `sr` Hz; raises TrackError where it is not to be used."""
    seconds = len(y) / native_sr
    if seconds < MIN_DURATION:
        raise TrackError(Status.TOO_SHORT, f"{seconds:.2f} s of audio, less than {MIN_DURATION:g} s")
    # The peak lies between the root of the mean square and that of the sum: most tracks need no closer look.
    with np.errstate(over="ignore", invalid="ignore"):
        energy = float(np.dot(y, y))  # NaN or infinite where a sample is
    if not len(y) * (2 * SILENCE) ** 2 < energy < (LOUDEST / 2) ** 2:
        _check_peak(float(max(y.max(), -y.min())))
    return _resample(y, native_sr, sr)[: round(duration * sr)]


def _check_peak(peak: float) -> None:
    """Raise TrackError where no sound has such a peak amplitude, NaN where a sample is."""
    if not peak <= LOUDEST:  # nor is NaN
        raise TrackError(Status.UNDECODABLE, f"peak amplitude {peak:.1e}")
    if peak < SILENCE:
        raise TrackError(Status.SILENT, f"peak amplitude {peak:.1e}")


def _read(source: Source, duration: float, n: int, finish: Finish) -> list[Clip | TrackError]:
    """Return what `finish` makes of each clip, in mono at the rate that it has."""
    try:
        if not source.read(1):
            raise TrackError(Status.EMPTY, "file has no bytes")
        try:
            return libsndfile.read(source, duration, n, finish)
        except libsndfile.CannotReadError as reason:
            return ffmpeg.read(source, duration, n, finish, reason)
    finally:
        if source.fault is not None:
            raise source.fault


def _resample(y: Samples, native_sr: int, sr: int) -> Samples:
    if native_sr == sr:
        return y
    length = math.ceil(len(y) * sr / native_sr)
    resampled: Samples = soxr.resample(y, native_sr, sr, quality="HQ")
    if len(resampled) < length:
        return np.pad(resampled, (0, length - len(resampled)))
    return resampled[:length]
