"""`genreray extract` and `genreray tag`: which of their processes take the CPUs, and how much nothing takes."""

import dataclasses
import functools
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks import command, extract, looks, material, measure, stages_lines
from benchmarks.command import Options
from benchmarks.looks import Look
from benchmarks.results import Line, Section
from genreray.predictions import PREDICTIONS_FOLDER

_METHOD = """\
{n:,} mp3 files of {seconds:g} s (hard links to {distinct} generated clips) go through `genreray extract` and `genreray
tag` (an untrained {model}) on {cpus} CPUs, each time in a fresh process, a fresh Ray and an empty output folder. All
their processes are looked at every half second, from when each worker has written its first part until one of them has
no more to do. A line is what a kind of process takes of the CPUs in that time, divided by the steady rate, which is
taken as for extraction: CPU time for a track. Nothing ran for what is left of the CPUs, or what was no part of the
job."""

_MODEL = "mel_cnn"
_NOTHING = "nothing of the job's ran"

Looking = Callable[..., Sequence[Look]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SharesOptions(Options):
    """Look at who takes the CPUs while `genreray extract` and `genreray tag` run."""

    repeats: int = 1
    """Rounds."""
    files: int = 800
    """Files of each run."""
    clips: int = 8
    """Different generated clips that the files are links to."""
    seconds: float = 30.0
    """Length of each, in s."""
    cpus: int = 2
    """CPUs of Ray."""
    folder: Path | None = None
    """Folder for the files and what is made of them (deleted at the end); else a temporary one."""


STANDARD = SharesOptions()
QUICK = SharesOptions(files=256, clips=2, seconds=10.0)


@dataclasses.dataclass(frozen=True)
class Share:
    """What was seen of one run."""

    busy: Mapping[str, float]  # CPUs that each kind of process keeps busy
    rate: float  # tracks/s


def run(options: SharesOptions, looking: Looking = looks.apart) -> Section:
    """Return what each kind of process takes; `looking` runs a job and looks at its processes.

    Raises UserError for too few files.
    """
    extract.check_enough(options.files, options.cpus)
    jobs = {"extract with Ray": _extract, f"tag with Ray, {_MODEL}": _tag}
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="benchmark-") as name:
        folder = Path(name)
        material.fill_folder(folder / "music", material.clips(options.clips, options.seconds), options.files)
        material.write_checkpoint(folder / "checkpoint", _MODEL)
        sides = {name: functools.partial(_share, folder, job, options, looking) for name, job in jobs.items()}
        found = measure.interleave(sides, options.repeats)
    lines = [line for name, rounds in found.items() for line in _lines(name, rounds, options.cpus)]
    method = _METHOD.format(
        n=options.files, seconds=options.seconds, distinct=options.clips, model=_MODEL, cpus=options.cpus
    )
    return Section("shares", "Who takes the CPUs", method, lines, [])


def _share(folder: Path, job: Callable[..., None], options: SharesOptions, looking: Looking) -> Share:
    with tempfile.TemporaryDirectory(dir=folder) as output:
        seen = looking(job, folder / "music", Path(output), folder / "checkpoint", options.cpus)
        parts = Path(output) / ("features" if job is _extract else f"tags/{PREDICTIONS_FOLDER}")
        rate = extract.steady_rate(parts, options.files, options.cpus)
        return Share(looks.busy(seen, *looks.steady(parts, options.cpus)), rate)


def _lines(job: str, rounds: Sequence[Share], cpus: int) -> list[Line]:
    """Return what each kind of process takes of a track's time on all CPUs, what is left of that, and all of it."""
    taken = {kind: [share.busy[kind] / share.rate for share in rounds] for kind in looks.KINDS}
    whole = [cpus / share.rate for share in rounds]
    taken[_NOTHING] = [a - b for a, b in zip(whole, stages_lines.summed(taken), strict=True)]
    rate = statistics.median(share.rate for share in rounds)
    return [
        *(stages_lines.milliseconds(job, name, of, stages_lines.share(of, whole)) for name, of in taken.items()),
        stages_lines.milliseconds(job, stages_lines.WHOLE, whole, f"{rate:.1f} tracks/s on {cpus} CPUs"),
    ]


def _extract(music: Path, output: Path, checkpoint: Path, cpus: int) -> None:
    from benchmarks import ray_side

    ray_side.extract(music, output / "features", cpus)


def _tag(music: Path, output: Path, checkpoint: Path, cpus: int) -> None:
    from benchmarks import ray_side

    ray_side.tag(music, output / "tags", checkpoint, cpus)


if __name__ == "__main__":
    command.main("shares", run, STANDARD, QUICK)
