"""The page that people look at: scores and where they come from as one self-contained HTML file."""

import json
import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from markupsafe import Markup

from genreray import pages, plots, storage
from genreray.errors import Status
from genreray.metrics import Scores
from genreray.multilabel_metrics import MultiLabelScores

HTML_NAME = "report.html"
METRICS_NAME = "metrics.json"

_MATRIX_GENRES = 30  # more rows than this are not read; the rarest are summed
_ROOMY_GENRES = 10  # up to so many, a cell has room for its percentage too
_DENSE_GENRES = 20  # above so many, the type is smaller
_FEW_TRACKS = 20  # an F1 of fewer is marked as uncertain
_SHOWN_FAILURES = 50
_SHOWN_CONFUSIONS = 8

_MEANING: Mapping[str, str] = {
    Status.OK: "decoded",
    Status.NOT_FOUND: "no such file",
    Status.UNREADABLE: "the file could not be read",
    Status.EMPTY: "the file has no bytes",
    Status.UNDECODABLE: "not audio that can be decoded",
    Status.TOO_SHORT: "too little audio to judge",
    Status.SILENT: "nothing but silence",
    Status.TOO_LARGE: "too much of the file would have to be read",
    Status.TIMEOUT: "took longer than it may",
    Status.CRASHED: "ended the process that read it",
    Status.ERROR: "an unexpected error",
}


@dataclass(frozen=True)
class Calibration:
    """A temperature, and the expected calibration error on validation before and after it."""

    temperature: float
    before: float
    after: float


@dataclass(frozen=True, kw_only=True)
class ReportContext:
    """What a reader must know beside the scores. Rows are mappings with PREDICTIONS' column names.

    `statuses` and `failures` are of every track of the split, scored or not. An epoch of `history` has epoch,
    training_loss, training_accuracy, validation_loss, validation_accuracy and seconds; any but the first may
    be missing or None.
    """

    model: str
    checkpoint: str  # its URI, and what identifies its content
    features: str  # the URI of the features
    split: str
    split_method: str  # how the split was made, in a few words
    title: str = "Music genre classification"
    created: str = ""  # a date to print; nothing is printed without one
    statuses: Mapping[str, int] = field(default_factory=dict)
    failures: Sequence[Mapping[str, Any]] = ()  # track_id, status, error
    history: Sequence[Mapping[str, Any]] = ()
    best_epoch: int | None = None  # the epoch whose weights were kept
    calibration: Calibration | None = None  # what was fitted on validation
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by owner: model, training, features
    mistakes: Sequence[Mapping[str, Any]] = ()  # track_id, true_genre, genre, confidence
    doubtful: Sequence[Mapping[str, Any]] = ()  # the same
    target_accuracy: float | None = None  # wanted of the labels that are given, by leaving out doubtful ones
    versions: Mapping[str, str] = field(default_factory=dict)


def confident_mistakes(rows: Iterable[Mapping[str, Any]], limit: int = 15) -> list[Mapping[str, Any]]:
    """Return the wrong predictions of the highest confidence: mislabelled tracks tend to be among them."""
    wrong = [row for row in _judged(rows) if row["genre"] != row["true_genre"]]
    return sorted(wrong, key=lambda row: (-row["confidence"], row["track_id"]))[:limit]


def most_doubtful(rows: Iterable[Mapping[str, Any]], limit: int = 15) -> list[Mapping[str, Any]]:
    """Return the predictions of the lowest confidence, right or wrong."""
    return sorted(_judged(rows), key=lambda row: (row["confidence"], row["track_id"]))[:limit]


