"""What jobs cost as their work grows: time and memory of `extract` and `tag` at several sizes."""

import dataclasses
import statistics
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import command, material, measure, watch
from benchmarks.command import Options
from benchmarks.extract import Apart
from benchmarks.results import Claim, Line, Section
from benchmarks.watch import Watched
from genreray import resume
from genreray.features import FeatureConfig
from genreray.parts import part_size

_FILES = """\
`genreray extract` and `genreray tag` (an untrained {model} on crops of {crop} frames) on folders of so many mp3 files
of {seconds:g} s, hard links to {distinct} generated clips, with {cpus} CPUs."""
_TRAINING = """\
`genreray train --model {model}`, {epochs} epochs of crops of {crop} frames, on FEATURES of so many training clips of
{seconds:g} s ({clip:.1f} kB each as the model reads them), with {cpus} CPUs. It keeps the clips in memory where they
fit; where Ray has so little memory that they do not, it streams them. A track in an epoch is the median of the epochs'
times, which the run's history has, over the tracks: Ray's start, which varies by seconds, is not in it."""
_BOTH = """ \
Clips and crops are short, so that what a job does beside them weighs more than it does in earnest. Each run is a fresh
process, a fresh Ray and an empty output folder, and its time is that of all of it. Start and power are those of start +
cost * tracks^power, fitted by least squares to the times of all sizes in a round. Memory is the greatest sum, looked up
every two seconds, of the proportional set sizes of the driver and the workers."""

_POWERS = [power / 1000 for power in range(500, 2001)]
_MOST_POWER = 1.1
_MOST_GROWTH = 1.1  # of memory, and of the time of a track in an epoch
_LITTLE = 8 * 2**20  # bytes of memory that Ray is told of, so that the clips of every size are streamed
_CROP = 128  # frames
_VALIDATION = 16  # clips
_STREAMED = "train, streaming"
FILES = ("extract", "tag")
TRAINING = ("train", _STREAMED)


@dataclasses.dataclass(frozen=True, kw_only=True)
class GrowthOptions(Options):
    """Time and weigh jobs of several sizes."""

    sizes: tuple[int, ...] = (250, 1_000, 4_000, 16_000)
    """Tracks; the claims about memory are of the last beside the second."""
    jobs: tuple[str, ...] = FILES
    """Which jobs: extract and tag, or train and "train, streaming"."""
    repeats: int = 1
    """Rounds."""
    epochs: int = 8
    """Of training: with few of them, what a start varies by would be much of what training takes."""
    model: str = "mel_cnn"
    """Name of an architecture that reads the log-mel."""
    clips: int = 8
    """Different generated clips."""
    seconds: float = 3.2
    """Length of each, in s."""
    cpus: int = 2
    """CPUs of Ray."""
    folder: Path | None = None
    """Folder for the files and what is made of them (2 GB, deleted at the end); else a temporary one."""


STANDARD = GrowthOptions()
QUICK = GrowthOptions(sizes=(64, 128, 256, 512), epochs=2, clips=2)

Fit = tuple[float, float, float]  # start in s, cost of a track in s, power


class Run(NamedTuple):
    """What a job took, and of training an epoch, in s."""

    watched: Watched
    epoch: float | None


def run(options: GrowthOptions, apart: Apart = watch.apart) -> Section:
    """Return time and memory of each job at each size, and how they grow; `apart` runs one job once."""
    sides: dict[str, Callable[[], list[Run]]] = {job: partial(_all_sizes, job, options, apart) for job in options.jobs}
    runs = measure.interleave(sides, options.repeats)
    lines: list[Line] = []
    claims: list[Claim] = []
    for job, rounds in runs.items():
        more = _of_job(job, rounds, options)
        lines, claims = lines + more[0], claims + more[1]
    trains = options.jobs[0] in TRAINING
    method = ((_TRAINING if trains else _FILES) + _BOTH).format(
        model=options.model,
        crop=_CROP,
        seconds=options.seconds,
        distinct=options.clips,
        epochs=options.epochs,
        cpus=options.cpus,
        clip=_clip_bytes(options) / 1e3,
    )
    if trains:
        return Section("growth_train", "Growth of training", method, lines, claims)
    return Section("growth", "Growth of the catalog", method, lines, claims)


def _all_sizes(job: str, options: GrowthOptions, apart: Apart) -> list[Run]:
    """Return what `job` took at each of the sizes."""
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="benchmark-") as name:
        folder = Path(name)
        contents = material.clips(options.clips, options.seconds)
        if job == "tag":
            material.write_checkpoint(folder / "checkpoint", options.model, _CROP)
        found = []
        for n in options.sizes:
            _fill(folder / str(n), job, contents, n, options)
            watched = apart(_run, job, folder, n, options)
            epochs = [float(epoch["seconds"]) for epoch in resume.read_history(str(folder / f"{n}-done"))]
            found.append(Run(watched, statistics.median(epochs) if epochs else None))  # none but of training
        return found


