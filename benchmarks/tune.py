"""`genreray tune`: the memory of several trials at once beside that of one, and how often features are read."""

import contextlib
import ctypes
import dataclasses
import json
import math
import multiprocessing
import os
import shutil
import struct
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import ray
from rich.console import Console

from benchmarks import command, material, ray_side, watch
from benchmarks.command import Options
from benchmarks.results import Claim, Line, Section
from genreray import cli, dataset, models, sharing
from genreray.errors import UserError
from genreray.features import FeatureConfig
from genreray.parts import part_size

_METHOD = """\
`genreray tune --model {model}` over FEATURES of {n:,} clips of {seconds:g} s, {size:.2f} GB as the model reads them:
once with one trial, once with {trials} at once, each on a Ray of its own of {cpus} CPUs, which is more than the machine
has where it has fewer, and with an object store of {store:.1f} GB, in which the trials share the clips. Memory is the
sum over all processes, Ray's own and the object store's pages among them, of what each holds, a page that several share
counted once (PSS), less what the same Ray took when it was idle: the greatest from the first trial's beginning to the
last one's end, in which each looks at every clip, and that of the whole command, whose task that reads FEATURES holds
them once more for a while. So the first is the clips, once if they are shared, and what trials take for themselves:
their networks are small ones on short crops, to end soon. Readings of Parquet are the times that a part of FEATURES was
opened, as the kernel tells (inotify); the command itself opens each some times before the first trial."""

_SHM = Path("/dev/shm")  # where Ray's object store is, or else on disk
_SPARE = 1.1  # times the object store that clips need to be shared
_LEAST = 256 << 20  # bytes of an object store: Ray takes none much smaller
_PAUSE = 0.5  # seconds between two looks
_STORE = "object_store_memory"  # Ray's name for it
_OPENED = 0x20  # IN_OPEN of inotify
_EVENT = struct.Struct("iIII")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TuneOptions(Options):
    """Weigh several trials at once beside one."""

    trials: int = 4
    """Trials at once."""
    model: str = "mel_cnn"
    """Name of an architecture that reads the log-mel."""
    rows: int = 25_000
    """Clips in FEATURES; as many as FMA-medium has."""
    epochs: int = 1
    """Epochs of each trial."""
    seconds: float = 30.0
    """Length of each clip, in s."""
    folder: Path | None = None
    """Folder for FEATURES (5 GB), which are kept, and used again where they are there; else a temporary one."""


STANDARD = TuneOptions()
QUICK = TuneOptions(trials=2, rows=512)
_VALIDATION = 128  # clips
_SPACE = """\
learning_rate: {log_uniform: [1e-5, 1e-2]}
filters: {choice: [[4, 4, 4, 4]]}
crop_frames: 32
batch_size: 64
crops: 1
"""


@dataclasses.dataclass(frozen=True)
class _Found:
    peak: int  # bytes above an idle Ray, while trials train
    whole: int  # and from the beginning
    held: int  # bytes in the object store, at most
    opened: int  # parts of FEATURES
    seconds: float


def run(options: TuneOptions) -> Section:
    """Return the memory and the readings of both searches, and how they compare."""
    config = FeatureConfig(duration=options.seconds)
    n = options.rows + _VALIDATION
    size = n * dataset.clip_bytes(models.family(options.model).module.inputs, config)
    store = _store(size)
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
        _write_features(folder / "features", n, config, options)
        (folder / "space.yaml").write_text(_SPACE)
        one, several = (_apart(folder, count, store, options) for count in (1, options.trials))
    if (held := min(one.held, several.held)) < size:
        raise UserError(
            f"Ray's object store held {held / 1e9:.2f} GB of {size / 1e9:.2f} GB of clips: not all was shared"
        )
    method = _METHOD.format(
        model=options.model,
        n=n,
        seconds=options.seconds,
        size=size / 1e9,
        store=store / 1e9,
        trials=options.trials,
        cpus=options.trials,
    )
    at_once = f"{options.trials} trials at once"
    lines = [
        Line("one trial", [one.peak / 1e9], "GB"),
        Line(at_once, [several.peak / 1e9], "GB"),
        Line("one trial, its reading too", [one.whole / 1e9], "GB"),
        Line(f"{at_once}, their reading too", [several.whole / 1e9], "GB"),
        Line("the object store, of either", [max(one.held, several.held) / 1e9], "GB"),
        Line("one trial: parts opened", [float(one.opened)], "times"),
        Line(f"{at_once}: parts opened", [float(several.opened)], "times"),
    ]
    claims = [
        Claim(f"tune: memory of {at_once} beside one", 1.5, [several.peak / one.peak], at_least=False),
        Claim("tune: readings that further trials add", 0.0, [float(several.opened - one.opened)], "times", False),
    ]
    return Section("tune", "Tuning", method, lines, claims)


