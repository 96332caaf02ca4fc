"""Every system on the same features: train and score each with several seeds, and write one table."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import pyarrow.parquet as pq

from genreray import (
    checkpoint,
    comparison,
    comparison_page,
    dataset,
    metrics,
    models,
    predictions,
    run_folder,
    storage,
    tables,
)
from genreray.checkpoint import Settings
from genreray.cluster import Cluster, Gpu
from genreray.comparison import Comparison, Failure, System, Trial
from genreray.errors import UserError, reason
from genreray.evaluate import PREDICTIONS_FILE, REPORT_FILES, evaluate, is_reported
from genreray.features import FeatureConfig
from genreray.featureset import FeatureSet
from genreray.models.fitted import Fitted
from genreray.progress import Progress
from genreray.recipe import TrainingConfig
from genreray.train import train

_SYSTEMS = "systems"  # holds a folder for each system, with one for each seed
_OF_A_SEED = re.compile(rf"(?P<run>{_SYSTEMS}/[^/]+/seed-\d+/(?P<kind>run|report))/(?P<name>.+)")
_NO_INPUT = {"random": "none", "prior": "genre shares"}
_NAMES = {"mel": "mel", "mfcc": "MFCC", "mfcc_stats": "MFCC statistics"}


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is trained: which systems, how often, for how long."""

    names: Sequence[str]
    seeds: int
    epochs: int | None  # instead of each system's own
    split: str
    workers: int
    gpu: Gpu
    fma_features: str | None = None  # FMA's features.csv, for the systems on MFCC statistics
    fresh: bool = False  # delete what an earlier run left first


def reproduce(
    features_uri: str, report_uri: str, plan: Plan, *, cluster: Cluster, progress: Progress
) -> tuple[Comparison, bool]:
    """Train and score every system of the plan, writing the table after each; return it, and whether any work was done.

    What an earlier run finished is taken from `report_uri`. A system that cannot be trained is a row that says why.
    Raises UserError for unknown systems, or where `report_uri` holds something else.
    """
    for name in plan.names:
        models.family(name)
    report_uri = storage.absolute(report_uri)
    _check_output(report_uri)
    features = FeatureSet.open(features_uri)
    if plan.fresh:
        cluster.connect(progress.line)  # what cannot begin shall not delete
        storage.delete_files(_files(report_uri), report_uri)
    systems: list[System] = []
    failures: list[Failure] = []
    trials: dict[str, list[Trial]] = {}
    worked = False
    for name in plan.names:
        try:
            settings, trials[name], anew = _trials(name, features, report_uri, plan, cluster, progress)
        except Exception as error:  # of whatever kind, out of a worker or a network of somebody's: the others go on
            failures.append(Failure(name, reason(error)))
            progress.line(f"{name} failed: {failures[-1].error}")
            continue
        worked |= anew
        systems.append(_system(name, settings, trials[name]))
        progress.line(_line(systems[-1]))
        table = _comparison(features, settings, plan, systems, failures, trials)
        comparison_page.write(report_uri, table)
    if not systems:
        raise UserError(f"no system could be trained; {failures[0].name}: {failures[0].error}")
    table = _comparison(features, settings, plan, systems, failures, trials)
    comparison_page.write(report_uri, table)
    return table, worked


def _files(report_uri: str) -> list[str]:
    """Return the URIs of all files of the table and of its runs and reports.

    Raises UserError where there is anything else.
    """
    found = dict(storage.list_files(report_uri)) if storage.exists(report_uri) else {}
    runs = set()
    for name in found:
        place = _OF_A_SEED.fullmatch(name)
        if place and place["kind"] == "run":
            runs.add(storage.join(report_uri, place["run"]))
        elif name.startswith(f"{_SYSTEMS}/") and not (place and place["name"] in REPORT_FILES):
            raise UserError(
                f"{report_uri} holds {name}, which is not part of a run, and --fresh deletes nothing else: "
                "give another folder"
            )
    of_runs = [uri for run in sorted(runs) for uri in run_folder.files(run)]
    return [*(uri for uri in found.values() if uri not in of_runs), *of_runs]


def _check_output(report_uri: str) -> None:
    if not storage.exists(report_uri):
        return
    if not storage.is_folder(report_uri):
        raise UserError(f"{report_uri} is a file: give a folder for the table")
    ours = {comparison_page.HTML_NAME, comparison_page.MARKDOWN_NAME, comparison_page.JSON_NAME, "summary.json"}
    for name, _ in storage.list_files(report_uri):
        if name not in ours and not name.startswith(f"{_SYSTEMS}/"):
            raise UserError(f"{report_uri} holds {name}, which is not part of a table of systems: give another folder")


