"""FEATURES + a checkpoint -> a report: predict a split on Ray, score it, and write what people look at."""

import dataclasses
import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genreray import checkpoint, metrics, report, resume, storage, tables
from genreray.checkpoint import Settings
from genreray.cluster import Cluster, Gpu
from genreray.errors import Status, UserError
from genreray.featureset import FeatureSet
from genreray.metrics import Scores
from genreray.parts import count_statuses
from genreray.predict import predict
from genreray.progress import Progress

PREDICTIONS_FILE = "predictions.parquet"


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """What an evaluation found."""

    scores: Scores
    counts: dict[str, int]  # tracks of the split per status
    n_unscored: int  # tracks with features whose genre is unknown, or unknown to the checkpoint


def evaluate(
    features_uri: str,
    report_uri: str,
    checkpoint_uri: str,
    *,
    split: str,
    gpu: Gpu,
    cluster: Cluster,
    progress: Progress,
) -> Evaluated:
    """Write predictions.parquet, metrics.json and report.html of one split into `report_uri`.

    Raises UserError where an input does not fit, the folder holds something else, or no track can be scored.
    """
    features = FeatureSet.open(features_uri)
    settings = checkpoint.load_settings(checkpoint_uri)
    _check_output(report_uri)
    predictions = predict(features, checkpoint_uri, split=split, gpu=gpu, cluster=cluster, progress=progress)
    known = predictions.filter(
        (pc.field("status") == Status.OK.value) & pc.is_in(pc.field("true_genre"), pa.array(settings.genres))
    )
    if not len(known):
        raise UserError(
            f"no track in the {split} split of {features.uri} has features and one of the checkpoint's genres "
            f"({', '.join(settings.genres)})"
        )
    scores = metrics.evaluate(*_arrays(known, settings.genres), settings.genres)
    counts = count_statuses(predictions.column("status"))
    context = _context(features, checkpoint_uri, settings, split, predictions, counts)
    storage.write_parquet(storage.join(report_uri, PREDICTIONS_FILE), _with_identity(predictions, checkpoint_uri))
    report.write_report(report_uri, scores, context)
    return Evaluated(scores, counts, n_unscored=counts.get(Status.OK.value, 0) - len(known))


def _check_output(report_uri: str) -> None:
    ours = {PREDICTIONS_FILE, report.HTML_NAME, report.METRICS_NAME, "summary.json"}
    if not storage.exists(report_uri):
        return
    if not storage.is_folder(report_uri):
        raise UserError(f"{report_uri} is a file: give a folder for the report")
    foreign = next((name for name, _ in storage.list_files(report_uri) if name not in ours), None)
    if foreign is not None:
        raise UserError(f"{report_uri} holds {foreign}, which is not part of a report: give another folder")


def _arrays(predictions: pa.Table, genres: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities, float64 [n, n_genres], and labels, int64 [n], in class order."""
    place = {genre: i for i, genre in enumerate(genres)}
    probabilities = np.zeros((len(predictions), len(genres)))
    for row, ranked in enumerate(predictions.column("genres").to_pylist()):
        for item in ranked:
            probabilities[row, place[item["genre"]]] = item["probability"]
    labels = np.array([place[genre] for genre in predictions.column("true_genre").to_pylist()])
    # float32 probabilities of a softmax add up to 1 within 1e-6 only.
    return probabilities / probabilities.sum(axis=1, keepdims=True), labels


def _context(
    features: FeatureSet,
    checkpoint_uri: str,
    settings: Settings,
    split: str,
    predictions: pa.Table,
    counts: dict[str, int],
) -> report.ReportContext:
    rows = predictions.select(["track_id", "genre", "true_genre", "confidence", "status", "error"]).to_pylist()
    described = settings.to_json()
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
        settings={name: described[name] for name in ("model", "training", "input", "features", "calibration")},
        mistakes=report.confident_mistakes(rows),
        doubtful=report.most_doubtful(rows),
        versions=checkpoint.versions(),
    )


def _with_identity(predictions: pa.Table, checkpoint_uri: str) -> pa.Table:
    identity = {"table": "predictions", "checkpoint": checkpoint.fingerprint(checkpoint_uri)}
    return predictions.cast(tables.with_metadata(tables.PREDICTIONS, identity))
