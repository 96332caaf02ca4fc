"""Epochs of `genreray.loop` on a CPU, beside the loop that people write: a Dataset, a DataLoader, the same network."""

import contextlib
import dataclasses
import functools
import math
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks import command, gpu_side, machine, measure, page, per_item
from benchmarks.apart import Apart
from benchmarks.command import Options
from benchmarks.gpu_side import Setting
from benchmarks.results import Claim, Line, Section
from genreray import heap, loop, models
from genreray.dataset import Clips
from genreray.features import FeatureConfig
from genreray.loop import Step
from genreray.models.base import ModelConfig, make_optimizer
from genreray.recipe import Precision, TrainingConfig

_METHOD = """\
An epoch over {n} log-mels of {seconds:g} s (noise) in random crops of {crop} frames and batches of {batch}, without
augmentation, on {cpus} CPUs. genreray: `loop.train_epoch` on clips in memory, as every worker of `genreray train` calls
it, compiled where the architecture's recipe says so of a long run. The plain loop: a torch Dataset of .npy files, one a
track, whose item is read, cropped and labelled alone, a DataLoader, and the same network (its kernels in torch's own
order of memory) with the same optimiser as torch makes it by default; {workers} worker processes read for it, or none,
and the faster of the two is what is compared with. The other lines are genreray's epoch with one thing changed. Each
side has a process of its own, which waits while others have their turn."""

_NETWORKS = ("mel_cnn", "short_chunk_resnet")
_OURS = "genreray"
_PLAIN, _PLAIN_ALONE = "plain loop", "plain loop, no worker processes"
_GENRES = gpu_side.N_GENRES


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoopOptions(Options):
    """Time epochs on the CPU beside the plain per-item loop."""

    repeats: int = 3
    """Rounds."""
    rows: tuple[int, int] = (320, 160)
    """Clips of an epoch of mel_cnn and of short_chunk_resnet."""
    seconds: float = 30.0
    """Length of each clip, in s."""
    batch_size: int = 32
    """Clips a step."""
    crop_frames: int = 385
    """Frames of a crop."""
    cpus: int = 2
    """CPUs, and threads of torch."""
    workers: int = 2
    """Worker processes of the DataLoader."""
    compiled: bool = True
    """Compile what is compiled by itself, and measure torch.compile elsewhere too; it wants a C++ compiler."""


STANDARD = LoopOptions()
QUICK = LoopOptions(repeats=1, rows=(64, 32), seconds=10.0, compiled=False)


class _Ours:
    """An epoch of genreray's, with one thing changed or none."""

    def __init__(
        self,
        name: str,
        n: int,
        options: LoopOptions,
        *,
        precision: Precision = "auto",
        compiled: bool = False,
        channels_last: bool = True,
        fused: bool = True,
        kept: bool = True,
    ) -> None:
        torch.set_num_threads(options.cpus)
        if kept:
            heap.keep()
        features, config = FeatureConfig(duration=options.seconds), models.family(name).config()
        recipe = TrainingConfig(
            batch_size=options.batch_size,
            crop_frames=options.crop_frames,
            precision=precision,
            compile="on" if compiled else "off",
        )
        torch.manual_seed(0)
        network: nn.Module = gpu_side.build(Setting(name, options.batch_size, options.crop_frames), features)
        if not channels_last:
            network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        optimizer = make_optimizer(network, config) if fused else _plain_optimizer(network, config)
        steps = math.ceil(n / options.batch_size)
        self._step = Step(network, optimizer, recipe, features, steps_per_epoch=steps, device=torch.device("cpu"))
        self._clips, self._batch_size = _clips(n, options), options.batch_size
        self._generator = torch.Generator().manual_seed(0)

    def __call__(self) -> None:
        batches = self._clips.batches(self._batch_size, self._generator)
        loop.train_epoch(self._step, batches, epoch=1, generator=self._generator)


def _clips(n: int, options: LoopOptions) -> Clips:
    return gpu_side.make_clips(n, ["mel"], FeatureConfig(duration=options.seconds), torch.device("cpu"))


