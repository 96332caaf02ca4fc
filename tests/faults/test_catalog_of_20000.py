"""20,000 files, 3 % of them broken in ways of many kinds: every one is in the output, once, as what it is."""

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import poisoned
import pyarrow.parquet as pq
import pytest
from making import GENRES, SMALL
from rich.console import Console
from sounds import encode, encode_ffmpeg, noise

from genreray import checkpoint, cli, track
from genreray.checkpoint import Settings
from genreray.models.mel_cnn import MelCnnConfig

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]

N = 20_000
# What is broken, 600 in all: how many of each kind, and the status that it must come to.
BROKEN = {
    "missing": (148, "not_found"),
    "a folder": (90, "unreadable"),
    "no bytes": (90, "empty"),
    "text": (90, "undecodable"),
    "a second": (90, "too_short"),
    "zeros": (80, "silent"),
    "segfault": (10, "crashed"),
    "hang": (2, "timeout"),
}


def contents() -> tuple[list[bytes], dict[str, bytes]]:
    """What good files hold, and broken ones."""
    sound = noise(22050, 4.0)
    good = [
        encode(sound, 22050, "MP3"),
        encode(sound, 22050, "FLAC"),
        encode(sound, 22050, "OGG"),
        encode_ffmpeg(sound, 22050, "ipod", "aac"),
        encode(noise(22050, 9.0), 22050, "WAV")[:200_000],  # cut off, and long enough for a track
    ]
    broken = {
        "no bytes": b"",
        "text": b"no audio at all " * 100,
        "a second": encode(sound[:22050], 22050, "FLAC"),
        "zeros": encode(np.zeros(4 * 22050, np.float32), 22050, "WAV"),
        "segfault": b"segfault",  # to the decoder of poisoned.py
        "hang": b"hang",
    }
    return good, broken


def write_catalog(folder: Path) -> tuple[Path, dict[str, str]]:
    """Make the files, hard links where they hold the same; return their manifest and the status of each, by its id."""
    good, broken = contents()
    (folder / "of").mkdir(parents=True)
    (folder / "music").mkdir()
    kinds = [kind for kind, (n, _) in BROKEN.items() for _ in range(n)]
    kinds += [f"good {i % len(good)}" for i in range(N - len(kinds))]
    np.random.default_rng(0).shuffle(kinds)
    originals = {f"good {i}": content for i, content in enumerate(good)} | broken
    for kind, content in originals.items():
        (folder / "of" / kind).write_bytes(content)
    expected = {}
    for i, kind in enumerate(kinds):
        path = folder / "music" / f"{i:05d}"
        if kind in originals:
            path.hardlink_to(folder / "of" / kind)
        elif kind == "a folder":
            path.mkdir()
        expected[path.name] = BROKEN[kind][1] if kind in BROKEN else "ok"
    manifest = folder / "songs.csv"
    manifest.write_text("track_id,path\n" + "".join(f"{name},music/{name}\n" for name in expected))
    return manifest, expected


def test_every_track_of_20000_is_there_once_as_what_it_is(ray_session, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(track, "extract_tracks", poisoned.extract_tracks)
    settings = Settings("mel_cnn", MelCnnConfig(filters=(4, 4)), SMALL, GENRES, 97, 1, {}, {})
    checkpoint.save(str(tmp_path / "run"), settings.build(), settings)
    manifest, expected = write_catalog(tmp_path)
    tags = tmp_path / "tags"
    command = ["tag", str(manifest), str(tags), "--checkpoint", str(tmp_path / "run"), "--timeout", "3", "--jsonl"]
    assert cli.run(command, Console(quiet=True)) == 0
    injected = Counter(expected.values())
    summary = json.loads((tags / "summary.json").read_text())
    with capsys.disabled():
        print(f"\ninjected: {dict(injected)}\nfound: {summary['counts']} in {summary['seconds']:.0f} s")
    assert summary["counts"] == injected
    assert sum(summary["counts"].values()) == N == summary["labelled"] + summary["abstained"] + 600
    table = pq.read_table(tags / "predictions")
    assert len(table) == N
    assert dict(zip(table["track_id"].to_pylist(), table["status"].to_pylist(), strict=True)) == expected
    assert all((genre is None) == (status != "ok") for genre, status in zip(*columns(table), strict=True))
    with (tags / "tags.csv").open(newline="", encoding="utf-8") as file:
        listed = [(row["track_id"], row["status"]) for row in csv.DictReader(file)]
    assert listed == sorted(expected.items())
    lines = (tags / "tags.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["track_id"] for line in lines) == sorted(expected)
    written = {path.name: path.stat().st_mtime_ns for path in (tags / "predictions").iterdir()}
    assert cli.run(command, Console(quiet=True)) == 0
    assert {path.name: path.stat().st_mtime_ns for path in (tags / "predictions").iterdir()} == written


def columns(table):
    return table["genre"].to_pylist(), table["status"].to_pylist()
