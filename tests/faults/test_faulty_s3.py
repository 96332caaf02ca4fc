"""Extraction from and to an S3 that fails now and then: nothing is lost, and the retries end."""

import time

import pytest
from rich.console import Console

from genreray import parts, storage, tables
from genreray.catalog import read_catalog
from genreray.cluster import Cluster
from genreray.errors import TrackError, UserError
from genreray.extract import extract, extract_block
from genreray.features import FeatureConfig
from genreray.parts import Parts
from genreray.progress import Progress

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
@pytest.mark.parametrize("kind", ["500", "503", "reset"])
def test_a_store_that_fails_for_good_is_given_up_within_a_minute(s3, bucket, kind):
    storage.write_bytes(f"{bucket}/a", b"x")
    s3.asked.clear()
    started = time.monotonic()
    with s3.failing(1.0, (kind,)), pytest.raises((TrackError, UserError)) as caught:
        storage.read_bytes(f"{bucket}/a")
    print(f"\n{len(s3.asked)} requests in {time.monotonic() - started:.1f} s: {caught.value}")
    assert time.monotonic() - started < 60
