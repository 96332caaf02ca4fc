"""`genreray tag` on many clips: beside extraction alone; its memory, and when the first row is there."""

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from benchmarks import command, extract, measure, watch
from benchmarks.command import Options
from benchmarks.extract import Apart, Run
from benchmarks.results import Claim, Line, Section
from genreray.predictions import PREDICTIONS_FOLDER

# Ray, and what imports it, is imported in the functions that need it: the processes of peers' pools import this module
# by way of tag_peers.py, and are not to carry Ray.

_METHOD = """\
`genreray tag` with an untrained {model} (the time does not depend on its weights) beside `genreray extract`, both on
{n:,} mp3 files of {seconds:g} s (hard links to {distinct} generated clips, so read from memory) with {cpus} CPUs,
everything of Ray's included; each run is a fresh process, a fresh Ray and an empty output folder. The steady rate is
taken as for extraction: of each worker from the time at which its first part was written. The first row is on disk
when the first part of PREDICTIONS is, counted from the start of Python; the run on {catalog:,} tracks (hard links to
the same clips in one folder) is ended then. Memory is of runs of their own: the greatest sum, looked up every two
seconds, of the proportional set sizes of the driver and the workers."""

TAG = "genreray tag"
_EXTRACT = "genreray extract"
_FIRST_ROW = 30.0  # seconds

Until = Callable[..., float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TagOptions(Options):
    """Time `genreray tag` beside extraction, and look at its memory and its first row."""

    repeats: int = 3
    """Rounds."""
    model: str = "mel_cnn"
    """Name of an architecture that reads the log-mel."""
    files: int = 1_000
    """Files that genreray does."""
    many_files: int = 4_000
    """Files of the run that shows whether memory grows."""
    catalog: int = 100_000
    """Files of the run that shows when the first row is there."""
    clips: int = 8
    """Different generated clips that the files are links to."""
    seconds: float = 30.0
    """Length of each, in s."""
    cpus: int = 2
    """CPUs of Ray."""
    folder: Path | None = None
    """Folder for the files and what is made of them (1 GB, deleted at the end); else a temporary one."""


STANDARD = TagOptions()
QUICK = TagOptions(repeats=1, files=256, many_files=512, catalog=2_000, clips=2, seconds=10.0)


def run(
    options: TagOptions, apart: Apart = watch.apart, alone: Apart = watch.alone, until: Until = watch.until
) -> Section:
    """Return rates, memory and the time to the first row.

    `apart` runs one side and looks at its memory, `alone` does not; `until` runs as far as something is so.

    Raises UserError for too few files.
    """
    from benchmarks import material  # here, as in `extract`

    extract.check_enough(min(options.files, options.many_files), options.cpus)
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="benchmark-") as name:
        folder = Path(name)
        contents = material.clips(options.clips, options.seconds)
        for n in {options.files, options.many_files, options.catalog}:
            material.fill_folder(folder / str(n), contents, n)
        material.write_checkpoint(folder / "checkpoint", options.model)
        sides: dict[str, Callable[[], Run]] = {
            TAG: partial(tag, folder, options.files, options.cpus, alone),
            _EXTRACT: partial(_extract, folder, options.files, options.cpus, alone),
        }
        runs = measure.interleave(sides, options.repeats)
        few, many = (tag(folder, n, options.cpus, apart) for n in (options.files, options.many_files))
        first = _first_row(folder, options, until)
    return _section(options, runs, few.watched.peak, many.watched.peak, first)


def tag(folder: Path, n: int, cpus: int, apart: Apart) -> Run:
    """Label the `n` files in the folder of that name in `folder` by its checkpoint."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        output = Path(name) / "tags"
        started = time.time()
        watched = apart(_run_tag, folder / str(n), output, folder / "checkpoint", cpus)
        return extract.found(output / PREDICTIONS_FOLDER, n, cpus, started, watched)


def _extract(folder: Path, n: int, cpus: int, apart: Apart) -> Run:
    with tempfile.TemporaryDirectory(dir=folder) as name:
        output = Path(name) / "features"
        started = time.time()
        watched = apart(_run_extract, folder / str(n), output, cpus)
        return extract.found(output, n, cpus, started, watched)


def _first_row(folder: Path, options: TagOptions, until: Until) -> float:
    """Return the seconds after which the first row of the large catalog is on disk."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        output = Path(name) / "tags"
        parts = output / PREDICTIONS_FOLDER
        return until(
            lambda: any(parts.glob("part-*.parquet")),
            _run_tag,
            folder / str(options.catalog),
            output,
            folder / "checkpoint",
            options.cpus,
        )


def _run_tag(music: Path, output: Path, checkpoint: Path, cpus: int) -> None:
    from benchmarks import ray_side

    ray_side.tag(music, output, checkpoint, cpus)


def _run_extract(music: Path, output: Path, cpus: int) -> None:
    from benchmarks import ray_side

    ray_side.extract(music, output, cpus)


def lines_of(runs: Mapping[str, Sequence[Run]]) -> list[Line]:
    """Return the rates of all sides."""
    notes = {name: statistics.median(run.watched.seconds for run in side) for name, side in runs.items()}
    return [
        Line(name, [run.rate for run in side], "files/s", f"{notes[name]:.0f} s all in all")
        for name, side in runs.items()
    ]


def _section(
    options: TagOptions, runs: dict[str, list[Run]], few: float | None, many: float | None, first: float
) -> Section:
    lines = [
        *lines_of(runs),
        Line(f"first row of {options.files:,} tracks", [run.first for run in runs[TAG]], "s"),
        Line(f"first row of {options.catalog:,} tracks", [first], "s"),
    ]
    rates = {name: [run.rate for run in side] for name, side in runs.items()}
    claims = [Claim("tag: speed beside extraction", 0.85, measure.paired_ratios(rates[TAG], rates[_EXTRACT]))]
    claims.append(Claim(f"tag: first row of {options.catalog:,} tracks", _FIRST_ROW, [first], "s", at_least=False))
    if few and many:
        peaks = {options.files: few, options.many_files: many}
        lines += [Line(f"memory, {n:,} files", [peak / 1e6], "MB") for n, peak in peaks.items()]
        what = f"tag: memory for {options.many_files:,} files beside that for {options.files:,}"
        claims.append(Claim(what, 1.1, [many / few], at_least=False))
    method = _METHOD.format(
        model=options.model,
        n=options.files,
        seconds=options.seconds,
        distinct=options.clips,
        cpus=options.cpus,
        catalog=options.catalog,
    )
    return Section("tag", "Tagging", method, lines, claims)


if __name__ == "__main__":
    command.main("tag", run, STANDARD, QUICK)
