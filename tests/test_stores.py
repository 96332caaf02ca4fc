"""Whole jobs on local disk and on S3: the same commands, the same results."""

import csv
import io

import numpy as np
import pyarrow.parquet as pq
import pytest

from genreray import cli, storage, tables
from genreray.catalog import read_catalog
from genreray.extract import extract_block
from genreray.features import FeatureConfig

GENRES = {"Folk": 300.0, "Jazz": 900.0, "Rock": 2700.0}
SPLITS = ("training",) * 4 + ("validation", "test")


@pytest.fixture
def music(anywhere, tone, encode):
    """A folder of 18 tones, one of no audio, and a manifest of them."""
    rows = [("path", "genre", "split", "artist")]
    for i in range(18):
        genre, path = list(GENRES)[i % 3], f"songs/{i:02d} ü.wav"
        content = encode(tone(22050, 3.2, GENRES[genre] * (1 + i / 100)), 22050, "WAV")
        storage.write_bytes(storage.join(anywhere, path), content)
        rows.append((path, genre, SPLITS[i // 3], f"artist {i}"))
    storage.write_bytes(storage.join(anywhere, "songs/page.mp3"), b"<html>")
    rows.append(("songs/page.mp3", "Rock", "test", "nobody"))
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    storage.write_text(storage.join(anywhere, "songs.csv"), text.getvalue())
    return anywhere


def table(uri):
    fs, path = storage.arrow_filesystem(uri)
    return pq.read_table(path, filesystem=fs).sort_by("track_id")


def names(uri):
    return sorted(name for name, _ in storage.list_files(uri))


# On disk whole jobs are in other tests too.
@pytest.mark.parametrize("anywhere", [pytest.param("local", marks=pytest.mark.faults), "s3"], indirect=True)
def test_every_job_works_there_and_what_it_writes_is_there(ray_session, music):
    manifest, songs, features, run, report, tags = (
        storage.join(music, name) for name in ("songs.csv", "songs", "features", "run", "report", "tags")
    )
    few = ["--n-mels", "32", "--n-mfcc", "13", "--duration", "3"]
    assert cli.main(["extract", manifest, features, *few, "--max-failed", "0.1"]) == 0
    catalog, config = read_catalog(manifest), FeatureConfig(n_mels=32, n_mfcc=13, duration=3.0)
    expected = extract_block(catalog, config).sort_by("track_id")
    assert table(features).cast(tables.FEATURES).equals(expected)
    assert storage.read_json(f"{features}.summary.json")["counts"] == {"ok": 18, "undecodable": 1}

    parts = names(features)
    assert cli.main(["extract", manifest, features, *few, "--max-failed", "0.1"]) == 0
    assert names(features) == parts
    assert storage.read_json(f"{features}.summary.json")["done_now"] == 0

    short = ["--model", "mlp", "--epochs", "1", "--crop-frames", "64", "--batch-size", "4", "--gpu", "no"]
    assert cli.main(["train", features, run, *short]) == 0
    assert {"config.json", "model.safetensors", "history.json", "summary.json"} <= set(names(run))
    assert cli.main(["evaluate", features, report, "--checkpoint", run, "--gpu", "no"]) == 0
    assert names(report) == ["metrics.json", "predictions.parquet", "report.html", "summary.json"]

    assert cli.main(["tag", songs, tags, "--checkpoint", run, "--gpu", "no", "--max-failed", "0.1"]) == 0
    tagged = table(storage.join(tags, "predictions"))
    assert tagged["track_id"].to_pylist() == sorted(read_catalog(songs)["track_id"].to_pylist())
    scored = {row["uri"]: row for row in table(storage.join(report, "predictions.parquet")).to_pylist()}
    again = {row["uri"]: row for row in tagged.to_pylist()}
    assert len(scored) == 4  # of the split test
    for uri, row in scored.items():
        assert again[uri]["genre"] == row["genre"]
        np.testing.assert_allclose(again[uri]["confidence"] or 0, row["confidence"] or 0, rtol=1e-5)
    lines = storage.read_bytes(storage.join(tags, "tags.csv")).decode().splitlines()
    assert len(lines) == 20


def test_fma_is_read_there(anywhere):
    from genreray.demo import metadata
    from genreray.demo.plan import plan

    tracks = plan(48, 0)
    folder = storage.join(anywhere, "fma_metadata")
    storage.write_text(storage.join(folder, "tracks.csv"), metadata.tracks_csv(tracks, 3.0))
    storage.write_text(storage.join(folder, "genres.csv"), metadata.genres_csv(tracks))
    audio = storage.join(anywhere, "fma_medium")
    for track in tracks:
        storage.write_bytes(storage.join(audio, f"{track.name[:3]}/{track.name}.mp3"), b"")
    catalog = read_catalog(audio, fma_metadata=folder)
    assert sorted(catalog["uri"].to_pylist()) == sorted(uri for _, uri in storage.list_files(audio))
