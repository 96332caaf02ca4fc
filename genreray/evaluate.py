"""FEATURES + a checkpoint -> a report: predict a split on Ray, score it, and write what people look at."""

import dataclasses
import datetime

import pyarrow as pa

from genreray import (
    checkpoint,
    metrics,
    multilabel_metrics,
    multilabel_report,
    predictions,
    report,
    resume,
    storage,
    tables,
)
from genreray.checkpoint import Settings
from genreray.cluster import Cluster, Gpu
from genreray.errors import Status, UserError
from genreray.featureset import FeatureSet
from genreray.metrics import Scores
from genreray.multilabel_metrics import MultiLabelScores
from genreray.parts import count_statuses
from genreray.predict import check_features, predict
from genreray.progress import Progress
from genreray.statistics import with_fma_statistics

PREDICTIONS_FILE = predictions.FILE_NAME
REPORT_FILES = frozenset({PREDICTIONS_FILE, report.HTML_NAME, report.METRICS_NAME, "summary.json"})


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """What an evaluation found."""

    scores: Scores | MultiLabelScores
    counts: dict[str, int]  # tracks of the split per status
    n_unscored: int  # tracks with features whose genre is unknown, or unknown to the checkpoint
    target: dict[str, float | None] | None = None  # report.target, where an accuracy was wanted


def evaluate(
    features_uri: str,
    report_uri: str,
    checkpoint_uri: str,
    *,
    split: str,
    gpu: Gpu,
    cluster: Cluster,
    progress: Progress,
    fma_features: str | None = None,
    embedding: bool = False,
    model: str | None = None,
    target_accuracy: float | None = None,
) -> Evaluated:
    """Write predictions.parquet, metrics.json and report.html of one split into `report_uri`.

    `model` is a module that the user named, where the checkpoint is of one. With `target_accuracy`, 0 to 1, the report
    names the confidence from which on labels are as accurate.
    Raises UserError where an input does not fit, the folder holds something else, or no track can be scored.
    """
    settings = checkpoint.load_settings(checkpoint_uri, model)
    features = _open(features_uri, checkpoint_uri, settings, fma_features)
    several = settings.tree is not None
    if target_accuracy is not None and several:
        raise UserError("--target-accuracy is for one genre a track: with several, each has a threshold of its own")
    _check_output(report_uri)
    check_features(features, checkpoint_uri, settings)
    storage.check_writable(report_uri)
    predicted = predict(
        features,
        checkpoint_uri,
        split=split,
        gpu=gpu,
        cluster=cluster,
        progress=progress,
        embedding=embedding,
        model=model,
    )
    known = (predictions.scored_several if several else predictions.scored)(predicted, settings.genres)
    if not len(known):
        raise UserError(
            f"no track in the {split} split of {features.uri} has features and one of the checkpoint's genres "
            f"({', '.join(settings.genres)})"
        )
    counts = count_statuses(predicted.column("status"))
    context = _context(features, checkpoint_uri, settings, split, predicted, counts)
    context = dataclasses.replace(context, target_accuracy=target_accuracy)
    storage.write_parquet(storage.join(report_uri, PREDICTIONS_FILE), _with_identity(predicted, checkpoint_uri))
    scores = (_report_several if several else _report)(report_uri, known, settings, context)
    n_unscored = counts.get(Status.OK.value, 0) - len(known)
    if target_accuracy is None or isinstance(scores, MultiLabelScores):
        return Evaluated(scores, counts, n_unscored)
    return Evaluated(scores, counts, n_unscored, report.target(scores, target_accuracy))


def _open(features_uri: str, checkpoint_uri: str, settings: Settings, fma_features: str | None) -> FeatureSet:
    """Open the features, with FMA's own statistics where the checkpoint was trained on them."""
    features = FeatureSet.open(features_uri)
    if settings.statistics == checkpoint.FMA:
        if fma_features is None:
            raise UserError(
                f"{checkpoint_uri} was trained on FMA's own MFCC statistics: give --fma-features features.csv"
            )
        return with_fma_statistics(features, fma_features, settings.model)
    if fma_features is not None:
        raise UserError(f"{checkpoint_uri} was not trained on FMA's own MFCC statistics: leave --fma-features out")
    return features


def _report(report_uri: str, known: pa.Table, settings: Settings, context: report.ReportContext) -> Scores:
    """Score predictions of one genre a track, and write what people and programs read of it."""
    scores = metrics.evaluate(*predictions.arrays(known, settings.genres), settings.genres)
    report.write_report(report_uri, scores, context)
    return scores


def _report_several(
    report_uri: str, known: pa.Table, settings: Settings, context: report.ReportContext
) -> MultiLabelScores:
    """Do what `_report` does for several genres a track."""
    limits = [settings.thresholds[genre] for genre in settings.genres]
    scores = multilabel_metrics.evaluate(*predictions.arrays_several(known, settings.genres), limits, settings.genres)
    multilabel_report.write_report(report_uri, scores, context, settings.tree or {}, known)
    return scores


def is_reported(report_uri: str, checkpoint_uri: str, features: FeatureSet, split: str) -> bool:
    """Return whether there is a report already, of this checkpoint and of as many tracks of this split."""
    where = storage.join(report_uri, report.METRICS_NAME)
    if not storage.exists(where):
        return False
    about = storage.read_json(where)["about"]
    same = about["split"] == split and sum(about["statuses"].values()) == len(features.rows(split))
    return same and checkpoint.fingerprint(checkpoint_uri) in about["checkpoint"]


def _check_output(report_uri: str) -> None:
    if not storage.exists(report_uri):
        return
    if not storage.is_folder(report_uri):
        raise UserError(f"{report_uri} is a file: give a folder for the report")
    foreign = next((name for name, _ in storage.list_files(report_uri) if name not in REPORT_FILES), None)
    if foreign is not None:
        raise UserError(f"{report_uri} holds {foreign}, which is not part of a report: give another folder")


def _context(
    features: FeatureSet,
    checkpoint_uri: str,
    settings: Settings,
    split: str,
    predicted: pa.Table,
    counts: dict[str, int],
) -> report.ReportContext:
    rows = predicted.select(["track_id", "genre", "true_genre", "confidence", "status", "error"]).to_pylist()
    described = settings.to_json()
    owners = ("model", "training", "input", "features", "calibration")
    return report.ReportContext(
        model=settings.model,
        checkpoint=f"{storage.absolute(checkpoint_uri)} ({checkpoint.fingerprint(checkpoint_uri)})",
        features=features.uri,
        split=split,
        split_method=features.split_method,
        created=datetime.date.today().isoformat(),
        statuses=counts,
        failures=[row for row in rows if row["status"] != Status.OK.value],
        history=resume.read_history(checkpoint_uri),
        best_epoch=int(settings.metrics["epoch"]) if "epoch" in settings.metrics else None,
        calibration=_calibration(settings),
        settings={name: described[name] for name in owners},
        mistakes=report.confident_mistakes(rows),
        doubtful=report.most_doubtful(rows),
        versions=checkpoint.versions(),
    )


def _calibration(settings: Settings) -> report.Calibration | None:
    errors = [settings.metrics.get(f"calibration_error_{when}") for when in ("before", "after")]
    if None in errors:  # a checkpoint of an earlier version
        return None
    before, after = (float(error) for error in errors if error is not None)
    return report.Calibration(settings.temperature, before, after)


def _with_identity(predicted: pa.Table, checkpoint_uri: str) -> pa.Table:
    identity = {"table": "predictions", "checkpoint": checkpoint.fingerprint(checkpoint_uri)}
    return predicted.cast(tables.with_metadata(predicted.schema, identity))
