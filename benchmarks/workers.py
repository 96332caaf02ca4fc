"""`genreray train` with 1, 2 and 4 workers on CPUs at the same global batch: what more of them gain, and the loss."""

import dataclasses
import os
import statistics
import tempfile
from pathlib import Path

from rich.console import Console

from benchmarks import command, material, measure, ray_side
from benchmarks.command import Options
from benchmarks.results import Claim, Line, Section
from genreray import cli, resume
from genreray.features import FeatureConfig
from genreray.parts import part_size
from genreray.resume import History

_METHOD = """\
`genreray train --model {model}` on a Ray of {cpus} CPUs with so many workers, {n:,} training clips of {seconds:g} s and
{batch} clips a step over all workers. torch computes with {cpus} threads in one worker, and with as many over all of
several (at least one each). The rate is that of the epochs after the first, by the run's own history: their validation
is in it, Ray Train's report is not. Efficiency is the rate of one worker over that of several, which here have no more
CPUs than it: what is lost is what several cost, not what they would gain on CPUs of their own. Several workers draw
other crops and see other clips together than one, as another seed would; the training loss of the last epoch is beside
that of one worker, and beside that of one worker with another seed."""

_TRAINED = "rate with {} workers"


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorkersOptions(Options):
    """Time `genreray train` with several workers on the CPUs of this machine."""

    repeats: int = 2
    """Rounds."""
    workers: tuple[int, ...] = (1, 2, 4)
    """How many."""
    model: str = "mel_cnn"
    """Name of an architecture that reads the log-mel and is trained by steps."""
    rows: int = 960
    """Training clips."""
    epochs: int = 3
    """Epochs of each run; the first is not timed."""
    seconds: float = 30.0
    """Length of each clip, in s."""
    batch_size: int = 32
    """Clips a step, over all workers."""
    cpus: int = 2
    """CPUs of Ray."""


STANDARD = WorkersOptions()
QUICK = WorkersOptions(repeats=1, workers=(1, 2), rows=64, epochs=2)
_VALIDATION = 16  # clips


def run(options: WorkersOptions) -> Section:
    """Return the rates with each number of workers, their efficiency, and the losses."""
    config = FeatureConfig(duration=options.seconds)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        features = folder / "features"
        n = options.rows + _VALIDATION
        contents = material.clips(16, options.seconds)
        material.write_features(features, contents, n, config, part_size(n, options.cpus), n_validation=_VALIDATION)
        ray_side.start(options.cpus)
        runs = (folder / f"run-{i}" for i in range(10_000))
        found = measure.interleave(
            {
                str(count): lambda count=count: _train(features, next(runs), count, 0, options)
                for count in options.workers
            }
            | {"seed": lambda: _train(features, next(runs), 1, 1, options)},
            options.repeats,
        )
    return _section(options, found)


def _train(features: Path, run_folder: Path, workers: int, seed: int, options: WorkersOptions) -> History:
    """Train into `run_folder` and return the run's history."""
    flags = {
        "--model": options.model,
        "--epochs": options.epochs,
        "--batch-size": options.batch_size,
        "--workers": workers,
        "--seed": seed,
        "--gpu": "no",
    }
    argv = ["train", str(features), str(run_folder), *(str(word) for flag in flags.items() for word in flag)]
    with Path(os.devnull).open("w") as silence:
        code = cli.run(argv, Console(file=silence))
    history = resume.read_history(str(run_folder))
    if code or len(history) != options.epochs:
        raise RuntimeError(f"genreray train ended with exit code {code} after {len(history)} epochs")
    return history


def _section(options: WorkersOptions, found: dict[str, list[History]]) -> Section:
    rates = {
        side: [options.rows * (options.epochs - 1) / sum(epoch["seconds"] for epoch in run[1:]) for run in runs]
        for side, runs in found.items()
    }
    losses = {side: [run[-1]["training_loss"] for run in runs] for side, runs in found.items()}
    one = str(options.workers[0])
    several = [str(count) for count in options.workers[1:]]
    lines = [Line("rate with 1 worker", rates[one], "clips/s")]
    lines += [Line(_TRAINED.format(count), rates[count], "clips/s") for count in several]
    lines += [
        Line(f"efficiency of {count} workers", measure.paired_ratios(rates[count], rates[one]), "x")
        for count in several
    ]
    apart = abs(statistics.median(losses["seed"]) - statistics.median(losses[one]))
    lines += [Line("loss after the last epoch, 1 worker", losses[one], "nats")]
    lines += [Line("loss after the last epoch, 1 worker, another seed", losses["seed"], "nats", f"{apart:.3f} apart")]
    lines += [Line(f"loss after the last epoch, {count} workers", losses[count], "nats") for count in several]
    claims = [
        Claim(
            f"workers: loss of {count} workers beside that of one",
            1.1,
            measure.paired_ratios(losses[count], losses[one]),
            at_least=False,
        )
        for count in several
    ]
    method = _METHOD.format(
        model=options.model,
        cpus=options.cpus,
        n=options.rows,
        seconds=options.seconds,
        batch=options.batch_size,
    )
    return Section("workers", "Workers on the CPU", method, lines, claims)


if __name__ == "__main__":
    command.main("workers", run, STANDARD, QUICK)
