"""Accuracy on real music: networks and classic systems on one table of spectrograms, by the project's own training.

    python -m benchmarks.quality spectrograms.parquet RESULTS --models svm,forest,short_chunk_resnet_small

The table has track_id, genre, split (training, validation, test; null: left out) and spectrogram: uint8 [128, frames],
grey, low frequencies first. It stands in for the log-mel, and the DCT of its columns for the MFCC. What is chosen is
chosen on validation: scores on test are only shown with --test. Each trial is kept in RESULTS, and not done again. A
network that joins branches is scored beside each of them, by the branch's own logits in the same run.
"""

import dataclasses
import hashlib
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.fft
import torch
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks import branches
from benchmarks.branches import Branch, Difference
from genreray import calibration, loop, metrics, models, parts, tables
from genreray.checkpoint import Settings
from genreray.errors import Status, UserError
from genreray.features import FeatureConfig
from genreray.featureset import FeatureSet, table_settings
from genreray.genres import class_order
from genreray.models import GenreModel, ModelConfig
from genreray.recipe import TrainingConfig
from genreray.source import Source
from genreray.trainer import SCORE, Trainer

_HOP = FeatureConfig.hop_length
_SPLITS = ("training", "validation", "test")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quality:
    """Train systems on a table of spectrograms and print their accuracy, mean and deviation over seeds."""

    data: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DATA")]
    """Parquet file with track_id, genre, split and spectrogram."""
    results: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RESULTS")]
    """Folder to write; trials that it has are not done again."""
    models: str = ",".join(models.MODELS)
    """Systems, separated by commas."""
    seeds: int = 5
    """Times that each is trained."""
    change: tuple[str, ...] = ()
    """Settings to change, such as epochs=80 mixup=0.2, of the recipe or the network."""
    decay: float = 1.0
    """Make the training split uneven: each genre has this share of the clips of the one before it; 1 is all clips."""
    test: bool = False
    """Show the scores on the test split, once all is chosen."""
    threads: int = 2
    """Threads of torch."""


@dataclasses.dataclass(frozen=True)
class Trial:
    """One seed: the probabilities of the validation and test tracks, and how long training took."""

    probabilities: dict[str, list[list[float]]]  # by split
    best_epoch: int
    seconds: float
    branches: dict[str, dict[str, list[list[float]]]] = dataclasses.field(default_factory=dict)  # by branch, as above


def main(options: Quality) -> int:
    """Train what is not there yet, print the table and return the exit code."""
    torch.set_num_threads(options.threads)
    features = write_features(options.data, options.results / "features")
    genres = class_order(features.usable("training").column("genre").to_pylist())
    console, found = Console(), {}
    for name in options.models.split(","):
        found[name] = []
        for seed in range(options.seeds):
            found[name].append(trial(features, genres, name, seed, options))
            console.print(f"{name} seed {seed}: {_shown(found[name][-1:], features, genres, 'validation')}")
    console.print(_table(found, features, genres, _SPLITS[1:] if options.test else ("validation",)))
    return 0


def write_features(data: Path, folder: Path) -> FeatureSet:
    """Write the table as FEATURES, once: the spectrogram as mel, and 20 DCT coefficients of each column as MFCC."""
    rows = pq.read_table(data).filter(pa.compute.field("split").is_valid()).to_pylist()
    n_frames = len(rows[0]["spectrogram"]) // 128
    config = FeatureConfig(duration=(n_frames - 1) * _HOP / FeatureConfig.sr)
    if not folder.exists():
        schema = tables.with_metadata(tables.FEATURES, table_settings(config, "official"))
        made = [_row(row, n_frames, config) for row in rows]
        parts.Parts(str(folder), schema).write(pa.Table.from_pylist(made, schema=tables.FEATURES))
    return FeatureSet.open(str(folder))


