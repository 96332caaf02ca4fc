"""y -> log-mel (grey uint8) and MFCC (float16), with librosa's definitions and names; and their settings."""

import dataclasses
import functools
import math
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from genreray import filters
from genreray.errors import UserError
from genreray.machine_code import compiled

_AMIN = np.float32(1e-10)  # power under which librosa.power_to_db takes no logarithm


@dataclasses.dataclass(frozen=True)
class FeatureConfig:
    """Settings of the features, stored with every table of them and every model trained on them."""

    sr: int = 22050
    """Sample rate to which every track is resampled, in Hz."""
    n_fft: int = 2048
    """Length of the FFT window, in samples."""
    hop_length: int = 512
    """Step from one frame to the next, in samples."""
    n_mels: int = 128
    """Number of mel bands."""
    n_mfcc: int = 20
    """Number of MFCCs kept."""
    duration: float = 30.0
    """Seconds taken from the middle of each longer track."""
    top_db: float = 80.0
    """Dynamic range of the log-mel below its loudest value, in dB."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check_number(field.name, getattr(self, field.name), whole=field.type is int)
        if self.n_fft % 2:
            raise UserError(f"n_fft is {self.n_fft}: give an even number, so that frames are centred on samples")
        if self.n_mfcc > self.n_mels:
            raise UserError(f"n_mfcc is {self.n_mfcc}, more than n_mels ({self.n_mels}): give at most n_mels")
        if self.duration < 3.0:
            raise UserError(f"duration is {self.duration:g} s: give at least 3 s, the shortest track that is kept")
        if self.hop_length > self.n_fft:
            raise UserError(f"hop_length ({self.hop_length}) skips samples: give at most n_fft ({self.n_fft})")
        if self.top_db > 100.0:
            raise UserError(f"top_db is {self.top_db:g}: give at most 100 dB, below which float32 spectra are noise")

    @property
    def max_frames(self) -> int:
        """Number of frames of a track of the full duration."""
        return 1 + round(self.duration * self.sr) // self.hop_length

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any], where: str) -> Self:
        """Return the settings that `to_json` gave; `where` names their file in the error.

        Raises UserError for values that are not those of a FeatureConfig: one that is missing is not made up.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        given = set(value) if isinstance(value, dict) else set()
        if odd := sorted(given - names):
            raise UserError(f"{where} has the feature setting {odd[0]}, which this version of genreray does not know")
        if missing := sorted(names - given):
            raise UserError(
                f"{where} lacks the feature setting {missing[0]}: it was not made by this version of genreray"
            )
        try:
            return cls(**value)
        except UserError as error:
            raise UserError(f"{where} has feature settings that cannot be: {error}") from error


def _check_number(name: str, value: object, whole: bool) -> None:
    """Raise UserError where a setting is not a number above 0; JSON and callers in Python can hold anything."""
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        raise UserError(f"{name} is {value!r}: give a {'whole ' if whole else ''}number")
    if not 0 < value < math.inf:
        raise UserError(f"{name} is {value}: give a number above 0")


class Features(NamedTuple):
    """What is stored of one track."""

    mel: NDArray[np.uint8]  # [n_mels, n_frames]; 255 is mel_ref dB, 0 is top_db below it
    mel_ref: float  # dB
    mfcc: NDArray[np.float16]  # [n_mfcc, n_frames]


def extract(y: NDArray[np.float32], config: FeatureConfig) -> Features:
    """Compute both features of y, float32 [n_samples] at `config.sr` Hz, from one mel spectrogram.

    mel is `power_to_db(melspectrogram(y), ref=np.max, top_db)`, [-top_db, 0] dB scaled to 0..255 and rounded;
    mfcc is `librosa.feature.mfcc(y)`, whose range of 80 dB is librosa's default.
    n_frames is 1 + n_samples // hop_length.
    """
    mel_db = mel_power(y, config)  # [n_mels, n_frames]; computed in place, as are the others: nothing leaves the cache
    np.log10(np.maximum(mel_db, _AMIN, out=mel_db), out=mel_db)
    mel_db *= 10
    loudest = mel_db.max()
    grey = mel_db - loudest
    grey *= np.float32(255 / config.top_db)
    grey += 255
    mel = np.rint(np.maximum(grey, 0, out=grey), out=grey).astype(np.uint8)
    mfcc = dct_basis(config.n_mfcc, config.n_mels) @ np.maximum(mel_db, loudest - np.float32(80), out=mel_db)
    return Features(mel, float(loudest), mfcc.astype(np.float16))


def mel_power(y: NDArray[np.float32], config: FeatureConfig) -> NDArray[np.float32]:
    """Return the power mel spectrogram, float32 [n_mels, n_frames]: `librosa.feature.melspectrogram(y)`."""
    from genreray import fft  # here, as librosa in filters: those who only train need neither

    window, bands = filters.hann(config.n_fft), filters.mel_filters(config.sr, config.n_fft, config.n_mels)
    sum_bands = compiled(_sum_bands)
    mel = np.empty((config.n_mels, 1 + len(y) // config.hop_length), np.float32)
    for i in range(0, mel.shape[1], fft.FRAMES):  # the spectra of some frames at a time: they stay in the cache
        power = fft.power_spectra(y, i, window, config.hop_length)
        sum_bands(mel[:, i : i + fft.FRAMES], power, *bands)
    return mel


def _sum_bands(
    mel: NDArray[np.float32],
    power: NDArray[np.float32],
    weights: NDArray[np.float32],
    bins: NDArray[np.int32],
    starts: NDArray[np.int32],
) -> None:
    """Set mel [n_mels, n_frames] to weighted sums of power [n_bins, n_frames or more].

    Band i has the bins and weights from starts[i] to starts[i + 1]. Each bin falls in two bands at most, so that this
    is 2 % of a dense product's work, and what is summed is still in the cache.
    """
    total = np.empty(power.shape[1], np.float32)  # nothing else can lie where this does: its loop is vectorised
    for band in range(len(mel)):
        for frame in range(len(total)):
            total[frame] = 0
        for k in range(starts[band], starts[band + 1]):
            weight, bin_ = weights[k], bins[k]
            for frame in range(len(total)):
                total[frame] += weight * power[bin_, frame]
        for frame in range(mel.shape[1]):
            mel[band, frame] = total[frame]


@functools.lru_cache(maxsize=4)
def dct_basis(n_mfcc: int, n_mels: int) -> NDArray[np.float32]:
    """Return the first rows of the orthonormal DCT-II, float32 [n_mfcc, n_mels]: what takes log-mel frames to MFCC."""
    scale = np.full((n_mfcc, 1), math.sqrt(2 / n_mels))
    scale[0] = math.sqrt(1 / n_mels)
    angles = np.outer(np.arange(n_mfcc), 2 * np.arange(n_mels) + 1) * (math.pi / (2 * n_mels))
    basis: NDArray[np.float32] = (scale * np.cos(angles)).astype(np.float32)
    return basis
