"""Feeding training batches from FEATURES as `genreray train` does: beside a bare pyarrow scan of the same files."""

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import ray
import torch

from benchmarks import command, material, measure, ray_side
from benchmarks.command import Options
from benchmarks.results import Claim, Line, Section
from genreray import dataset
from genreray.checkpoint import Settings
from genreray.cluster import plan_workers
from genreray.dataset import Clips, View
from genreray.features import FeatureConfig
from genreray.featureset import FeatureSet
from genreray.feed import place_dataset
from genreray.genres import class_order
from genreray.models import family
from genreray.parts import part_size
from genreray.recipe import TrainingConfig
from genreray.source import Source
from genreray.train_worker import collect_places

_METHOD = """\
FEATURES of {n:,} clips of {seconds:g} s (those of {distinct} generated clips, each row turned by another number of
frames; parts of {block} rows as extract writes them, freshly written and so read from memory) go to one worker with
what `genreray train` gives it on {cpus} CPUs: a Ray Data shard, `genreray.source`, batches of {batch} clips. The
first pass gets the places of the clips from Ray Data and reads what lies there into the worker's memory; Ray's
processes are up before, what it takes the first time of all is in the last column. Later passes shuffle what is there
and yield whole clips, or a crop of {crop} frames of each. The scan is `pyarrow.dataset` going through the column `mel`
of the same parts with all threads, each batch dropped as soon as it is there. GB/s are those of the whole clips' uint8
on all sides ({size:.2f} GB)."""

_MODEL = "mel_cnn"
_SCAN = "bare pyarrow scan"
_FIRST = "first pass, into memory"
_STREAMED = "a pass where clips do not fit in memory"
_WHOLE = "later pass, shuffled whole clips"
_CROPS = "later pass, shuffled and cropped"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeedOptions(Options):
    """Time the feeding of a training worker beside a bare scan of the same files."""

    repeats: int = 5
    """Rounds."""
    rows: int = 8_000
    """Clips in FEATURES, 0.2 MB each; as many as FMA-small has."""
    clips: int = 8
    """Different generated clips that their features are from."""
    seconds: float = 30.0
    """Length of each, in s."""
    batch_size: int = 32
    """Clips a batch."""
    cpus: int = 2
    """CPUs of Ray."""
    folder: Path | None = None
    """Folder for FEATURES (2 GB, deleted at the end); else a temporary one."""


STANDARD = FeedOptions()
QUICK = FeedOptions(repeats=2, rows=512, clips=2)


def run(options: FeedOptions) -> Section:
    """Return the rates of the scan and of the passes, and how they compare."""
    config = FeatureConfig(duration=options.seconds)
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="benchmark-") as name:
        folder = Path(name) / "features"
        contents = material.clips(options.clips, options.seconds)
        material.write_features(folder, contents, options.rows, config, part_size(options.rows, options.cpus))
        ray_side.start(options.cpus)
        worker = _start_worker(FeatureSet.open(str(folder)), options)
        cold = ray.get(worker.load.remote())
        contenders: dict[str, Callable[[], float]] = {
            _SCAN: measure.timed(partial(_scan, folder)),
            _FIRST: lambda: ray.get(worker.load.remote()),
            _STREAMED: lambda: ray.get(worker.stream.remote()),
            _WHOLE: lambda: ray.get(worker.whole.remote()),
            _CROPS: lambda: ray.get(worker.crops.remote()),
        }
        seconds = measure.interleave(contenders, options.repeats, warm_up=1)
        ray.kill(worker)
    return _section(options, config, seconds, cold)


def _scan(folder: Path) -> int:
    scanned = ds.dataset(folder, format="parquet").to_batches(columns=["mel"])
    return sum(int(batch.num_rows) for batch in scanned)


def _start_worker(features: FeatureSet, options: FeedOptions) -> Any:
    """Return an actor with a shard of FEATURES, given what `genreray train` gives to its one worker."""
    plan = plan_workers(1, "no")
    (shard,) = place_dataset(features.usable("training")).streaming_split(1, equal=True)  # as Ray Train does
    worker = ray.remote(Worker).options(num_cpus=plan.cpus)
    return worker.remote(shard, _settings(features), plan.threads, options.batch_size)


