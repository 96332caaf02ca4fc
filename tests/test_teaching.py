"""From tracks that somebody labelled on review's page to a catalog tagged in their own taxonomy (docs/teaching.md)."""

import csv
import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import soundfile as sf
from making import SMALL
from rich.console import Console
from sounds import tone
from test_inspection import saved
from test_review import Scripts

from genreray import cli

OURS = ("High", "Low")  # genres that the model of the beginning does not know
SMALL_FLAGS = ("--duration", "3", "--n-mels", SMALL.n_mels, "--n-mfcc", SMALL.n_mfcc)
TRAIN_FLAGS = ("--model", "short_chunk_resnet_small", "--crop-frames", "64", "--epochs", "30", "--batch-size", "8")


def run(*argv: object) -> None:
    assert cli.run([str(word) for word in argv], Console(file=open(os.devnull, "w"))) == 0  # noqa: PTH123, SIM115


def choose(tags: Path, corrections: Path, n: int) -> list[str]:
    """Write what the page saves of the first `n` tracks on it, each given its right genre; return their ids."""
    tracks = json.loads(Scripts((tags / "review.html").read_text(encoding="utf-8")).scripts[0])["tracks"][:n]
    with corrections.open("w", newline="", encoding="utf-8-sig") as file:
        rows = csv.writer(file)
        rows.writerow(["uri", "track_id", "genre", "predicted", "confidence"])
        for track in tracks:
            genre = OURS[int(track["name"][0]) % 2]
            rows.writerow([track["uri"], track["id"], genre, track["genre"] or "", track["confidence"]])
    return [track["id"] for track in tracks]


@pytest.mark.faults
def test_labels_chosen_on_the_page_train_the_model_that_tags_the_catalog(ray_session, tmp_path):
    music, tags, features = tmp_path / "music", tmp_path / "first", tmp_path / "features"
    for i in range(36):  # high and low tones, in folders as albums are
        (music / f"album {i % 3}").mkdir(parents=True, exist_ok=True)
        pitch = (2000.0 if i % 2 == 0 else 200.0) * 2 ** (i / 72)
        sf.write(music / f"album {i % 3}" / f"{i % 2}-{i:02d} ü.wav", tone(22050, 3.2, pitch), 22050)
    run("tag", music, tags, "--checkpoint", saved(tmp_path / "start"), "--gpu", "no")
    run("review", tags, "--tracks", 24)
    first = choose(tags, tmp_path / "corrections.csv", 24)
    assert all("/" in track_id for track_id in first)  # the ids that the folder gives
    run("extract", tmp_path / "corrections.csv", features, *SMALL_FLAGS)
    run("train", features, tmp_path / "run", *TRAIN_FLAGS, "--gpu", "no")
    run("evaluate", features, tmp_path / "report", "--checkpoint", tmp_path / "run", "--gpu", "no")
    run("tag", music, tmp_path / "tags", "--checkpoint", tmp_path / "run", "--gpu", "no")
    told = pq.read_table(tmp_path / "tags" / "predictions").to_pylist()
    assert len(told) == 36
    right = [row["genre"] == OURS[int(row["track_id"].split("/")[1][0])] for row in told]
    assert sum(right) >= 34  # by chance 18
    assert {one["genre"] for row in told for one in row["genres"]} == set(OURS)
    # Round again: what is added is extracted alone, and the splits of the first tracks stay.
    run("review", tmp_path / "tags", "--tracks", 36)
    second = choose(tmp_path / "tags", tmp_path / "corrections-2.csv", 36)
    before = splits(features)
    run("extract", tmp_path / "corrections-2.csv", features, *SMALL_FLAGS)
    summary = json.loads((tmp_path / "features.summary.json").read_text())
    assert (summary["done_now"], summary["done_before"]) == (12, 24)
    after = splits(features)
    assert set(after) == set(second)
    assert {name: after[name] for name in before} == before
    run("train", features, tmp_path / "run-2", *TRAIN_FLAGS, "--gpu", "no")


def splits(features: Path) -> dict[str, str]:
    table = pq.read_table(features, columns=["track_id", "split"])
    return dict(zip(table["track_id"].to_pylist(), table["split"].to_pylist(), strict=True))
