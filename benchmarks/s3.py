"""`genreray extract` from an S3 that takes its time, beside the same files on disk."""

import dataclasses
import os
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks import command, extract, material, measure, remote, watch
from benchmarks.command import Options
from benchmarks.extract import Apart, Run
from benchmarks.results import Claim, Line, Section

_METHOD = """\
`genreray extract` on {n:,} mp3 files of {seconds:g} s ({distinct} generated clips, taken in turn) with {cpus} of the
machine's CPUs, everything of Ray's and of S3's client included: once from a folder, read from memory, and once from a
bucket. The bucket is moto's server on this machine behind a relay that passes on every request {latency:g} ms after it
came; these two have the other CPUs. Both sides write their parts to disk. The steady rate is taken as for extraction
from disk: of each worker from the time at which its first part was written."""

_DISK = "genreray extract, from disk"


@dataclasses.dataclass(frozen=True, kw_only=True)
class S3Options(Options):
    """Time `genreray extract` from S3 with some latency, and from disk."""

    repeats: int = 3
    """Rounds."""
    files: int = 800
    """Files."""
    clips: int = 8
    """Different generated clips that the files are."""
    seconds: float = 30.0
    """Length of each, in s."""
    latency: float = 50.0
    """What each request takes longer, in ms."""
    cpus: int = 1
    """CPUs of Ray; one at least should be left for the server."""
    folder: Path | None = None
    """Folder for the files and what is made of them (1 GB, deleted at the end); else a temporary one."""


STANDARD = S3Options()
QUICK = S3Options(repeats=1, files=128, clips=2, seconds=10.0)


def run(options: S3Options, apart: Apart = watch.alone) -> Section:
    """Return the rates from both; `apart` runs one of them.

    Raises UserError for too few files.
    """
    extract.check_enough(options.files, options.cpus)
    there = f"genreray extract, from S3 at {options.latency:g} ms"
    with (
        remote.s3(options.latency / 1000, options.cpus) as (near, far),
        tempfile.TemporaryDirectory(dir=options.folder, prefix="benchmark-") as name,
    ):
        music = Path(name) / "music"
        material.fill_folder(music, material.clips(options.clips, options.seconds), options.files)
        bucket = f"s3://{remote.BUCKET}/music"
        apart(_upload, music, bucket, near)
        sides = {
            _DISK: lambda: _run(str(music), far, name, options, apart),
            there: lambda: _run(bucket, far, name, options, apart),
        }
        runs = measure.interleave(sides, options.repeats)
    rates = {side: [found.rate for found in runs[side]] for side in runs}
    lines = [
        Line(
            side,
            rates[side],
            "files/s",
            f"{statistics.median(run.watched.seconds for run in runs[side]):.0f} s all in all",
        )
        for side in runs
    ]
    claim = Claim(
        f"S3: speed at {options.latency:g} ms a request beside disk",
        0.9,
        measure.paired_ratios(rates[there], rates[_DISK]),
    )
    method = _METHOD.format(
        n=options.files, seconds=options.seconds, distinct=options.clips, cpus=options.cpus, latency=options.latency
    )
    return Section("s3", "Extraction from S3", method, lines, [claim])


def _run(music: str, port: int, folder: str, options: S3Options, apart: Apart) -> Run:
    with tempfile.TemporaryDirectory(dir=folder) as output:
        features = Path(output) / "features"
        started = time.time()
        watched = apart(_extract, music, features, options.cpus, port)
        return extract.found(features, options.files, options.cpus, started, watched)


def _extract(music: str, features: Path, cpus: int, port: int) -> None:
    from benchmarks import ray_side

    os.environ |= remote.environment(port)
    ray_side.extract(music, features, cpus)


def _upload(music: Path, bucket: str, port: int) -> None:
    from genreray import storage

    os.environ |= remote.environment(port)
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(
            lambda path: storage.write_bytes(f"{bucket}/{path.name}", path.read_bytes()), music.iterdir()
        ):
            pass


if __name__ == "__main__":
    command.main("s3", run, STANDARD, QUICK)
