"""Rows per second from FEATURES into batches ready for a network, beside the loaders that people use for the same."""

import dataclasses
import functools
import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks import command, machine, material, measure, per_item
from benchmarks.command import Options
from benchmarks.results import Claim, Line, Section
from genreray import dataset, heap
from genreray.checkpoint import Settings
from genreray.features import FeatureConfig
from genreray.featureset import FeatureSet
from genreray.genres import class_order
from genreray.models import family
from genreray.parts import part_size
from genreray.source import Source

_METHOD = """\
The log-mels of {n:,} clips of {seconds:g} s become batches of {batch} random crops of {crop} frames with their labels,
uint8, in the main process, on {cpus} CPUs: once as FEATURES, through `genreray.source` as each worker of `genreray
train` reads them, and once in the forms that people train from. .npy and .png are files of one track each behind
torch's DataLoader, tars those of webdataset behind its own, each with {workers} worker processes that are up before;
the tracks of the tars are shuffled over 1,000, all others over all. Raw pyarrow reads the column in file order, all
threads, and cuts each of its batches at once, keeping none; or keeps the whole column in memory, beside which
genreray's reading alone stands; the bare scan does nothing with what it reads. The main process keeps what memory it
was given, as each worker of `genreray train` does. All files were freshly written and come from memory. The first pass
reads all clips into memory and cuts the batches of an epoch; ten epochs are one such pass and nine later ones. The rate
is that of a whole pass."""

_FIRST, _LATER, _STREAMED = "genreray, first pass", "genreray, later pass", "genreray, where clips do not fit in memory"
_TEN, _READ = "genreray, ten epochs", "genreray, reading into memory"
_NPY, _PNG, _TARS = "DataLoader, .npy", "DataLoader, .png", "webdataset, .tar"
_ARROW, _TABLE, _SCAN = "raw pyarrow into batches", "raw pyarrow into memory", "bare pyarrow scan"
_EPOCHS = 10
_MODEL = "mel_cnn"


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoaderOptions(Options):
    """Time feeding from FEATURES beside per-track files, tars and raw pyarrow."""

    repeats: int = 5
    """Rounds."""
    rows: int = 4_000
    """Clips, 0.2 MB each, of FEATURES and of each other form."""
    png_rows: int = 1_000
    """Clips as .png, which take long to write."""
    clips: int = 8
    """Different generated clips that their features are from."""
    seconds: float = 30.0
    """Length of each, in s."""
    batch_size: int = 32
    """Clips a batch."""
    crop_frames: int = 385
    """Frames of a crop."""
    cpus: int = 2
    """CPUs."""
    workers: int = 2
    """Worker processes of each loader."""


STANDARD = LoaderOptions()
QUICK = LoaderOptions(repeats=2, rows=256, png_rows=64, clips=2)


def run(options: LoaderOptions) -> Section:
    """Return the rates of all sides, and how they compare."""
    machine.hold_to(options.cpus)
    heap.keep()
    torch.set_num_threads(options.cpus)
    config = FeatureConfig(duration=options.seconds)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        contents = material.clips(options.clips, options.seconds)
        features = folder / "features"
        size = part_size(options.rows, options.cpus)
        material.write_features(features, contents, options.rows, config, size)
        sides = {**_ours(features, options), **_arrow(features, config, options)}
        others, left_out = _others(folder, features, config, options)
        seconds = measure.interleave({**sides, **others}, options.repeats, warm_up=1)
    return _section(options, seconds, left_out)


def _ours(folder: Path, options: LoaderOptions) -> dict[str, Callable[[], float]]:
    features = FeatureSet.open(str(folder))
    index = features.usable("training")
    genres = class_order(index.column("genre").to_pylist())
    settings = Settings(
        model=_MODEL,
        model_config=family(_MODEL).config(),
        features=features.config,
        genres=genres,
        crop_frames=options.crop_frames,
        n_crops=1,
        training={},
        metrics={},
    )
    places = index.select(["part", "row"])
    places = places.set_column(0, "part", places["part"].cast(pa.string()))
    places = places.sort_by([("part", "ascending"), ("row", "ascending")])
    kept: list[Source] = []
    generator = torch.Generator().manual_seed(0)

    def batches(source: Source) -> Iterator[tuple[Tensor, Tensor]]:
        for clips in source.batches(options.batch_size, generator):
            starts = dataset.random_starts(clips.n_frames, options.crop_frames, generator)
            yield dataset.crop(clips, starts, options.crop_frames)["mel"], clips.labels

    def read() -> list[tuple[None, Source]]:
        kept[:] = []  # the memory of the last pass, before more is taken
        kept.append(Source(places, settings, ["mel"], in_memory=True))
        return [(None, kept[0])]

    def first() -> Iterator[tuple[Tensor, Tensor]]:
        read()
        return batches(kept[0])

    streamed = Source(places, settings, ["mel"], in_memory=False)
    ways = {_READ: read, _FIRST: first, _LATER: lambda: batches(kept[0]), _STREAMED: lambda: batches(streamed)}
    return {name: _timed(way, len(places)) for name, way in ways.items()}