def _fill(folder: Path, job: str, contents: Sequence[bytes], n: int, options: GrowthOptions) -> None:
    if job in FILES:
        material.fill_folder(folder, contents, n)
        return
    config = FeatureConfig(duration=options.seconds)
    rows, size = n + _VALIDATION, part_size(n, options.cpus)
    material.write_features(folder, contents, rows, config, size, n_validation=_VALIDATION)


def _run(job: str, folder: Path, n: int, options: GrowthOptions) -> None:
    from benchmarks import ray_side

    work, output = folder / str(n), folder / f"{n}-done"
    if job == "extract":
        ray_side.extract(work, output, options.cpus)
    elif job == "tag":
        ray_side.tag(work, output, folder / "checkpoint", options.cpus)
    else:
        ray_side.start(options.cpus, memory=_LITTLE if job == _STREAMED else None)
        words = f"--model {options.model} --epochs {options.epochs} --crop-frames {_CROP} --crops 1 --gpu no"
        ray_side.job(["train", str(work), str(output), *words.split()], options.cpus)


def grown(sizes: Sequence[int], seconds: Sequence[float]) -> Fit:
    """Return the start, cost and power of start + cost * sizes^power, fitted to `seconds` by least squares."""
    fits = []
    for power in _POWERS:
        terms = np.stack([np.ones(len(sizes)), np.array(sizes, float) ** power], axis=1)
        (start, cost), *_ = np.linalg.lstsq(terms, np.array(seconds))
        rest = float(np.square(terms @ (start, cost) - seconds).sum())
        fits.append((rest, (float(start), float(cost), power)))
    return min(fits)[1]


def _clip_bytes(options: GrowthOptions) -> int:
    config = FeatureConfig(duration=options.seconds)
    return config.n_mels * config.max_frames


def _of_job(job: str, runs: list[list[Run]], options: GrowthOptions) -> tuple[list[Line], list[Claim]]:
    """Return the lines and claims of one job, which was run at each size in each round."""
    rounds = [[run.watched for run in found] for found in runs]
    fits = [grown(options.sizes, [watched.seconds for watched in found]) for found in rounds]
    lines = []
    for i, n in enumerate(options.sizes):
        lines.append(Line(f"{job}: {n:,} tracks", [found[i].seconds for found in rounds], "s"))
    lines += [
        Line(f"{job}: start, by the fit", [start for start, _, _ in fits], "s"),
        Line(f"{job}: power of the tracks, by the fit", [power for _, _, power in fits], ""),
    ]
    claims = [Claim(f"growth: {job}, power of the tracks", _MOST_POWER, [fit[2] for fit in fits], "", at_least=False)]
    more = _of_epochs(job, [[run.epoch for run in found] for found in runs], options)
    lines, claims = lines + more[0], claims + more[1]
    peaks: list[list[Any]] = [[watched.peak for watched in found] for found in rounds]
    if any(None in found for found in peaks):
        return lines, claims
    for i, n in enumerate(options.sizes):
        lines.append(Line(f"{job}: memory, {n:,} tracks", [found[i] / 1e6 for found in peaks], "MB"))
    if job == "train":  # which keeps the clips
        a_track = [np.polyfit(options.sizes, found, 1)[0] / _clip_bytes(options) for found in peaks]
        what = "growth: train, memory that a clip adds beside its bytes"
        claims.append(Claim(what, 1.5, list(map(float, a_track)), at_least=False))
    else:
        last, second = options.sizes[-1], options.sizes[1]
        what = f"growth: {job}, memory for {last:,} tracks beside {second:,}"
        claims.append(Claim(what, _MOST_GROWTH, [found[-1] / found[1] for found in peaks], at_least=False))
    return lines, claims


def _of_epochs(job: str, rounds: list[list[Any]], options: GrowthOptions) -> tuple[list[Line], list[Claim]]:
    """Return the lines and the claim of the epochs, which no start of Ray's is in; none of another job."""
    if any(None in found for found in rounds):
        return [], []
    lines = [
        Line(f"{job}: a track in an epoch of {n:,}", [1000 * found[i] / n for found in rounds], "ms")
        for i, n in enumerate(options.sizes)
    ]
    ratios = [found[-1] / options.sizes[-1] / (found[1] / options.sizes[1]) for found in rounds]
    what = f"growth: {job}, time of a track in an epoch of {options.sizes[-1]:,} beside {options.sizes[1]:,}"
    return lines, [Claim(what, _MOST_GROWTH, ratios, at_least=False)]


if __name__ == "__main__":
    command.main("growth", run, STANDARD, QUICK)