def _judged(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [row for row in rows if row["genre"] is not None and row["true_genre"] is not None]


def write_report(folder_uri: str, scores: Scores, context: ReportContext) -> None:
    """Write report.html, which needs no other file, and metrics.json into the folder.

    Raises UserError where they cannot be written.
    """
    storage.write_text(storage.join(folder_uri, HTML_NAME), render(scores, context))
    found = metrics_json(scores, context)
    if context.target_accuracy is not None:
        found["target"] = target(scores, context.target_accuracy)
    storage.write_json(storage.join(folder_uri, METRICS_NAME), found)


def metrics_json(scores: Scores | MultiLabelScores, context: ReportContext) -> dict[str, Any]:
    """Return the scores as plain values, and under `about` what they were measured on."""
    about = {
        "model": context.model,
        "checkpoint": context.checkpoint,
        "features": context.features,
        "split": context.split,
        "split_method": context.split_method,
        "created": context.created,
        "statuses": context.statuses,
        "best_epoch": context.best_epoch,
        "calibration": asdict(context.calibration) if context.calibration else None,
        "history": context.history,
        "settings": context.settings,
        "versions": context.versions,
    }
    return {**scores.to_json(), "about": _plain(about)}


def target(scores: Scores, wanted: float) -> dict[str, float | None]:
    """Return the confidence from which on labels have the accuracy `wanted`: all None but that where none gives it.

    min_confidence is rounded down to four places, so that the track at the threshold is labelled too.
    """
    point = scores.at_accuracy(wanted)
    if point is None:
        return {"wanted": wanted, "min_confidence": None, "coverage": None, "accuracy": None}
    rounded = math.floor(point.threshold * 1e4) / 1e4
    return {"wanted": wanted, "min_confidence": rounded, "coverage": point.coverage, "accuracy": point.accuracy}


def _plain(value: Any) -> Any:
    """Return `value` as strict JSON can hold it: a diverged loss is null, an unknown object its text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):  # NumPy's numbers are registered as these
        return float(value) if math.isfinite(value) else None
    return str(value)


def render(scores: Scores, context: ReportContext) -> str:
    """Return the page as HTML."""
    ranked = sorted(scores.per_genre, key=lambda genre: -genre.support)
    return pages.render(
        "report.html",
        s=scores,
        c=context,
        ranked=[genre for genre in ranked if genre.support],
        absent=[genre for genre in ranked if not genre.support],
        matrix=_matrix(scores),
        confusions=_confusions(scores),
        half=min(scores.coverage, key=lambda point: abs(point.coverage - 0.5)),
        target=None if context.target_accuracy is None else target(scores, context.target_accuracy),
        guess_loss=math.log(len(scores.genres)),
        curves={name: Markup(svg) for name, svg in _curves(scores, context).items()},
        **shared_values(context, scores.n),
    )


def shared_values(context: ReportContext, n_scored: int) -> dict[str, Any]:
    """Return what every report's page needs of the context."""
    return {
        "few": _FEW_TRACKS,
        "seconds": _duration(context.history),
        "statuses": status_rows(context.statuses),
        "unscored": context.statuses.get(Status.OK, n_scored) - n_scored,
        "failures": context.failures[:_SHOWN_FAILURES],
        "settings": {owner: flat(values) for owner, values in context.settings.items() if values},
    }


def _curves(scores: Scores, context: ReportContext) -> dict[str, str]:
    curves = {
        "reliability": plots.reliability_diagram(scores),
        "coverage": plots.coverage_curve(scores, context.target_accuracy),
    }
    if context.history:
        for quantity in ("loss", "accuracy"):
            curves[quantity] = plots.training_curve(context.history, quantity, context.best_epoch)
    return curves


def _matrix(scores: Scores) -> dict[str, Any]:
    """Return the confusion matrix by falling support, each row's counts with their share of the row.

    Genres that have no tracks and were never predicted are left out, those past the limit summed to one.
    """
    seen = [i for i, genre in enumerate(scores.per_genre) if genre.support or genre.predicted]
    seen.sort(key=lambda i: -scores.per_genre[i].support)
    groups = [[i] for i in seen]
    if len(seen) > _MATRIX_GENRES:
        groups = [[i] for i in seen[: _MATRIX_GENRES - 1]] + [seen[_MATRIX_GENRES - 1 :]]
    names = [scores.genres[g[0]] if len(g) == 1 else f"{len(g)} rarer genres" for g in groups]
    rows = []
    for name, group in zip(names, groups, strict=True):
        counts = [sum(scores.confusion[i][j] for i in group for j in others) for others in groups]
        total = sum(counts)
        cells = [{"count": count, "share": count / total if total else 0.0} for count in counts]
        rows.append({"genre": name, "total": total, "cells": cells})
    return {
        "genres": names,
        "rows": rows,
        "roomy": len(names) <= _ROOMY_GENRES,
        "dense": len(names) > _DENSE_GENRES,
        "summed": len(groups[-1]) > 1,
    }


def _confusions(scores: Scores) -> list[dict[str, Any]]:
    """Return the commonest mistakes: this genre called that one."""
    pairs: list[dict[str, Any]] = [
        {
            "true": scores.genres[i],
            "predicted": scores.genres[j],
            "count": count,
            "share": count / scores.per_genre[i].support,
        }
        for i, row in enumerate(scores.confusion)
        for j, count in enumerate(row)
        if i != j and count
    ]
    return sorted(pairs, key=lambda pair: -pair["count"])[:_SHOWN_CONFUSIONS]


def status_rows(statuses: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return the statuses that occur in the order of Status, then any that this version does not know."""
    names = [*Status, *sorted(set(statuses) - set(Status))]
    return [
        {"status": str(name), "tracks": statuses[name], "meaning": _MEANING.get(name, "")}
        for name in names
        if statuses.get(name)
    ]


def flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return (dotted name, value as text) of every setting, nested ones too."""
    rows: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            rows += flat(value, f"{prefix}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(_plain(value), ensure_ascii=False)
            rows.append((f"{prefix}{name}", text))
    return rows


def _duration(history: Sequence[Mapping[str, Any]]) -> str:
    """Return the time that all epochs took together, empty where it is not known for each."""
    seconds = [epoch.get("seconds") for epoch in history]
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in seconds):
        return ""
    total = round(sum(value for value in seconds if value))
    hours, minutes = divmod(round(total / 60), 60)
    if total < 120:
        return f"{total} s"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