def _row(row: dict[str, Any], n_frames: int, config: FeatureConfig) -> dict[str, Any]:
    grey = np.frombuffer(row["spectrogram"], np.uint8).reshape(config.n_mels, n_frames)
    decibels = grey * (config.top_db / 255)
    mfcc = scipy.fft.dct(decibels, axis=0, norm="ortho")[: config.n_mfcc]
    return {
        **{name: row[name] for name in ("track_id", "genre", "split")},
        "uri": row["track_id"],
        "status": Status.OK.value,
        "duration": config.duration,
        "n_frames": n_frames,
        "mel": grey.tobytes(),
        "mel_ref": 0.0,
        "mfcc": mfcc.astype(np.float16).tobytes(),
    }


def trial(features: FeatureSet, genres: list[str], name: str, seed: int, options: Quality) -> Trial:
    """Return one seed of a system, trained now or earlier with the same settings."""
    family = models.family(name)
    features = thinned(features, options.decay, seed)
    longest = features.config.max_frames
    recipe = dataclasses.replace(family.training, seed=seed, crop_frames=min(family.training.crop_frames, longest))
    config, recipe = _changed(family.config(), recipe, options.change)
    settings = Settings(
        model=name,
        model_config=config,
        features=features.config,
        genres=genres,
        crop_frames=recipe.crop_frames,
        n_crops=recipe.crops,
        training=dataclasses.asdict(recipe),
        metrics={},
    )
    uneven = [options.decay] if options.decay < 1 else []
    told = json.dumps([name, dataclasses.asdict(config), dataclasses.asdict(recipe), *uneven], sort_keys=True)
    where = options.results / f"{name}-{hashlib.sha256(told.encode()).hexdigest()[:12]}.json"
    if not where.exists():
        where.write_text(json.dumps(dataclasses.asdict(_train(features, settings, recipe))))
    return Trial(**json.loads(where.read_text()))


def thinned(features: FeatureSet, decay: float, seed: int) -> FeatureSet:
    """Return the features with fewer training clips, the i-th genre having decay ** i of its own, at least one.

    Which genres are rare, and which of their clips are left, follows from the seed; the other splits stay whole.
    """
    if decay == 1:
        return features
    rng = np.random.default_rng(seed)
    training = features.usable("training").sort_by("track_id")
    genre = np.array(training.column("genre").to_pylist())
    kept: list[str] = []
    for i, name in enumerate(rng.permutation(class_order(genre))):
        ids = np.array(training.column("track_id").to_pylist())[genre == name]
        kept += rng.permutation(ids)[: max(1, round(decay**i * len(ids)))].tolist()
    others = pa.compute.field("split") != "training"
    index = features.index.filter(others | pa.compute.field("track_id").isin(kept))
    return dataclasses.replace(features, index=index)


def _changed(config: ModelConfig, recipe: TrainingConfig, changes: Sequence[str]) -> tuple[ModelConfig, TrainingConfig]:
    """Return both with the changes NAME=VALUE that they know; UserError for one that neither does."""
    for change in changes:
        name, _, text = change.partition("=")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        value = tuple(value) if isinstance(value, list) else value
        if hasattr(recipe, name):
            recipe = dataclasses.replace(recipe, **{name: value})
        elif hasattr(config, name):
            config = dataclasses.replace(config, **{name: value})
        else:
            raise UserError(f"no system has a setting {name}")
    return config, recipe


def _train(features: FeatureSet, settings: Settings, recipe: TrainingConfig) -> Trial:
    def open_split(split: str) -> Any:
        places = features.usable(split).select(["part", "row"])
        return lambda inputs: Source(places, settings, inputs, in_memory=True)

    labels = features.usable("training").column("genre").to_pylist()
    started = time.perf_counter()
    trainer = Trainer(
        settings,
        recipe,
        open_split("training"),
        open_split("validation"),
        counts=[labels.count(genre) for genre in settings.genres],
        device=torch.device("cpu"),
    )
    best: dict[str, Any] = {SCORE: float("inf")}
    weights: dict[str, torch.Tensor] = {}
    while not trainer.finished:
        entry = trainer.epoch()
        if entry[SCORE] < best[SCORE]:  # what training would keep
            best = entry
            with trainer.scored_weights():
                weights = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    seconds = time.perf_counter() - started
    trainer.network.load_state_dict(weights)
    probabilities = {
        split: _predict(trainer.network, open_split(split), settings, best["temperature"]) for split in _SPLITS[1:]
    }
    own = {name: _own(branch, open_split, settings) for name, branch in branches.of(trainer.network).items()}
    return Trial(probabilities, best["epoch"], seconds, own)