def _timed(batches: Callable[[], Any], n: int) -> Callable[[], float]:
    """Return a contender that gives the seconds a clip takes."""
    contender = measure.timed(functools.partial(per_item.passes, batches, n))
    return lambda: contender() / n


def _arrow(folder: Path, config: FeatureConfig, options: LoaderOptions) -> dict[str, Callable[[], float]]:
    n, generator = options.rows, torch.Generator().manual_seed(0)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for mels, genres in _scanned(folder, config):
            windows = np.lib.stride_tricks.sliding_window_view(mels, options.crop_frames, axis=2)
            labels = torch.from_numpy(genres)
            starts = torch.randint(windows.shape[2], (len(mels),), generator=generator).numpy()
            for i in range(0, len(mels), options.batch_size):
                rows = np.arange(i, min(i + options.batch_size, len(mels)))
                yield torch.from_numpy(windows[rows, :, starts[rows]]), labels[i : i + options.batch_size]

    def bare() -> Iterator[tuple[None, Any]]:
        for batch in ds.dataset(folder, format="parquet").to_batches(columns=["mel"]):
            yield None, batch.column("mel")

    def table() -> Iterator[tuple[None, Any]]:
        yield None, ds.dataset(folder, format="parquet").to_table(columns=["mel"])

    return {_ARROW: _timed(batches, n), _TABLE: _timed(table, n), _SCAN: _timed(bare, n)}


def _scanned(folder: Path, config: FeatureConfig) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Yield the log-mels of each batch that pyarrow reads, uint8 [n, n_mels, n_frames], without a copy; and labels."""
    for batch in ds.dataset(folder, format="parquet").to_batches(columns=["mel", "genre"]):
        if not len(batch):
            continue
        mels: pa.BinaryArray = batch.column("mel")
        _, offsets, data = mels.buffers()
        first = int(np.frombuffer(offsets, np.int32)[mels.offset])
        shape = (len(mels), config.n_mels, config.max_frames)
        flat = np.frombuffer(data, np.uint8, count=int(np.prod(shape)), offset=first)
        yield flat.reshape(shape), batch.column("genre").dictionary_encode().indices.to_numpy().astype(np.int64)


def _others(
    folder: Path, features: Path, config: FeatureConfig, options: LoaderOptions
) -> tuple[dict[str, Callable[[], float]], dict[str, str]]:
    """Return the loaders that people use, and why some are not among them."""
    left_out: dict[str, str] = {}
    sides: dict[str, Callable[[], float]] = {}
    labels = [i % 16 for i in range(options.rows)]
    for name, kind, library, n in (
        (_NPY, "npy", "numpy", options.rows),
        (_PNG, "png", "PIL", min(options.png_rows, options.rows)),
    ):
        if per_item.missing(library):
            left_out[name] = f"{library} is not installed"
            continue
        per_item.write_files(folder / kind, itertools.islice(_mels(features, config), n), kind)
        files = per_item.Files(folder / kind, labels[:n], kind, options.crop_frames)
        batches = per_item.loader(files, options.batch_size, options.workers)
        sides[name] = _timed(functools.partial(iter, batches), n)
    if per_item.missing("webdataset"):
        left_out[_TARS] = "webdataset is not installed"
    else:
        paths = per_item.write_tars(folder / "tars", _mels(features, config), labels)
        tars = per_item.tar_loader(paths, options.batch_size, options.workers, options.crop_frames)
        sides[_TARS] = _timed(functools.partial(iter, tars), options.rows)
    return sides, left_out


def _mels(folder: Path, config: FeatureConfig) -> Iterator[NDArray[np.uint8]]:
    return (mel for mels, _ in _scanned(folder, config) for mel in mels)


def _section(options: LoaderOptions, seconds: dict[str, list[float]], left_out: dict[str, str]) -> Section:
    ten = [
        (first + (_EPOCHS - 1) * later) / _EPOCHS for first, later in zip(seconds[_FIRST], seconds[_LATER], strict=True)
    ]
    seconds = {_FIRST: seconds[_FIRST], _LATER: seconds[_LATER], _TEN: ten, **seconds}
    lines = [Line(name, [1 / value for value in values], "clips/s") for name, values in seconds.items()]
    lines += [Line(name, [], "clips/s", why) for name, why in left_out.items()]

    def beside(wanted: float, ours: str, theirs: str) -> Claim:
        return Claim(f"loaders: {ours}, beside {theirs}", wanted, measure.paired_ratios(seconds[theirs], seconds[ours]))

    claims = [
        beside(10, _TEN, _NPY),
        beside(10, _LATER, _NPY),
        beside(0.8, _TEN, _ARROW),
        beside(0.8, _READ, _TABLE),
        beside(0.8, _FIRST, _ARROW),
        beside(0.8, _STREAMED, _ARROW),
    ]
    method = _METHOD.format(
        n=options.rows,
        seconds=options.seconds,
        batch=options.batch_size,
        crop=options.crop_frames,
        cpus=options.cpus,
        workers=options.workers,
    )
    return Section("loaders", "Feeding beside other loaders", method, lines, claims)


if __name__ == "__main__":
    command.main("loaders", run, STANDARD, QUICK)
