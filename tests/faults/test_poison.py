"""Tracks at which the decoder's process crashes, hangs or swells: they cost their own rows alone."""

import csv

import poisoned
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile as sf
from making import GENRES, SMALL
from rich.console import Console

from genreray import checkpoint, tables, track
from genreray.checkpoint import Settings
from genreray.cluster import Cluster
from genreray.extract import extract
from genreray.isolation import Limits
from genreray.models.mel_cnn import MelCnnConfig
from genreray.progress import Progress
from genreray.tag import tag

LIMITS = Limits(seconds=3.0, memory=600)
EXPECTED = {
    "segfault": ("crashed", "SIGSEGV"),
    "hang": ("timeout", "took more than 3 s"),
    "swell": ("crashed", "took more than 600 MiB of memory"),
}


@pytest.fixture(autouse=True)
def poison(monkeypatch):
    """The decoder of tests/poisoned.py in place of the real one, in Ray's workers too."""
    monkeypatch.setattr(track, "extract_tracks", poisoned.extract_tracks)


def catalog(folder, tone, words):
    """Three good tracks before each file that holds one of `words`, and three after them all."""
    rows = []
    for word in [*words, None]:
        names = [f"{len(rows) + i:02}.wav" for i in range(3)]
        for name in names:
            sf.write(folder / name, tone(22050, 3.2, 200.0 + 50 * len(rows)), 22050)
        if word:
            (folder / word).write_text(word)
        rows += [{"track_id": name, "uri": str(folder / name), "split": "test"} for name in [*names, word] if name]
    return pa.Table.from_pylist(rows, schema=tables.CATALOG)


def on_ray(job):
    return {"cluster": Cluster(), "progress": Progress(Console(), job), "limits": LIMITS}


def check(found, n_good, words, capsys):
    """See that there is one row for each track, and that each of `words` came to what it does."""
    rows = {row["track_id"]: (row["status"], row["error"]) for row in found}
    with capsys.disabled():
        for word in words:
            print(f"\ninjected: a decoder made to {word}; found: {': '.join(rows[word])}", end="")
        print(f"; of {n_good} others {sum(status == 'ok' for status, _ in rows.values())} are ok")
    assert len(found) == len(rows) == n_good + len(words)
    for track_id, (status, error) in rows.items():
        expected, part = EXPECTED.get(track_id, ("ok", ""))
        assert status == expected
        assert part in (error or "")


def test_extract_gives_such_tracks_a_row_and_loses_no_other(ray_session, tone, tmp_path, capsys):
    (tmp_path / "music").mkdir()
    tracks = catalog(tmp_path / "music", tone, EXPECTED)
    outcome = extract(
        tracks, str(tmp_path / "features"), SMALL, split_method="official", block_size=8, **on_ray("extract")
    )
    check(pq.read_table(tmp_path / "features").to_pylist(), 12, list(EXPECTED), capsys)
    assert outcome.counts == {"ok": 12, "crashed": 2, "timeout": 1}
    assert len(list((tmp_path / "features").iterdir())) == 2
    again = extract(tracks, str(tmp_path / "features"), SMALL, split_method="official", **on_ray("extract"))
    assert again.n_done == 0


def test_tag_gives_such_tracks_a_row_and_loses_no_other(ray_session, tone, tmp_path, capsys):
    settings = Settings("mel_cnn", MelCnnConfig(filters=(4, 4)), SMALL, GENRES, 97, 3, {}, {})
    checkpoint.save(str(tmp_path / "run"), settings.build(), settings)
    (tmp_path / "music").mkdir()
    tracks = catalog(tmp_path / "music", tone, ["segfault"])
    tag(tracks, str(tmp_path / "tags"), str(tmp_path / "run"), top_k=2, gpu="no", **on_ray("tag"))
    with (tmp_path / "tags" / "tags.csv").open(newline="") as file:
        check(list(csv.DictReader(file)), 6, ["segfault"], capsys)
