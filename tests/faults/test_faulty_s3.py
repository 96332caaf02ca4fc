"""Extraction from and to an S3 that fails now and then: nothing is lost, and the retries end."""

import csv
import io
import time

import buckets
import pytest
from commands import started
from making import feature_rows, write_features, write_music
from rich.console import Console

from genreray import cli, parts, storage, tables
from genreray.catalog import read_catalog
from genreray.cluster import Cluster
from genreray.errors import TrackError, UserError
from genreray.extract import extract, extract_block
from genreray.features import FeatureConfig
from genreray.isolation import DEFAULT_LIMITS
from genreray.parts import Parts
from genreray.progress import Progress

TRAINING = ("--epochs", "4", "--crop-frames", "64", "--batch-size", "8", "--filters", "4", "8")
CONFIG = FeatureConfig(n_mels=32, n_mfcc=13, duration=3.0)


def through_faults(s3, bucket, tmp_path, content, n, share, block_size):
    """Extract `n` tracks from and to S3 with faults, and compare with what a disk gives."""
    music, features = f"{bucket}/music", f"{bucket}/features"
    for i in range(n):
        (tmp_path / f"{i:04d}.wav").write_bytes(content)
    fs, root = storage.filesystem(music)
    fs.pipe({f"{root}/{i:04d}.wav": content for i in range(n)})
    s3.asked.clear()
    started = time.monotonic()
    with s3.failing(share) as injected:
        outcome = extract(
            read_catalog(music),
            features,
            CONFIG,
            split_method="none",
            cluster=Cluster(),
            progress=Progress(Console(), "extract"),
            block_size=block_size,
        )
        table = parts.read(Parts(features, tables.FEATURES).files(), tables.FEATURES.names, tables.FEATURES)
        table = table.sort_by("track_id")
    print(
        f"\ninjected {sum(injected.values())} faults into {len(s3.asked)} requests: {dict(injected)}; "
        f"found {outcome.counts}, {len(table)} rows, in {time.monotonic() - started:.1f} s"
    )
    assert outcome.counts == {"ok": n}
    expected = extract_block(read_catalog(str(tmp_path)).slice(0, 1), CONFIG)
    assert table["track_id"].to_pylist() == [f"{i:04d}.wav" for i in range(n)]
    for name in ("mel", "mfcc", "mel_ref", "n_frames", "duration"):
        assert table[name].unique().to_pylist() == expected[name].to_pylist()
    return injected


def test_nothing_is_lost_where_requests_fail(ray_session, s3, bucket, tmp_path, tone, encode):
    content = encode(tone(22050, 3.2, 440.0), 22050, "WAV")
    injected = through_faults(s3, bucket, tmp_path, content, 24, 0.2, 6)
    assert set(injected) == {"500", "503", "reset", "cut"}


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_nothing_is_lost_where_one_request_in_20_fails(ray_session, s3, bucket, tmp_path, tone, encode):
    content = encode(tone(22050, 3.2, 440.0), 22050, "WAV")
    injected = through_faults(s3, bucket, tmp_path, content, 2000, 0.05, 50)
    assert sum(injected.values()) > 60
    assert len(injected) == 4


@pytest.mark.faults
@pytest.mark.parametrize(
    ("kind", "raised", "said"),
    [
        ("500", TrackError, "internal error"),
        ("503", UserError, f"s3://{buckets.BUCKET} is too busy (SlowDown): run the same command again"),
        ("reset", UserError, f"s3://{buckets.BUCKET}: no answer"),
    ],
)
def test_a_store_that_fails_for_good_is_given_up_before_its_tracks_time_is_over(s3, bucket, kind, raised, said):
    storage.write_bytes(f"{bucket}/a", b"x")
    s3.asked.clear()
    started = time.monotonic()
    with s3.failing(1.0, (kind,)), pytest.raises(raised) as caught:
        storage.read_bytes(f"{bucket}/a")
    took = time.monotonic() - started
    print(
        f"\ninjected: every request answered by {kind}; found: {raised.__name__} after {len(s3.asked)} requests in "
        f"{took:.1f} s: {caught.value}"
    )
    assert said in str(caught.value)
    assert took < DEFAULT_LIMITS.seconds
    assert len(s3.asked) < 40


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_a_store_that_becomes_too_busy_ends_the_job_with_one_line_and_the_same_command_goes_on(
    ray_session, s3, bucket, tmp_path
):
    music, features = f"{bucket}/music", f"{bucket}/features"
    write_music(tmp_path / "music", 120)
    for path in (tmp_path / "music").glob("*.wav"):
        storage.write_bytes(f"{music}/{path.name}", path.read_bytes())
    command = ["extract", music, features, "--duration", "3"]
    with started(*command) as stopped:
        stopped.wait_until(lambda: next(storage.list_files(features), None) is not None)
        began = time.monotonic()
        with s3.failing(1.0, ("503",)) as injected:
            said = stopped.output(200)
    last = said.splitlines()[-1]
    print(f"\ninjected: {injected['503']} answers SlowDown; found after {time.monotonic() - began:.0f} s: {last}")
    assert stopped.process.returncode == cli.BAD_INPUT
    assert last.startswith(f"genreray: s3://{buckets.BUCKET} is too busy (SlowDown): run the same command again")
    assert "Traceback" not in said
    assert cli.main(command) == 0
    assert storage.read_json(f"{features}.summary.json")["counts"] == {"ok": 120}


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_training_and_tags_are_the_same_where_one_request_in_10_fails(ray_session, s3, bucket, tmp_path):
    manifest = write_music(tmp_path / "music", 36)
    found = {}
    for place, share in ((str(tmp_path), 0.0), (bucket, 0.1)):
        features, run, report, tags = (storage.join(place, name) for name in ("features", "run", "report", "tags"))
        write_features(features, feature_rows(72))
        s3.asked.clear()
        with s3.failing(share) as injected:
            assert cli.main(["train", features, run, *TRAINING]) == 0
            assert cli.main(["evaluate", features, report, "--checkpoint", run]) == 0
            assert cli.main(["tag", manifest, tags, "--checkpoint", run]) == 0
        losses = [epoch["validation_loss"] for epoch in storage.read_json(storage.join(run, "history.json"))]
        accuracy = storage.read_json(storage.join(report, "metrics.json"))["accuracy"]
        rows = csv.DictReader(io.StringIO(storage.read_bytes(storage.join(tags, "tags.csv")).decode()))
        found[share] = losses, accuracy, [(row["track_id"], row["status"], row["genre_1"]) for row in rows]
    print(f"\ninjected: {sum(injected.values())} faults into {len(s3.asked)} requests: {dict(injected)}")
    print(f"found: validation losses {found[0.1][0]}, accuracy {found[0.1][1]}; on disk {found[0.0][:2]}")
    assert set(injected) == {"500", "503", "reset", "cut"}
    assert found[0.1][0] == pytest.approx(found[0.0][0], rel=1e-4)
    assert found[0.1][1:] == found[0.0][1:]
    assert len(found[0.1][2]) == 36
