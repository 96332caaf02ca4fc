"""Small made-up tables for tests."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import soundfile as sf
import sounds

from genreray import tables
from genreray.features import FeatureConfig
from genreray.featureset import table_settings
from genreray.parts import Parts

SMALL = FeatureConfig(n_mels=32, n_mfcc=13, duration=3.0)  # 130 frames: networks train on it in moments
GENRES = ("Folk", "Jazz", "Rock")
PARENTS = {"Oi": "Punk", "Punk": "Rock"}


def feature_row(track_id: str, genre: str | None, split: str | None, n_frames: int, config: FeatureConfig) -> dict:
    """A track whose genre shows as one bright band of its log-mel."""
    rng = np.random.default_rng(sum(map(ord, track_id)))
    mel = rng.integers(0, 60, (config.n_mels, n_frames), dtype=np.uint8)
    if genre in GENRES:
        band = 8 * GENRES.index(genre) + 4
        mel[band : band + 4] += 150
    return {
        "track_id": track_id,
        "uri": f"/music/{track_id}.mp3",
        "genre": genre,
        "artist": f"artist of {track_id}",
        "split": split,
        "status": "ok",
        "duration": n_frames * config.hop_length / config.sr,
        "n_frames": n_frames,
        "mel": mel.tobytes(),
        "mel_ref": 30.0,
        "mfcc": rng.normal(0, 20, (config.n_mfcc, n_frames)).astype(np.float16).tobytes(),
    }


def failed_row(track_id: str, genre: str | None, split: str | None) -> dict:
    return {
        "track_id": track_id,
        "uri": f"/music/{track_id}.mp3",
        "genre": genre,
        "split": split,
        "status": "undecodable",
        "error": "not audio",
    }


def feature_rows(n: int = 48, config: FeatureConfig = SMALL) -> list[dict]:
    """Tracks of three genres in turn, of various lengths, 2/3 training, 1/6 validation, 1/6 test; one failed each."""
    splits = ("training",) * 4 + ("validation", "test")
    rows = [
        feature_row(f"{i:04d}", GENRES[i % 3], splits[i // 3 % 6], config.max_frames - 7 * (i % 5), config)
        for i in range(n)
    ]
    return rows + [failed_row(f"bad-{split}", "Rock", split) for split in dict.fromkeys(splits)]


def tree_rows(n: int = 96, config: FeatureConfig = SMALL) -> list[dict]:
    """The tracks of `feature_rows`, with genres in PARENTS: half of Rock is Punk, by a bright band, half of that Oi."""
    rows = feature_rows(n, config)
    for split in ("training", "validation", "test"):
        there = [row for row in rows if row["split"] == split and row["genre"] == "Rock" and row["status"] == "ok"]
        for i, row in enumerate(there):
            row["genres"] = [("Rock",), ("Punk", "Rock"), ("Rock",), ("Oi",)][i % 4]
            if i % 2:
                mel = np.frombuffer(row["mel"], np.uint8).reshape(config.n_mels, -1).copy()
                mel[28 + i % 4 : 30 + i % 4] = 220  # the last bands, Oi's above Punk's
                row["mel"] = mel.tobytes()
    for row in rows:
        if "genres" not in row and row["status"] == "ok":
            row["genres"] = [row["genre"]]
    return rows


def write_features(
    folder: Path,
    rows: list[dict],
    config: FeatureConfig = SMALL,
    block_size: int = 8,
    split_method: str = "official",
    genre_parents: dict[str, str] | None = None,
) -> str:
    """Write rows as `genreray extract` does, without Ray, and return the folder's URI."""
    schema = tables.with_metadata(tables.FEATURES, table_settings(config, split_method, genre_parents))
    parts = Parts(str(folder), schema)
    for i in range(0, len(rows), block_size):
        parts.write(pa.Table.from_pylist(rows[i : i + block_size], schema=tables.FEATURES))
    return str(folder)


def write_links(folder: Path, n: int = 240) -> Path:
    """Write `n` files, links to four tones of 4 s, enough that a job can be ended in their middle; return `folder`."""
    folder.mkdir(parents=True)
    for i in range(n):
        if i < 4:
            sf.write(folder / f"{i:03d}.wav", sounds.tone(22050, 4.0, 220.0 * (i + 1)), 22050)
        else:
            (folder / f"{i:03d}.wav").hardlink_to(folder / f"{i % 4:03d}.wav")
    return folder


def write_music(folder: Path, n: int = 12, seconds: float = 3.2) -> str:
    """Write `n` tones of three genres, a third of them for validation and test, and return their manifest."""
    folder.mkdir(parents=True)
    lines = ["path,genre,split"]
    for i in range(n):
        split = "training" if i % 9 < 6 else "validation" if i % 9 < 8 else "test"
        sf.write(folder / f"{i:03d}.wav", sounds.tone(22050, seconds, 200.0 * 3 ** (i % 3) + i), 22050)
        lines.append(f"{i:03d}.wav,{GENRES[i % 3]},{split}")
    (folder / "music.csv").write_text("\n".join(lines) + "\n")
    return str(folder / "music.csv")