def _store(size: int) -> int:
    """Return the bytes of an object store in which `size` bytes of clips are shared.

    Raises UserError where /dev/shm has no room for it: Ray would put it on disk, whose pages go when others want them.
    """
    store = max(_LEAST, math.ceil(_SPARE * size / sharing.STORE_SHARE))
    there = shutil.disk_usage(_SHM).free
    if store > there:
        raise UserError(
            f"{size / 1e9:.2f} GB of clips want an object store of {store / 1e9:.2f} GB, {_SHM} has "
            f"{there / 1e9:.2f} GB: give fewer --rows, or more of it (--shm-size of docker run)"
        )
    return store


def _write_features(folder: Path, n: int, config: FeatureConfig, options: TuneOptions) -> None:
    if folder.exists():
        return
    made = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(made, ignore_errors=True)
    contents = material.clips(2, options.seconds)
    material.write_features(made, contents, n, config, part_size(n, options.trials), n_validation=_VALIDATION)
    made.rename(folder)


def _apart(folder: Path, trials: int, store: int, options: TuneOptions) -> _Found:
    """Run one search in a process of its own, with a Ray of its own."""
    output = folder / f"found-{trials}.json"
    shutil.rmtree(folder / f"run-{trials}", ignore_errors=True)
    process = multiprocessing.get_context("spawn").Process(
        target=_search, args=(folder, trials, store, options, output)
    )
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"the search of {trials} trials ended with exit code {process.exitcode}")
    return _Found(**json.loads(output.read_text()))


def _search(folder: Path, trials: int, store: int, options: TuneOptions, output: Path) -> None:
    ray_side.start(options.trials, store=store)
    time.sleep(5)  # until its processes have done what they do first
    idle, started = _memory(), time.perf_counter()
    argv = ["tune", folder / "features", folder / f"run-{trials}", "--model", options.model, "--gpu", "no"]
    argv += ["--trials", trials, "--concurrent", trials, "--search", "random", "--space", folder / "space.yaml"]
    argv += ["--epochs", options.epochs, "--grace", options.epochs]
    reading: list[int] = []
    training: list[int] = []
    held: list[int] = []
    stop = threading.Event()
    watcher = threading.Thread(target=_watch, args=(stop, folder / f"run-{trials}", reading, training, held))
    watcher.start()
    with _openings(folder / "features") as opened, Path(os.devnull).open("w") as silence:
        code = cli.run([str(word) for word in argv], Console(file=silence))
    stop.set()
    watcher.join()
    if code:
        raise RuntimeError(f"genreray tune ended with exit code {code}")
    peak, whole = max(training) - idle, max(reading + training) - idle
    found = _Found(peak, whole, max(held), opened[0], time.perf_counter() - started)
    output.write_text(json.dumps(dataclasses.asdict(found)))


def _watch(stop: threading.Event, run: Path, reading: list[int], training: list[int], held: list[int]) -> None:
    while not stop.wait(_PAUSE):
        trains = any(run.glob("trials/*/trial.json"))
        (training if trains else reading).append(_memory())
        all_of, free = (found().get(_STORE, 0.0) for found in (ray.cluster_resources, ray.available_resources))
        held.append(int(all_of - free))


def _memory() -> int:
    return sum(watch.memory(pid) for pid in watch.tree(os.getpid()))


@contextlib.contextmanager
def _openings(folder: Path) -> Iterator[list[int]]:
    """Count, inside a `with`, how often files in `folder` are opened; the number is there when it ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_NONBLOCK)
    if libc.inotify_add_watch(descriptor, str(folder).encode(), _OPENED) < 0:
        raise OSError(ctypes.get_errno(), f"{folder} cannot be watched")
    count, stop = [0], threading.Event()

    def read() -> None:
        more = True
        while more or not stop.wait(0.05):
            more = False
            with contextlib.suppress(BlockingIOError):
                events = os.read(descriptor, 1 << 20)
                more, start = True, 0
                while start < len(events):
                    *_, length = _EVENT.unpack_from(events, start)
                    name = events[start + _EVENT.size : start + _EVENT.size + length].rstrip(b"\0")
                    count[0] += name.endswith(b".parquet")
                    start += _EVENT.size + length

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield count
    finally:
        stop.set()
        reader.join()
        os.close(descriptor)


if __name__ == "__main__":
    command.main("tune", run, STANDARD, QUICK)