def _settings(features: FeatureSet) -> Settings:
    defaults = TrainingConfig()
    return Settings(
        model=_MODEL,
        model_config=family(_MODEL).config(),
        features=features.config,
        genres=class_order(features.usable("training").column("genre").to_pylist()),
        crop_frames=min(defaults.crop_frames, features.config.max_frames),
        n_crops=defaults.crops,
        training={},
        metrics={},
    )


class Worker:
    """The feeding half of a training worker; every method returns the seconds that a pass took."""

    def __init__(self, shard: Any, settings: Settings, threads: int, batch_size: int) -> None:
        torch.set_num_threads(threads)
        self._shard = shard
        self._settings = settings
        self._batch_size = batch_size
        self._generator = torch.Generator().manual_seed(0)
        self._places = collect_places(shard)
        self._kept: Source | None = None

    def load(self) -> float:
        """Read all clips into memory, as before the first epoch: their places from Ray, and what lies there."""
        self._kept = None  # the memory of the last pass, before more is taken
        started = time.perf_counter()
        self._kept = self._open(collect_places(self._shard), in_memory=True)
        return time.perf_counter() - started

    def stream(self) -> float:
        """Go through all clips without keeping them, as in an epoch over more than fits."""
        return self._through(self._batches(self._open(self._places, in_memory=False)))

    def whole(self) -> float:
        """Go through the clips in memory."""
        return self._through(map(self._copy, self._batches(self._kept)))

    def crops(self) -> float:
        """Go through a random crop of each clip in memory."""
        return self._through(map(self._crop, self._batches(self._kept)))

    def _open(self, places: pa.Table, in_memory: bool) -> Source:
        return Source(places, self._settings, self._settings.build().inputs, in_memory)

    def _batches(self, source: Source | None) -> Iterable[View]:
        assert source is not None
        return source.batches(self._batch_size, self._generator)

    def _copy(self, clips: View) -> Clips:
        return Clips(clips.track_ids, clips.inputs, clips.n_frames, clips.labels)

    def _crop(self, clips: View) -> Clips:
        starts = dataset.random_starts(clips.n_frames, self._settings.crop_frames, self._generator)
        crops = dataset.crop(clips, starts, self._settings.crop_frames)
        return Clips(clips.track_ids, crops, clips.n_frames, clips.labels)

    def _through(self, batches: Iterable[Clips]) -> float:
        started = time.perf_counter()
        n = sum(len(clips) for clips in batches)
        seconds = time.perf_counter() - started
        if n != len(self._places):
            raise RuntimeError(f"{n} of {len(self._places)} clips came: nothing is to be compared")
        return seconds


def _section(options: FeedOptions, config: FeatureConfig, seconds: dict[str, list[float]], cold: float) -> Section:
    size = options.rows * dataset.clip_bytes(["mel"], config) / 1e9
    rates = {name: [size / s for s in values] for name, values in seconds.items()}
    notes = {name: f"{options.rows / statistics.median(values):,.0f} clips/s" for name, values in seconds.items()}
    notes[_FIRST] += f"; the first time of all {cold:.1f} s"
    lines = [Line(name, values, "GB/s", notes[name]) for name, values in rates.items()]
    claims = [
        Claim(f"feed: {_FIRST}, beside the {_SCAN}", 0.4, measure.paired_ratios(seconds[_SCAN], seconds[_FIRST])),
        Claim(f"feed: {_WHOLE}", 1.0, rates[_WHOLE], "GB/s"),
        Claim(f"feed: {_CROPS}", 1.0, rates[_CROPS], "GB/s"),
    ]
    method = _METHOD.format(
        n=options.rows,
        seconds=options.seconds,
        distinct=options.clips,
        block=part_size(options.rows, options.cpus),
        cpus=options.cpus,
        batch=options.batch_size,
        crop=TrainingConfig().crop_frames,
        size=size,
    )
    return Section("feed", "Feeding training", method, lines, claims)


if __name__ == "__main__":
    command.main("feed", run, STANDARD, QUICK)