def _trials(
    name: str, features: FeatureSet, report_uri: str, plan: Plan, cluster: Cluster, progress: Progress
) -> tuple[Settings, list[Trial], bool]:
    """Train and score every seed of a system, or read what is there; the last value says whether anything was done."""
    found, worked = [], False
    fma_features = plan.fma_features if "mfcc_stats" in models.family(name).module.inputs else None
    for seed in range(plan.seeds):
        folder = storage.join(report_uri, _SYSTEMS, name, f"seed-{seed}")
        run, page = storage.join(folder, "run"), storage.join(folder, "report")
        done = train(
            features.uri,
            run,
            name,
            models.family(name).config(),
            recipe(name, features.config, plan.epochs, seed),
            workers=plan.workers,
            gpu=plan.gpu,
            cluster=cluster,
            progress=Progress(progress.console, f"{name}, seed {seed}"),
            fma_features=fma_features,
        )
        if not is_reported(page, run, features, plan.split):
            evaluate(
                features.uri,
                page,
                run,
                split=plan.split,
                gpu=plan.gpu,
                cluster=cluster,
                progress=Progress(progress.console, f"{name}, seed {seed}"),
                fma_features=fma_features,
                model=name,
            )
            worked = True
        worked |= not done.already_finished
        settings = checkpoint.load_settings(run, name)
        seconds = sum(float(epoch["seconds"]) for epoch in done.history)
        found.append(_read_trial(page, settings, float(done.best["validation_accuracy"]), seconds))
    return settings, found, worked


def recipe(name: str, features: FeatureConfig, epochs: int | None, seed: int) -> TrainingConfig:
    """Return a system's own recipe with the seed, and where clips are short, with crops that fit into them."""
    family = models.family(name)
    own = family.training
    in_steps = not (isinstance(family.module, type) and issubclass(family.module, Fitted))
    return dataclasses.replace(
        own,
        seed=seed,
        epochs=epochs if epochs and in_steps else own.epochs,
        crop_frames=min(own.crop_frames, features.max_frames),
    )


def _read_trial(page: str, settings: Settings, validation_accuracy: float, seconds: float) -> Trial:
    where = storage.join(page, PREDICTIONS_FILE)
    with storage.open_file(where) as file:
        table = pq.read_table(file)
        tables.check_plain(table.schema, where)
        rows = predictions.scored(table, settings.genres).sort_by("track_id")
    probabilities, labels = predictions.arrays(rows, settings.genres)
    return Trial(probabilities, labels, validation_accuracy, seconds)


def _system(name: str, settings: Settings, trials: Sequence[Trial]) -> System:
    model = settings.build()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return comparison.of_trials(name, _input(name, settings, model.inputs), parameters, trials, settings.genres)


def _input(name: str, settings: Settings, inputs: Sequence[str]) -> str:
    """Return what a system sees, in words: mel 128 x 385."""
    if name in _NO_INPUT:
        return _NO_INPUT[name]
    words = []
    for each in inputs:
        rows, columns = dataset.shape(each, settings.features)
        whole = " of whole tracks" if each == "mfcc_stats" and settings.statistics == checkpoint.FMA else ""
        words.append(f"{_NAMES[each]} {rows} x {columns if each == 'mfcc_stats' else settings.crop_frames}{whole}")
    return " + ".join(words)


def _comparison(
    features: FeatureSet,
    settings: Settings,
    plan: Plan,
    systems: list[System],
    failures: list[Failure],
    trials: dict[str, list[Trial]],
) -> Comparison:
    first = next(iter(trials.values()))[0]
    scores = metrics.evaluate(first.probabilities, first.labels, settings.genres, resamples=1)
    best = max(systems, key=lambda system: system.validation_accuracy)
    together = [comparison.ensemble(best, trials[best.name], settings.genres)] if best.seeds > 1 else []
    return Comparison(
        features=features.uri,
        split=plan.split,
        split_method=features.split_method,
        genres=settings.genres,
        n=scores.n,
        majority_genre=scores.majority_genre,
        majority_share=scores.majority_share,
        systems=[*systems, *together],
        failures=list(failures),
        wanted=list(plan.names),
    )


def _line(system: System) -> str:
    low, high = system.accuracy_interval
    return (
        f"{system.name}: accuracy {system.accuracy:.1%} ({low:.0%} to {high:.0%}), "
        f"validation {system.validation_accuracy:.1%}, {system.seconds:.0f} s of training a seed"
    )


def facts(table: Comparison) -> dict[str, Any]:
    """Return what the job's last screen says beside the table."""
    return {"split": table.split, "scored": table.n, "majority": table.majority_share}
