"""What grows with the catalog: `genreray extract` without the extraction, on 1,000 to 100,000 rows."""

import dataclasses
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import command, scale_side, watch
from benchmarks.command import Options
from benchmarks.results import Claim, Line, Section
from benchmarks.watch import Watched
from genreray import storage
from genreray.parts import part_size

_METHOD = """\
A manifest (Parquet) of so many tracks goes through what `genreray extract` runs (`genreray.pipeline.run`, Ray with
{cpus} CPUs, blocks of at most {block} tracks), but a stub stands in place of fetching, decoding and computing: it
returns the rows of its block at once, with 64 bytes where an image would be. So all of the time is what a track costs
beside its own work: reading the catalog, comparing it with the output, scheduling, writing parts, counting. Ray's
start, some seconds, is in it. Each run and each resume is a fresh process. Memory is the greatest resident set of the
driver's process. A resume is the same command on the finished output, from the start of Python to its end. Listing is
`storage.list_files` on a folder of as many empty files on a local disk."""

Apart = Callable[..., Watched]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScaleOptions(Options):
    """Time everything but the extraction, for catalogs of several sizes."""

    rows: tuple[int, ...] = (1_000, 10_000, 100_000)
    """Tracks of the catalogs; the claims are about the last, beside the one before."""
    repeats: int = 3
    """Rounds."""
    cpus: int = 2
    """CPUs of Ray."""
    folder: Path | None = None
    """Folder for the files (deleted at the end); else a temporary one."""


STANDARD = ScaleOptions()
QUICK = ScaleOptions(rows=(200, 1_000, 2_000), repeats=1)


@dataclasses.dataclass(frozen=True)
class Run:
    """A catalog of one size, done and run again."""

    seconds: float
    memory: float  # bytes, the driver's peak
    resume: float  # seconds
    resume_memory: float  # bytes
    files: int
    size: float  # bytes of a part, the mean
    listing: float  # seconds


def run(options: ScaleOptions, apart: Apart = watch.apart) -> Section:
    """Return what a track costs beside its own work, and what the driver needs, for each size."""
    runs: dict[int, list[Run]] = {n: [] for n in options.rows}
    for _ in range(options.repeats):
        for n, found in runs.items():
            with tempfile.TemporaryDirectory(dir=options.folder, prefix="benchmark-") as name:
                found.append(_measure(n, Path(name), options.cpus, apart))
    return _section(options, runs)


def _measure(n: int, folder: Path, cpus: int, apart: Apart) -> Run:
    manifest, output, told = folder / "songs.parquet", folder / "features", folder / "told.json"
    pq.write_table(_manifest(n), manifest)
    apart(scale_side.job, manifest, output, told, cpus)
    first = json.loads(told.read_text())
    watched = apart(scale_side.job, manifest, output, told, cpus)
    again = json.loads(told.read_text())
    if (first["done"], again["done"], again["before"]) != (n, 0, n):
        raise RuntimeError(f"{first['done']} of {n} tracks were done, and {again['done']} again")
    parts = [path.stat().st_size for path in output.iterdir()]
    return Run(
        seconds=first["seconds"],
        memory=first["memory"],
        resume=watched.seconds,
        resume_memory=again["memory"],
        files=len(parts),
        size=sum(parts) / len(parts),
        listing=_listing(folder / "music", n),
    )


def _manifest(n: int) -> pa.Table:
    """Return tracks whose names and paths are as long as those of a collection in a bucket."""
    return pa.table(
        {
            "track_id": [f"{i:09d}" for i in range(n)],
            "path": [f"/music/collection/{i // 1000:06d}/artist - title of a track {i:09d}.mp3" for i in range(n)],
            "genre": ["Rock" if i % 3 else "Jazz" for i in range(n)],
            "split": [("training", "training", "validation", "test")[i % 4] for i in range(n)],
        }
    )


def _listing(folder: Path, n: int) -> float:
    """Return the seconds that listing a folder of `n` files, a thousand each subfolder, takes."""
    for i in range(n):
        if i % 1000 == 0:
            place = folder / f"{i // 1000:06d}"
            place.mkdir(parents=True)
        (place / f"{i:09d}.mp3").touch()
    started = time.perf_counter()
    if sum(1 for _ in storage.list_files(str(folder))) != n:
        raise RuntimeError("not all files were listed")
    return time.perf_counter() - started


def _section(options: ScaleOptions, runs: dict[int, list[Run]]) -> Section:
    lines = []
    for n, found in runs.items():
        blocks = found[0].files
        lines += [
            Line(
                f"{n:,} tracks: beside its own work a track takes",
                [run.seconds / n * 1e3 for run in found],
                "ms",
                f"{min(run.seconds for run in found):.1f} s in all, {blocks:,} blocks",
            ),
            Line(f"{n:,} tracks: the driver's memory", [run.memory / 1e6 for run in found], "MB"),
            Line(f"{n:,} tracks: a resume that finds all done", [run.resume for run in found], "s"),
            Line(f"{n:,} tracks: memory of that", [run.resume_memory / 1e6 for run in found], "MB"),
            Line(f"{n:,} tracks: listing the files", [run.listing for run in found], "s"),
            Line(f"{n:,} tracks: a part", [run.size / 1e3 for run in found], "kB", f"{blocks:,} parts, without images"),
        ]
    *_, before, last = options.rows
    most, fewer = runs[last], runs[before]
    growth = [a.memory / b.memory for a, b in zip(most, fewer, strict=True)]
    claims = [
        Claim(
            f"scale: a track of {last:,} beside its own work",
            2.0,
            [run.seconds / last * 1e3 for run in most],
            "ms",
            at_least=False,
        ),
        Claim(f"scale: driver's memory for {last:,} tracks beside {before:,}", 1.5, growth, at_least=False),
        Claim(f"scale: resume of {last:,} finished tracks", 60.0, [run.resume for run in most], "s", at_least=False),
    ]
    method = _METHOD.format(cpus=options.cpus, block=part_size(options.rows[-1], options.cpus))
    return Section("scale", "Size of the catalog", method, lines, claims)


if __name__ == "__main__":
    command.main("scale", run, STANDARD, QUICK)
