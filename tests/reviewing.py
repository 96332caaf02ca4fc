"""TAGS with names that try to be more than names."""

from pathlib import Path

import pyarrow as pa

from genreray import tables
from genreray.parts import Parts
from genreray.predictions import PREDICTIONS_FOLDER

GENRES = ("Folk", "Hip-Hop", "Jazz", "Rock & <Roll>")
HOSTILE = (
    "<script>alert(1)</script>.wav",
    '=HYPERLINK("http://evil","x").wav',
    "'-quoted' \"name\", & co.wav",
    "</script><img src=x onerror=alert(1)>.wav",
    "Ólafur ☃ \u2028 line.wav",
    "__proto__",
    "@home/+1.wav",
    "50% of #1?.wav",
)


def row(track_id: str, confidence: float, uri: str, first: int = 0) -> dict:
    """A track of which the model is so sure, all other genres equally likely."""
    ranked = [GENRES[first], *(genre for genre in GENRES if genre != GENRES[first])]
    shares = [confidence, *[(1 - confidence) / 3] * 3]
    return {
        "track_id": track_id,
        "uri": uri,
        "status": "ok",
        "genre": ranked[0],
        "confidence": confidence,
        "genres": [{"genre": g, "probability": p} for g, p in zip(ranked, shares, strict=True)],
    }


def failed(track_id: str, status: str = "undecodable") -> dict:
    return {
        "track_id": track_id,
        "uri": f"/music/{track_id}",
        "status": status,
        "error": f"<b>not</b> audio {track_id}",
    }


def hostile_rows(folder: Path) -> list[dict]:
    """A track of each hostile name, in this order of doubt, and one that failed."""
    return [row(name, 0.4 + i / 100, str(folder / name), i % 4) for i, name in enumerate(HOSTILE)] + [failed("<i>bad")]


def write_tags(folder: Path, rows: list[dict], block_size: int = 4) -> str:
    """Write rows as `genreray tag` does, without Ray, and return the folder's URI."""
    schema = tables.with_metadata(
        tables.PREDICTIONS, {"table": "predictions", "checkpoint": "0123456789abcdef", "genres": GENRES}
    )
    parts = Parts(str(folder / PREDICTIONS_FOLDER), schema)
    for i in range(0, len(rows), block_size):
        parts.write(pa.Table.from_pylist(rows[i : i + block_size], schema=tables.PREDICTIONS))
    return str(folder)
