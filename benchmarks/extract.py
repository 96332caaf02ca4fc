"""`genreray extract` on many clips: beside a plain pool with the same kernel, and beside a pool with librosa."""

import dataclasses
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks import baselines, command, machine, measure, watch
from benchmarks.baselines import Kernel
from benchmarks.command import Options
from benchmarks.results import Claim, Line, Section
from benchmarks.watch import Watched
from genreray.errors import Status, UserError
from genreray.features import FeatureConfig
from genreray.parts import part_size

# Ray, and what imports it, is imported in the functions that need it: the pools' processes import this module, and
# are not to carry Ray. So is `material`, for which `genreray extract` would wait a second, as it would not by itself.

_METHOD = """\
`genreray extract` on {n:,} mp3 files of {seconds:g} s (hard links to {distinct} generated clips, so read from memory)
with {cpus} CPUs, everything of Ray's included, against {cpus} processes of Python's multiprocessing with one thread
each. These are held to the same CPUs, run at the priority that Ray gives to its workers, take blocks of as many files
({block}; {fewer_block} for librosa) and write each as one table, a part. Each run is a fresh process (and a fresh Ray)
with an empty output folder. The steady rate is the sum of the workers', each from the time at which its first part was
written to that of its last, on all sides alike: what starts Ray, Python and the libraries is not in it; "all in all"
has it. The first row is on disk when the first part is, counted from the start of Python. The pool with librosa does
{fewer:,} of the files. Memory is of runs of their own, as looking takes time: the greatest sum, looked up every two
seconds, of the proportional set sizes of the driver and the workers."""

_GENRERAY = "genreray extract"
_POOL = "pool, genreray's kernel"
_LIBROSA = "pool, librosa"

_LEAST_PARTS = 2  # of each worker; of genreray short ones come before them

_FIRST_ROW = 15.0  # seconds

Apart = Callable[..., Watched]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExtractOptions(Options):
    """Time `genreray extract` beside pools of processes, and look how its memory grows."""

    repeats: int = 3
    """Rounds."""
    files: int = 1_000
    """Files that genreray and the pool with its kernel do."""
    librosa_files: int = 320
    """Files that the pool with librosa does."""
    many_files: int = 4_000
    """Files of the run that shows whether memory grows."""
    clips: int = 8
    """Different generated clips that the files are links to."""
    seconds: float = 30.0
    """Length of each, in s."""
    cpus: int = 2
    """CPUs of Ray, and processes of the pools."""
    folder: Path | None = None
    """Folder for the files and what is made of them (2 GB, deleted at the end); else a temporary one."""


