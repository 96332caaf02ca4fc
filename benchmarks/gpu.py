"""Training on a GPU without Ray: what feeding costs beside the bare step, and what the step makes of the GPU.

`python -m benchmarks.gpu` needs torch, numpy and pyarrow alone, and takes less than 8 minutes on one H200.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from benchmarks import command, gpu_run
from benchmarks.gpu_run import ALL, GpuOptions, Run
from benchmarks.results import Claim, Line, Section

_METHOD = """\
Features of {clips:,} clips of {seconds:g} s, noise made up in place, {where}. `genreray.loop.train_epoch`, which
`genreray train` calls on each worker, goes through them by the recipe of each architecture (augmentation, optimiser,
averaging) in batches of {batch} and crops of {crop} frames, in bf16. The fixed batch is one of crops that lie ready on
the device, put through the same steps: what a pass takes longer, shuffling, cutting crops and labels cost. float32 is
as torch has it by default, which is TF32 in convolutions. Compiled is `torch.compile` of the network, by whole batches
alone. Operations are those that torch.utils.flop_counter counts, products and convolutions; the plain product is of two
square matrices of noise. Busy is the share of the time in which the GPU runs kernels, by torch's profiler. Passes that
would take more than {most:g} s end after so long, and an epoch is reckoned from them. Answers of tag are the
probabilities of clips that lie in the host's memory, sent and answered {batch} at a time, all crops of each, in bf16;
beside them stands how many CPU cores would decode as fast. Ray, validation and checkpoints are not in it."""

_WANTED = {"mel_cnn": 1.0, "short_chunk_resnet": 5.0}  # seconds an epoch
_MOST_WAITING = 1.1

STANDARD = GpuOptions()
QUICK = GpuOptions(clips=64, seconds=6.0, batch_size=8, crop_frames=128, rounds=1, most=0.2, compiled=())


def _claims(options: GpuOptions, epochs: Mapping[str, list[float]], waiting: Mapping[str, list[float]]) -> list[Claim]:
    worst = [max(values) for values in zip(*waiting.values(), strict=True)]
    n = len(waiting) or len(options.architectures)
    return [
        Claim(f"gpu: an epoch beside one fixed batch, the worst of {n} networks", _MOST_WAITING, worst, at_least=False),
        *(Claim(f"gpu: {name}, an epoch", most, epochs.get(name, []), "s", False) for name, most in _WANTED.items()),
    ]


def _section(options: GpuOptions, where: str, lines: list[Line], claims: list[Claim]) -> Section:
    method = _METHOD.format(
        clips=options.clips,
        seconds=options.seconds,
        where=where,
        batch=options.batch_size,
        crop=options.crop_frames,
        most=options.most,
    )
    return Section("gpu", "Training on a GPU", method, lines, claims)


def measured(options: GpuOptions, device: torch.device) -> Section:
    """Return what a run on `device` found."""
    run = Run(options, device)
    run.all()
    return _section(options, run.where, run.lines, _claims(options, run.epochs, run.waiting))


def never_run(options: GpuOptions) -> Section:
    """Return the section with every line and no number: what a GPU would have to say."""
    names = [name for name, _ in gpu_run.parts(Run(options, torch.device("cpu")), options)]
    lines = [Line(name, [], gpu_run.unit(name), "no GPU was at hand") for name in names]
    return _section(options, "on the device", lines, _claims(options, {}, {}))


def main(argv: list[str]) -> None:
    """Measure, print JSON and the table, and write the former where asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="sizes that end in seconds, on a CPU where there is no GPU"
    )
    parser.add_argument("--json", type=Path, help="file to write the results to")
    parser.add_argument("--clips", type=int, help="clips, 0.17 MB of log-mel each")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--minutes", type=float, help="after which nothing more is begun")
    parser.add_argument("--architectures", nargs="+", choices=ALL)
    parser.add_argument("--compiled", nargs="*", help="modes of torch.compile; none for none")
    given = vars(parser.parse_args(argv))
    output, quick = given.pop("json"), given.pop("quick")
    changes = {
        name: tuple(value) if isinstance(value, list) else value for name, value in given.items() if value is not None
    }
    options = dataclasses.replace(QUICK if quick else STANDARD, **changes)
    there = torch.cuda.is_available()
    section = measured(options, torch.device("cuda" if there else "cpu")) if there or quick else never_run(options)
    print(json.dumps({line.name: [float(f"{value:.4g}") for value in line.values] for line in section.lines}))
    command.show("gpu", section, argv, output)


if __name__ == "__main__":
    main(sys.argv[1:])
