"""What the benchmarks work on: generated music as mp3, folders of it, FEATURES of any number of rows, a checkpoint."""

import io
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import soundfile as sf

from genreray import audio, features, tables
from genreray.errors import Status
from genreray.features import FeatureConfig, Features
from genreray.featureset import table_settings
from genreray.parts import Parts
from genreray.synthesis.styles import STYLES, habits, play

SR = 44_100
_SEED = 2  # of the music


def clips(n: int, seconds: float) -> list[bytes]:
    """Return `n` different clips of generated music as joint-stereo mp3 of about 256 kbit/s, as FMA's are."""
    genres = list(STYLES)
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda i: _clip(genres[i % len(genres)], i, seconds), range(n)))


def _clip(genre: str, number: int, seconds: float) -> bytes:
    artist = habits(np.random.default_rng([_SEED, 0, number]))
    y = play(genre, number % 2, artist, seconds, SR, np.random.default_rng([_SEED, 1, number]))
    file = io.BytesIO()
    sf.write(file, y.T, SR, format="MP3", bitrate_mode="AVERAGE", compression_level=0.2)
    return file.getvalue()


def fill_folder(folder: Path, contents: Sequence[bytes], n: int) -> None:
    """Make `n` mp3 files in the new `folder`: hard links (copies where there are none) to the given contents."""
    folder.mkdir(parents=True)
    for i in range(n):
        path = folder / f"{i:06d}.mp3"
        if i < len(contents):
            path.write_bytes(contents[i])
            continue
        first = folder / f"{i % len(contents):06d}.mp3"
        try:
            os.link(first, path)
        except OSError:  # some file systems have no links, or few to one file
            shutil.copy(first, path)


def write_checkpoint(folder: Path, model: str, crop_frames: int | None = None) -> None:
    """Write a checkpoint of an untrained network for the demo's genres, with what its recipe has for the rest."""
    from genreray import checkpoint  # torch, which processes that read audio do not need
    from genreray.checkpoint import Settings
    from genreray.models import family

    how = family(model)
    settings = Settings(
        model=model,
        model_config=how.config(),
        features=FeatureConfig(),
        genres=list(STYLES),
        crop_frames=crop_frames or how.training.crop_frames,
        n_crops=how.training.crops,
        training={},
        metrics={},
    )
    checkpoint.save(str(folder), settings.build(), settings)


def write_features(
    folder: Path,
    contents: Sequence[bytes],
    n: int,
    config: FeatureConfig,
    block_size: int,
    *,
    n_validation: int = 0,
) -> None:
    """Write FEATURES with `n` rows: those of the given clips, each turned by another number of frames.

    The last `n_validation` are of the validation split, the others of training.

    Every row differs from the others, and compresses as the features of music do.
    """
    found = [features.extract(audio.decode(content, config.sr, config.duration), config) for content in contents]
    parts = Parts(str(folder), tables.with_metadata(tables.FEATURES, table_settings(config, "official")))
    rng = np.random.default_rng(_SEED)
    for start in range(0, n, block_size):
        rows = [
            _row(i, "training" if i < n - n_validation else "validation", found[i % len(found)], config, rng)
            for i in range(start, min(n, start + block_size))
        ]
        parts.write(pa.Table.from_pylist(rows, schema=tables.FEATURES))


def _row(number: int, split: str, made: Features, config: FeatureConfig, rng: np.random.Generator) -> dict[str, object]:
    n_frames = made.mel.shape[1]
    turn = int(rng.integers(n_frames))
    return {
        "track_id": f"{number:06d}",
        "uri": f"{number:06d}.mp3",
        "genre": list(STYLES)[number % len(STYLES)],
        "split": split,
        "status": Status.OK.value,
        "duration": n_frames * config.hop_length / config.sr,
        "n_frames": n_frames,
        "mel": np.roll(made.mel, turn, axis=1).tobytes(),
        "mel_ref": made.mel_ref,
        "mfcc": np.roll(made.mfcc, turn, axis=1).tobytes(),
    }
