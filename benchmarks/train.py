"""`genreray train` on the CPU: its optimisation steps beside those of a plain torch loop over batches in memory."""

import dataclasses
import math
import os
import statistics
import tempfile
import threading
import time
from pathlib import Path

import ray
import torch
from rich.console import Console
from torch.nn import functional as F

from benchmarks import command, material, measure, ray_side
from benchmarks.command import Options
from benchmarks.results import Claim, Line, Section
from genreray import cli, models, resume
from genreray.features import FeatureConfig
from genreray.models.base import make_optimizer
from genreray.parts import part_size
from genreray.recipe import TrainingConfig
from genreray.synthesis.styles import STYLES

_METHOD = """\
`genreray train --model {model}` with one worker on {cpus} CPUs, {n:,} training clips of {seconds:g} s and batches of
{batch}, against a loop in a process of its own, at the priority of Ray's workers: the same network, order of memory,
optimiser, loss and threads, over as many batches of crops that lie ready in memory. Every run of the command is begun
anew on a Ray that is up. Its rate is that of the time from the end of the first epoch, which also reads the features,
to the end of the last of {epochs}: crops, shuffling, the scoring of {validation} validation clips, the checkpoint and
Ray Train's report are in it."""

_COMMAND = "genreray train"
_LOOP = "plain torch loop"
_POLL = 0.02  # seconds between two looks at the history


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainOptions(Options):
    """Time `genreray train` beside the same torch step."""

    repeats: int = 4
    """Rounds."""
    warm_up: int = 1
    """Rounds before them that are not counted."""
    model: str = "mel_cnn"
    """Name of an architecture that reads the log-mel and is trained by steps."""
    rows: int = 1920
    """Training clips."""
    epochs: int = 3
    """Epochs of each run; the first is not timed."""
    seconds: float = 30.0
    """Length of each clip, in s."""
    batch_size: int = 32
    """Clips a step."""
    cpus: int = 2
    """CPUs of Ray, and threads of the loop."""


STANDARD = TrainOptions()
QUICK = TrainOptions(repeats=1, rows=64, epochs=2)
_VALIDATION = 16  # clips
_BATCHES = 8  # different ones of the loop: more than the caches hold


def run(options: TrainOptions) -> Section:
    """Return the steps per second of both sides, and how they compare."""
    config = FeatureConfig(duration=options.seconds)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        features = folder / "features"
        n = options.rows + _VALIDATION
        contents = material.clips(2, options.seconds)
        material.write_features(features, contents, n, config, part_size(n, options.cpus), n_validation=_VALIDATION)
        ray_side.start(options.cpus)
        loop = ray.remote(_loop).options(num_cpus=1)  # in a process of the priority that Ray gives to its workers
        runs = (folder / f"run-{i}" for i in range(options.warm_up + options.repeats))
        seconds = measure.interleave(
            {
                _COMMAND: lambda: _command(features, next(runs), options),
                _LOOP: lambda: ray.get(loop.remote(config, options)),
            },
            options.repeats,
            options.warm_up,
        )
    rates = {side: [1 / value for value in values] for side, values in seconds.items()}
    method = _METHOD.format(
        model=options.model,
        cpus=options.cpus,
        n=options.rows,
        seconds=options.seconds,
        batch=options.batch_size,
        validation=_VALIDATION,
        epochs=options.epochs,
    )
    notes = {side: f"{options.batch_size * statistics.median(values):,.0f} clips/s" for side, values in rates.items()}
    lines = [Line(side, values, "steps/s", notes[side]) for side, values in rates.items()]
    beside = measure.paired_ratios(seconds[_LOOP], seconds[_COMMAND])
    return Section("train", "Training", method, lines, [Claim(f"train: steps beside the {_LOOP}", 0.9, beside)])


def _command(features: Path, run_folder: Path, options: TrainOptions) -> float:
    """Train into `run_folder` and return the seconds of a step after the first epoch."""
    flags = {
        "--model": options.model,
        "--epochs": options.epochs,
        "--batch-size": options.batch_size,
        "--gpu": "no",
    }
    argv = ["train", str(features), str(run_folder), *(str(word) for flag in flags.items() for word in flag)]
    done: list[float] = []
    stop = threading.Event()
    watch = threading.Thread(target=_watch, args=(str(run_folder), done, stop))
    watch.start()
    with Path(os.devnull).open("w") as silence:
        code = cli.run(argv, Console(file=silence))
    stop.set()
    watch.join()
    if code or len(done) != options.epochs:
        raise RuntimeError(f"genreray train ended with exit code {code} after {len(done)} epochs")
    steps = math.ceil(options.rows / options.batch_size)
    return (done[-1] - done[0]) / (options.epochs - 1) / steps


def _watch(run_folder: str, done: list[float], stop: threading.Event) -> None:
    """Note the time at which each epoch's entry appears in the run's history."""
    while not stop.wait(_POLL):
        done += [time.perf_counter()] * (len(resume.read_history(run_folder)) - len(done))


def _loop(config: FeatureConfig, options: TrainOptions) -> float:
    """Take as many steps as a run that is timed does, without Ray, and return the seconds of one."""
    torch.set_num_threads(options.cpus)
    torch.manual_seed(0)
    family, n_genres, frames = models.family(options.model), len(STYLES), TrainingConfig.crop_frames
    network = models.build(options.model, family.config(), config, frames, n_genres).train()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = make_optimizer(network, family.config())
    shape = (options.batch_size, config.n_mels, frames)
    batches = [torch.randint(256, shape, dtype=torch.uint8) for _ in range(_BATCHES)]
    labels = torch.randint(n_genres, (options.batch_size,))
    n_steps = (options.epochs - 1) * math.ceil(options.rows / options.batch_size)
    started = time.perf_counter()
    for i in range(n_steps):
        loss = F.cross_entropy(network({"mel": batches[i % _BATCHES]}), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return (time.perf_counter() - started) / n_steps


if __name__ == "__main__":
    command.main("train", run, STANDARD, QUICK)