class _Plain:
    """An epoch of the loop that people write."""

    def __init__(self, name: str, folder: Path, labels: list[int], options: LoopOptions, workers: int) -> None:
        torch.set_num_threads(options.cpus)
        features, config = FeatureConfig(duration=options.seconds), models.family(name).config()
        torch.manual_seed(0)
        self._network = models.build(name, config, features, options.crop_frames, _GENRES)
        self._optimizer = _plain_optimizer(self._network, config)
        files = per_item.Files(folder, labels, "npy", options.crop_frames)
        self._batches = per_item.loader(files, options.batch_size, workers)

    def __call__(self) -> None:
        self._network.train()
        for mel, labels in self._batches:
            loss = F.cross_entropy(self._network({"mel": mel}), labels)
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()


def _plain_optimizer(network: nn.Module, config: ModelConfig) -> torch.optim.Optimizer:
    """Return the optimiser as torch makes it by default."""
    made = make_optimizer(network, config)
    groups = [{"params": group["params"], "weight_decay": group["weight_decay"]} for group in made.param_groups]
    return type(made)(groups, lr=config.learning_rate)  # type: ignore[call-arg]


def run(options: LoopOptions) -> Section:
    """Return the rates of both sides for each network, and how they compare."""
    machine.hold_to(options.cpus)
    lines: list[Line] = []
    claims: list[Claim] = []
    for name, n in zip(_NETWORKS, options.rows, strict=True):
        seconds, failed = _network(name, n, options)
        for side, values in seconds.items():
            ratio = statistics.median(measure.paired_ratios(seconds[_OURS], values))
            note = "" if side == _OURS else f"{ratio:.2f} of genreray's"
            lines.append(Line(f"{name}: {side}", [n / value for value in values], "clips/s", note))
        lines += [Line(f"{name}: {side}", [], "clips/s", why) for side, why in failed.items()]
        for line in lines:
            print(f"{line.name}: {page.figure(line.values, line.unit)} {line.note}", file=sys.stderr, flush=True)
        best = min((_PLAIN, _PLAIN_ALONE), key=lambda side: statistics.median(seconds[side]))
        beside = measure.paired_ratios(seconds[best], seconds[_OURS])
        claims.append(Claim(f"loop: an epoch of {name} beside the plain loop", 1.5, beside))
    method = _METHOD.format(
        n=" and ".join(map(str, options.rows)),
        seconds=options.seconds,
        crop=options.crop_frames,
        batch=options.batch_size,
        cpus=options.cpus,
        workers=options.workers,
    )
    return Section("loop", "Training on the CPU", method, lines, claims)


def _network(name: str, n: int, options: LoopOptions) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Return the seconds of an epoch on each side, and what kept others from being measured."""
    clips = _clips(n, options)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder, contextlib.ExitStack() as stack:
        files = Path(folder) / "npy"
        per_item.write_files(files, iter(clips.inputs["mel"].numpy()), "npy")
        plain = functools.partial(_Plain, name, files, clips.labels.tolist(), options)
        pays = options.compiled and models.family(name).training.compile == "auto" and shutil.which("g++") is not None
        ours = functools.partial(_Ours, name, n, options, compiled=pays)
        made: dict[str, Callable[[], Callable[[], None]]] = {
            _OURS: ours,
            _PLAIN: functools.partial(plain, options.workers),
            _PLAIN_ALONE: functools.partial(plain, 0),
            "memory given back after each step": functools.partial(ours, kept=False),
            "torch's own order of memory": functools.partial(ours, channels_last=False),
            "optimiser not fused": functools.partial(ours, fused=False),
            "bf16": functools.partial(ours, precision="bf16"),
        }
        sides = {side: stack.enter_context(Apart(make)) for side, make in made.items()}
        notes: dict[str, str] = {}
        if pays:
            sides["not compiled"] = stack.enter_context(Apart(functools.partial(ours, compiled=False)))
        elif options.compiled:
            side = stack.enter_context(Apart(functools.partial(ours, compiled=True)))
            try:
                print(f"compiled in {side():.0f} s", flush=True)
                sides["compiled"] = side
            except RuntimeError as error:  # without a compiler there is one line less to compare
                notes["compiled"] = f"failed: {str(error).splitlines()[-1]:.60}"
        return measure.interleave(sides, options.repeats, warm_up=1), notes


if __name__ == "__main__":
    command.main("loop", run, STANDARD, QUICK)
