"""What users have today: librosa called as its documentation does, and a pool of processes that writes Parquet."""

import io
import multiprocessing
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import librosa
import numpy as np
import pyarrow as pa
import soundfile as sf
from numpy.typing import NDArray

from benchmarks import machine
from genreray import audio, features, tables
from genreray.errors import Status
from genreray.features import FeatureConfig, Features
from genreray.featureset import table_settings
from genreray.parts import Parts, part_size

RAY_NICENESS = 15  # Ray runs its workers at this priority: the same for the pool, or a busy machine favours one side
Kernel = Callable[[bytes, FeatureConfig], Features]


def decode(content: bytes) -> NDArray[np.float32]:
    """Decode all of a file at its own rate and do nothing more: float32 [n_samples, n_channels]."""
    samples: NDArray[np.float32] = sf.read(io.BytesIO(content), dtype="float32")[0]
    return samples


def genreray_kernel(content: bytes, config: FeatureConfig) -> Features:
    """Compute mel and MFCC by genreray."""
    return features.extract(audio.decode(content, config.sr, config.duration), config)


def librosa_kernel(content: bytes, config: FeatureConfig) -> Features:
    """Compute the same by librosa, each feature by the function that is there for it."""
    y, mel_db, loudest = _librosa_mel(content, config)
    mfcc = librosa.feature.mfcc(
        y=y, sr=config.sr, n_mfcc=config.n_mfcc, n_mels=config.n_mels, n_fft=config.n_fft, hop_length=config.hop_length
    )
    return _stored(mel_db, loudest, mfcc, config)


def librosa_shared_kernel(content: bytes, config: FeatureConfig) -> Features:
    """Compute by librosa as somebody does who knows that MFCCs can be made from the same log-mel.

    The zeroth coefficient is relative to the loudest value here; what it costs is the same.
    """
    _, mel_db, loudest = _librosa_mel(content, config)
    mfcc = librosa.feature.mfcc(S=mel_db, n_mfcc=config.n_mfcc)
    return _stored(mel_db, loudest, mfcc, config)


def _librosa_mel(content: bytes, config: FeatureConfig) -> tuple[NDArray[np.float32], NDArray[np.float32], np.floating]:
    y, _ = librosa.load(io.BytesIO(content), sr=config.sr)
    power = librosa.feature.melspectrogram(
        y=y, sr=config.sr, n_fft=config.n_fft, hop_length=config.hop_length, n_mels=config.n_mels
    )
    return y, librosa.power_to_db(power, ref=np.max, top_db=config.top_db), power.max()


def _stored(
    mel_db: NDArray[np.float32], loudest: np.floating, mfcc: NDArray[np.float32], config: FeatureConfig
) -> Features:
    grey = np.rint((mel_db + config.top_db) * (255 / config.top_db))
    return Features(grey.astype(np.uint8), float(10 * np.log10(loudest)), mfcc.astype(np.float16))


def run_pool(kernel: Kernel, folder: Path, output: Path, processes: int, config: FeatureConfig) -> None:
    """Write the features of every file in `folder` to the parts that `genreray extract` writes, by a plain pool.

    Each process has one thread, takes blocks as it gets free, and writes one part for each.
    """
    files = sorted(folder.iterdir())
    size = part_size(len(files), processes)
    blocks = [files[i : i + size] for i in range(0, len(files), size)]
    schema = tables.with_metadata(tables.FEATURES, table_settings(config, "none"))
    work = partial(_block, kernel=kernel, parts=Parts(str(output), schema), config=config)
    machine.one_thread_each()
    with multiprocessing.get_context("spawn").Pool(processes, os.nice, (RAY_NICENESS,)) as pool:
        for _ in pool.imap_unordered(work, blocks):
            pass


def _block(paths: Sequence[Path], kernel: Kernel, parts: Parts, config: FeatureConfig) -> None:
    rows = [_row(path, kernel(path.read_bytes(), config), config) for path in paths]
    parts.write(pa.Table.from_pylist(rows, schema=tables.FEATURES))


def _row(path: Path, made: Features, config: FeatureConfig) -> dict[str, object]:
    return {
        "track_id": path.stem,
        "uri": str(path),
        "status": Status.OK.value,
        "duration": made.mel.shape[1] * config.hop_length / config.sr,
        "n_frames": made.mel.shape[1],
        "mel": np.ascontiguousarray(made.mel).tobytes(),
        "mel_ref": made.mel_ref,
        "mfcc": np.ascontiguousarray(made.mfcc).tobytes(),
    }