STANDARD = ExtractOptions()
QUICK = ExtractOptions(repeats=1, files=256, librosa_files=192, many_files=512, clips=2, seconds=10.0)


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of one side."""

    rate: float  # steady, files/s
    first: float  # seconds to the first part
    watched: Watched


def run(options: ExtractOptions, apart: Apart = watch.apart, alone: Apart = watch.alone) -> Section:
    """Return the rates and the memory of all sides; `apart` runs one and looks at its memory, `alone` does not.

    Raises UserError for too few files.
    """
    from benchmarks import material

    sizes = sorted({options.files, options.librosa_files, options.many_files})
    check_enough(sizes[0], options.cpus)
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="benchmark-") as name:
        folder = Path(name)
        contents = material.clips(options.clips, options.seconds)
        for n in sizes:
            material.fill_folder(folder / str(n), contents, n)
        kernel = _pool(baselines.genreray_kernel)
        sides = {
            _GENRERAY: _side(folder, options.files, options, alone, _extract),
            _POOL: _side(folder, options.files, options, alone, kernel),
            _LIBROSA: _side(folder, options.librosa_files, options, alone, _pool(baselines.librosa_kernel)),
        }
        runs = measure.interleave(sides, options.repeats)
        looked_at = {
            f"{_GENRERAY}, {options.files:,} files": _side(folder, options.files, options, apart, _extract)(),
            f"{_GENRERAY}, {options.many_files:,} files": _side(folder, options.many_files, options, apart, _extract)(),
            f"{_POOL}, {options.files:,} files": _side(folder, options.files, options, apart, kernel)(),
        }
    return _section(options, runs, looked_at)


def _extract(folder: Path, output: Path, cpus: int) -> None:
    from benchmarks import ray_side

    ray_side.extract(folder, output, cpus)


def _pool(kernel: Kernel) -> Callable[[Path, Path, int], None]:
    return partial(_run_pool, kernel)


def _run_pool(kernel: Kernel, folder: Path, output: Path, cpus: int) -> None:
    machine.hold_to(cpus)
    baselines.run_pool(kernel, folder, output, cpus, FeatureConfig())


def _side(
    folder: Path, n: int, options: ExtractOptions, apart: Apart, function: Callable[..., None]
) -> Callable[[], Run]:
    """Return a contender that does `n` files into an empty folder."""

    def contender() -> Run:
        with tempfile.TemporaryDirectory(dir=folder) as output:
            started = time.time()
            watched = apart(function, folder / str(n), Path(output) / "features", options.cpus)
            return found(Path(output) / "features", n, options.cpus, started, watched)

    return contender


def check_enough(files: int, workers: int) -> None:
    """Raise UserError where so many files make too few parts for a steady rate."""
    if math.ceil(files / part_size(files, workers)) < _LEAST_PARTS * workers:
        raise UserError(f"{files} files are too few for a steady rate of {workers} workers: give more")


def found(parts: Path, n: int, workers: int, started: float, watched: Watched) -> Run:
    """Return what a run that was `started` at that time wrote of `n` files, and when."""
    first = min(path.stat().st_mtime_ns for path in parts.iterdir()) / 1e9 - started
    return Run(steady_rate(parts, n, workers), first, watched)


def steady_rate(output: Path, n: int, workers: int) -> float:
    """Return the files done a second once each worker has written a part, by when the parts were written.

    Raises RuntimeError where not all `n` files came out well.
    """
    parts = sorted((path.stat().st_mtime_ns / 1e9, _statuses(path)) for path in output.iterdir())
    good = sum(statuses.count(Status.OK.value) for _, statuses in parts)
    if good != n:
        raise RuntimeError(f"{good} of {n} files came out well: nothing is to be compared")
    return measure.steady_rate([time for time, _ in parts], [len(statuses) for _, statuses in parts], workers)


def _statuses(part: Path) -> list[str]:
    statuses: list[str] = pq.read_table(part, columns=["status"]).column("status").to_pylist()
    return statuses


def _section(options: ExtractOptions, runs: dict[str, list[Run]], looked_at: dict[str, Run]) -> Section:
    rates = {name: [run.rate for run in side] for name, side in runs.items()}
    lines = [
        Line(
            name, values, "files/s", f"{statistics.median(run.watched.seconds for run in runs[name]):.0f} s all in all"
        )
        for name, values in rates.items()
    ]
    firsts = [run.first for run in runs[_GENRERAY]]
    lines.append(Line(f"{_GENRERAY}: first row", firsts, "s"))
    claims = [
        Claim(f"extract: speed beside the {name}", wanted, measure.paired_ratios(rates[_GENRERAY], rates[name]))
        for name, wanted in ((_POOL, 0.9), (_POOL, 0.95), (_LIBROSA, 1.8))
    ]
    claims.append(Claim("extract: first row", _FIRST_ROW, firsts, "s", at_least=False))
    peaks: list[Any] = [run.watched.peak for run in looked_at.values()]
    if None not in peaks:
        lines += [Line(f"memory of {name}", [peak / 1e6], "MB") for name, peak in zip(looked_at, peaks, strict=True)]
        name = f"extract: memory for {options.many_files:,} files beside that for {options.files:,}"
        claims.append(Claim(name, 1.1, [peaks[1] / peaks[0]], at_least=False))
    method = _METHOD.format(
        n=options.files,
        seconds=options.seconds,
        distinct=options.clips,
        cpus=options.cpus,
        block=part_size(options.files, options.cpus),
        fewer=options.librosa_files,
        fewer_block=part_size(options.librosa_files, options.cpus),
    )
    return Section("extract", "Extraction", method, lines, claims)


if __name__ == "__main__":
    command.main("extract", run, STANDARD, QUICK)