def _own(branch: Branch, open_split: Any, settings: Settings) -> dict[str, list[list[float]]]:
    """Return a branch's probabilities by split, with a temperature of its own, as it would have alone."""
    clips = open_split("validation")(branch.inputs).whole()
    crops, n_crops = settings.crop_frames, settings.n_crops
    logits = loop.crop_logits(branch, clips, crop_frames=crops, n_crops=n_crops, device=torch.device("cpu"))
    temperature = calibration.fit_temperature(logits, clips.labels)
    return {split: _predict(branch, open_split(split), settings, temperature) for split in _SPLITS[1:]}


def _predict(network: GenreModel | Branch, opened: Any, settings: Settings, temperature: float) -> list[list[float]]:
    found = [
        loop.predict(
            network,
            clips,
            crop_frames=settings.crop_frames,
            n_crops=settings.n_crops,
            device=torch.device("cpu"),
            temperature=temperature,
        )
        for clips in opened(network.inputs).batches(64)
    ]
    probabilities: list[list[float]] = torch.cat(found).tolist()
    return probabilities


def _labels(features: FeatureSet, genres: list[str], split: str) -> npt.NDArray[np.int64]:
    # A source yields its clips in the order of their ids.
    rows = features.usable(split).sort_by("track_id")
    return np.array([genres.index(genre) for genre in rows.column("genre").to_pylist()])


def _shown(trials: Sequence[Trial], features: FeatureSet, genres: list[str], split: str) -> str:
    labels = _labels(features, genres, split)
    scores = [metrics.evaluate(np.array(trial.probabilities[split]), labels, genres, resamples=1) for trial in trials]
    accuracies = [score.accuracy for score in scores]
    deviation = f" ±{statistics.stdev(accuracies):.3f}" if len(accuracies) > 1 else ""
    f1, loss = (statistics.mean(getattr(score, name) for score in scores) for name in ("macro_f1", "log_loss"))
    return f"{statistics.mean(accuracies):.3f}{deviation}, F1 {f1:.3f}, log loss {loss:.3f}"


def _table(found: dict[str, list[Trial]], features: FeatureSet, genres: list[str], splits: Sequence[str]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("system", "seeds", *splits, "best epoch", "training"):
        table.add_column(column)

    def add(name: str, trials: Sequence[Trial], *more: str) -> None:
        shown = [_shown(trials, features, genres, split) for split in splits]
        table.add_row(name, str(len(trials)), *shown, *more)
        if len(trials) > 1:
            mean = {split: np.mean([trial.probabilities[split] for trial in trials], 0).tolist() for split in splits}
            shown = [_shown([Trial(mean, 0, 0.0)], features, genres, split) for split in splits]
            table.add_row(f"{name}, seeds averaged", str(len(trials)), *shown)

    for name, trials in found.items():
        epoch = statistics.mean(trial.best_epoch for trial in trials)
        seconds = statistics.mean(trial.seconds for trial in trials)
        add(name, trials, f"{epoch:.0f}", f"{seconds:.0f} s")
        for branch in trials[0].branches:
            own = [dataclasses.replace(trial, probabilities=trial.branches[branch]) for trial in trials]
            add(f"its {branch} branch", own)
            both = ([[trial.probabilities[split] for trial in side] for side in (trials, own)] for split in splits)
            labels = (_labels(features, genres, split) for split in splits)
            more = [str(Difference.of(*pair, truth)) for pair, truth in zip(both, labels, strict=True)]
            table.add_row(f"{name} less its {branch} branch", str(len(trials)), *more)
    return table


if __name__ == "__main__":
    try:
        sys.exit(main(tyro.cli(Quality, config=(tyro.conf.HelptextFromCommentsOff, tyro.conf.FlagCreatePairsOff))))
    except UserError as error:
        sys.exit(f"quality: {error}")
