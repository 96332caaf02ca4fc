"""What training does with a clip, stage by stage, in the functions that every worker of `genreray train` calls."""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.laps import ALL, Laps, Place
from genreray import dataset, loading, loop, part_rows
from genreray.augment import Augmentation
from genreray.checkpoint import Settings
from genreray.featureset import FeatureSet
from genreray.genres import class_order
from genreray.models import GenreModel, family
from genreray.source import Source
from genreray.trainer import Trainer

READ, COPY = "read Parquet (once a run)", "into memory (once a run)"
BATCH, CROPS, AUGMENT = "batch drawn, sums", "crops", "augmentation"
FORWARD, BACKWARD, OPTIMISER = "forward, loss", "backward", "optimiser"
VALIDATION = "validation"
EPOCH = (BATCH, CROPS, AUGMENT, FORWARD, BACKWARD, OPTIMISER, VALIDATION)

Seconds = dict[str, float]  # by stage, of one training clip


class Training:
    """Training of an architecture by its own recipe on the clips of FEATURES, in one worker on a CPU."""

    def __init__(self, folder: Path, model: str) -> None:
        """Take all of training and validation below `folder`; the first epoch, which warms all up, is done here."""
        self._folder = folder
        features = FeatureSet.open(str(folder))
        rows = features.usable("training")
        genres = class_order(rows.column("genre").to_pylist())
        how = family(model)
        recipe = how.training
        recipe = dataclasses.replace(recipe, crop_frames=min(recipe.crop_frames, features.config.max_frames))
        self.settings = Settings(
            model=model,
            model_config=how.config(),
            features=features.config,
            genres=genres,
            crop_frames=recipe.crop_frames,
            n_crops=recipe.crops,
            training={},
            metrics={},
        )
        self._places = _places(rows)
        found = rows.column("genre").to_pylist()
        self.trainer = Trainer(
            self.settings,
            recipe,
            functools.partial(self._open, self._places),
            functools.partial(self._open, _places(features.usable("validation"))),
            counts=[found.count(genre) for genre in genres],
            device=torch.device("cpu"),
        )
        self.trainer.epoch()

    def __len__(self) -> int:
        return len(self._places)

    def scan(self) -> Seconds:
        """Return what the bare pyarrow scan of the column takes."""
        laps = Laps([ALL])
        laps.start()
        batches = ds.dataset(self._folder, format="parquet").to_batches(columns=["mel"])
        n = sum(int(batch.num_rows) for batch in batches)
        laps.lap(ALL)
        return laps.per(n)

    def reading_stages(self) -> Seconds:
        """Return what reading the clips takes, and putting what was read into memory."""
        settings, inputs = self.settings, self.trainer.network.inputs
        laps = Laps((READ, COPY))
        laps.start()
        for run in part_rows.runs(self._places, ["track_id", "genre", "n_frames", *loading.columns(inputs)]):
            for table in run.tables():
                laps.lap(READ)
                loading.from_table(table, inputs, settings.features, settings.genres)
                laps.lap(COPY)
        return laps.per(len(self))

    def reading(self) -> Seconds:
        """Return what both take together, side by side in threads, as the first pass does it."""
        laps = Laps([ALL])
        laps.start()
        self._open(self._places, self.trainer.network.inputs)
        laps.lap(ALL)
        return laps.per(len(self))

    def epoch_stages(self) -> Seconds:
        """Return what each stage of an epoch takes, its validation included."""
        trainer, laps = self.trainer, Laps(EPOCH)
        step: Any = trainer._step
        places = (
            Place(step, "_crops", BATCH, CROPS),
            Place(Augmentation, "__call__", CROPS, AUGMENT),
            Place(step._optimizer, "zero_grad", FORWARD, OPTIMISER),
            Place(step._learning_rate, "set", BACKWARD, OPTIMISER),
            Place(step.average, "after_step", OPTIMISER, OPTIMISER),
            Place(trainer, "_validation_logits", BATCH, VALIDATION),
        )
        with laps.at(*places):
            trainer.epoch()
            laps.lap(VALIDATION)
        return laps.per(len(self))

    def epoch(self) -> Seconds:
        """Return what an epoch takes with no clock read within it."""
        laps = Laps([ALL])
        laps.start()
        self.trainer.epoch()
        laps.lap(ALL)
        return laps.per(len(self))

    def operations(self) -> float:
        """Return the floating-point operations of a clip's step."""
        return operations(self.trainer.network, self.settings, training=True)

    def _open(self, places: pa.Table, inputs: Sequence[str]) -> Source:
        return Source(places, self.settings, inputs, in_memory=True)


def _places(rows: pa.Table) -> pa.Table:
    """Return the places (part, row) of rows of FEATURES in the order of the files, as workers get them."""
    places = rows.select(["part", "row"])
    places = places.set_column(0, "part", places["part"].cast(pa.string()))
    return places.sort_by([("part", "ascending"), ("row", "ascending")])


def operations(network: GenreModel, settings: Settings, *, training: bool) -> float:
    """Return the floating-point operations of a crop: of products and convolutions, forward or of a training step."""
    shapes = {name: dataset.shape(name, settings.features) for name in network.inputs}
    crop = {name: torch.zeros((2, shape[0], settings.crop_frames), dtype=torch.uint8) for name, shape in shapes.items()}
    with FlopCounterMode(display=False) as counter, _mode(network, training):
        logits = network(crop)
        if training:
            torch.stack([head.sum() for head in loop.heads(logits)]).sum().backward()
    return counter.get_total_flops() / 2


@contextlib.contextmanager
def _mode(network: GenreModel, training: bool) -> Iterator[None]:
    network.train(training)
    with contextlib.nullcontext() if training else torch.no_grad():
        yield
    network.zero_grad(set_to_none=True)
