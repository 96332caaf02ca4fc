"""Where the time goes: each stage of extract, tag and train by itself, and the floor under them."""

import dataclasses
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch

from benchmarks import command, machine, material, measure, stages_lines, stages_train
from benchmarks.command import Options
from benchmarks.laps import ALL
from benchmarks.results import Claim, Line, Section
from benchmarks.stages_files import Files
from benchmarks.stages_lines import Found
from benchmarks.stages_train import Training
from genreray import checkpoint
from genreray.checkpoint import Checkpoint
from genreray.features import FeatureConfig

_METHOD = """\
CPU time of all threads, in libraries that are given one thread, of one track (of train: of one training clip), on one
CPU, where no process takes from another what two cores or two threads of a core share. The functions that `genreray`
itself calls do {block} mp3 files of {seconds:g} s (hard links to {distinct} generated clips) as one block ({answered}
for tag); a clock is read where one stage calls the next, so that all that passes is one stage's or another's. The whole
is the same work in the same rounds without that clock: what it takes more than the sum of its stages would be missing
from the table. What passes from the decoding process to the worker is timed in both, on rows that lie ready. An
untrained network answers; training is by each architecture's own recipe, in one worker, on {training} training clips
({fewer} for {slower}) and an eighth as many of validation. The last column has each stage's share of the whole and the
bytes a track that come out of it. Floors: `soundfile.read` of the same bytes; the bare pyarrow scan of the column; what
a network's products and convolutions take at the rate of a product of two square matrices of {size} rows (torch's or
numpy's, the faster one)."""

_NETWORKS = ("mel_cnn", "short_chunk_resnet")
_PRODUCT = 1024  # rows of the plain product's matrices
_NEVER = "never run: no GPU was at hand"
_ON_GPU = {"tag": ("network, forward",), "train": ("crops, sent", "augmentation", "forward, backward, optimiser")}

Contender = Callable[[], Mapping[str, float]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class StagesOptions(Options):
    """Time each stage of extract, tag and train without Ray."""

    repeats: int = 3
    """Rounds."""
    block: int = 96
    """Files of a block, as extract's are."""
    answered: int = 32
    """Files of a block of tag, each network."""
    clips: int = 8
    """Different generated clips that the files are links to."""
    seconds: float = 30.0
    """Length of each, in s."""
    rows: tuple[int, int] = (128, 64)
    """Training clips of mel_cnn and of short_chunk_resnet."""
    folder: Path | None = None
    """Folder for the files and what is made of them (deleted at the end); else a temporary one."""


STANDARD = StagesOptions()
QUICK = StagesOptions(repeats=1, block=8, answered=4, clips=2, seconds=10.0, rows=(16, 8))


def run(options: StagesOptions) -> Section:
    """Return the times of all stages, and how each job's sum agrees with the whole."""
    machine.hold_to(1)
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="benchmark-") as name:
        folder = Path(name)
        most = max(options.block, options.answered)
        material.fill_folder(folder / "music", material.clips(options.clips, options.seconds), most)
        for model in _NETWORKS:
            material.write_checkpoint(folder / model, model)
        lines, claims = _one_process(folder, options)
    for job, stages in _ON_GPU.items():
        lines += [Line(f"{job} on a GPU: {stage}", [], "ms", _NEVER) for stage in stages]
    method = _METHOD.format(
        block=options.block,
        answered=options.answered,
        seconds=options.seconds,
        distinct=options.clips,
        training=options.rows[0],
        fewer=options.rows[1],
        slower=_NETWORKS[1],
        size=_PRODUCT,
    )
    return Section("stages", "Where the time goes", method, lines, claims)


def _one_process(folder: Path, options: StagesOptions) -> tuple[list[Line], list[Claim]]:
    """Time what is done without Ray."""
    config = FeatureConfig()
    files = Files(folder / "music", options.block, folder / "parts", config)
    few = Files(folder / "music", options.answered, folder / "few", config)
    trained = {model: checkpoint.load(str(folder / model)) for model in _NETWORKS}
    training = {
        model: Training(_features(folder / f"features-{model}", n, options), model)
        for model, n in zip(_NETWORKS, options.rows, strict=True)
    }
    sides: dict[str, Contender] = {
        "product": _product,
        "floor": files.decoding_alone,
        "track": files.track_stages,
        "part": files.part_stages,
        "table": files.table_stages,
        "extract": files.extracted,
        "scan": training[_NETWORKS[0]].scan,
        "read": training[_NETWORKS[0]].reading_stages,
        "reading": training[_NETWORKS[0]].reading,
    }
    for model in _NETWORKS:
        sides[f"answer {model}"] = partial(few.answer_stages, trained[model])
        sides[f"tag {model}"] = partial(few.tagged, trained[model])
        sides[f"steps {model}"] = training[model].epoch_stages
        sides[f"train {model}"] = training[model].epoch
    found = Found(measure.interleave(sides, options.repeats, warm_up=1))
    jobs = [stages_lines.extracting(found, files.sizes())]
    jobs += [stages_lines.tagging(found, model, _operations(one)) for model, one in trained.items()]
    jobs.append(stages_lines.reading(found))
    jobs += [stages_lines.training(found, model, one.operations()) for model, one in training.items()]
    rates = [rate / 1e9 for rate in found.of("product")]
    lines = [Line("plain product, one thread", rates, "GFLOP/s"), *(line for job in jobs for line in job.lines())]
    return lines, [job.claim() for job in jobs]


def _features(folder: Path, n: int, options: StagesOptions) -> Path:
    """Write FEATURES of `n` training clips and an eighth as many of validation."""
    config, n_validation = FeatureConfig(duration=options.seconds), max(1, n // 8)
    contents = material.clips(min(options.clips, 2), options.seconds)
    size = min(options.block, n + n_validation)
    material.write_features(folder, contents, n + n_validation, config, size, n_validation=n_validation)
    return folder


def _operations(trained: Checkpoint) -> float:
    return trained.settings.n_crops * stages_train.operations(trained.model, trained.settings, training=False)


def _product() -> dict[str, float]:
    """Return the operations a second of CPU of a product of two square matrices, by torch or numpy: the faster one.

    Each has a library of its own for it, which suit some CPUs better than others.
    """
    a, b = (torch.randn(_PRODUCT, _PRODUCT) for _ in range(2))
    x, y = a.numpy(), b.numpy()
    seconds = [measure.cpu_time(product, calls=5, warm_up=1)() for product in (lambda: a @ b, lambda: x @ y)]
    return {ALL: 2 * _PRODUCT**3 / min(seconds)}


if __name__ == "__main__":
    if not machine.one_thread_each():  # too late for the libraries that are loaded: begin again
        os.execv(sys.executable, sys.orig_argv)
    command.main("stages", run, STANDARD, QUICK)
