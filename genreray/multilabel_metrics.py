"""How good a classifier of several genres a track is: average precision, ROC-AUC, and what its thresholds give."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

# sklearn.metrics is imported where it is used: it takes a second and 40 MB of every process that trains, and those that
# learn one genre a track do without it.

Floats = npt.NDArray[np.floating[Any]]
Bools = npt.NDArray[np.bool_]

_CONFIDENCE_LEVEL = 0.95
_AT_ONCE = 100  # resamples that are held in memory


@dataclass(frozen=True)
class GenreScore:
    """How one genre fares; a ratio over nothing is 0, and what cannot be told without tracks of it is None."""

    genre: str
    support: int  # tracks of this genre
    predicted: int  # tracks that were given this genre
    average_precision: float | None
    roc_auc: float | None  # None also where every track is of this genre
    threshold: float
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class MultiLabelScores:
    """Everything measured of one model on one set of tracks; the interval is a 95 % bootstrap interval."""

    n: int
    genres: tuple[str, ...]
    mean_average_precision: float  # over the genres that have tracks
    mean_average_precision_interval: tuple[float, float]
    mean_share: float  # of those genres among the tracks: the average precision of an order by chance
    micro_average_precision: float  # of all pairs of track and genre in one order
    roc_auc: float | None  # the mean over the genres that have one
    macro_f1: float  # over the genres that have tracks
    micro_f1: float
    log_loss: float  # the mean binary cross entropy
    genres_per_track: float
    predicted_per_track: float
    per_genre: tuple[GenreScore, ...]

    def headline(self) -> dict[str, Any]:
        """Return the numbers to be looked at first."""
        return {
            "mean_average_precision": self.mean_average_precision,
            "mean_average_precision_95": list(self.mean_average_precision_interval),
            "by_chance": self.mean_share,
            "micro_average_precision": self.micro_average_precision,
            **({} if self.roc_auc is None else {"roc_auc": self.roc_auc}),
            "macro_f1": self.macro_f1,
            "log_loss": self.log_loss,
            "genres_per_track": self.genres_per_track,
            "predicted_per_track": self.predicted_per_track,
        }

    def to_json(self) -> dict[str, Any]:
        """Return plain dicts, lists and numbers, none of them NaN."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self), allow_nan=False))
        return plain


def evaluate(
    probabilities: Floats,
    labels: Bools,
    decided: Bools,
    thresholds: Sequence[float],
    genres: Sequence[str],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> MultiLabelScores:
    """Measure probabilities, and genres `decided` by thresholds, against labels, each [n, n_genres].

    Averages over genres are over those that `labels` hold, which depend on the tracks alone, so that models compare.
    Average precision is the sum of precisions at each step in recall (not interpolated), as in scikit-learn. For the
    interval the tracks are drawn anew `resamples` times from `seed`.

    Raises ValueError for no tracks, shapes that do not agree, what is no probability, or no genre with a track.
    """
    from sklearn.metrics import average_precision_score, f1_score

    _check(probabilities, labels, decided, genres)
    there = labels.any(axis=0)
    per_genre = _per_genre(probabilities, labels, decided, thresholds, genres)
    areas = [genre.roc_auc for genre in per_genre if genre.roc_auc is not None]
    mean_precision = mean_average_precision(probabilities, labels)
    means = _resampled(probabilities, labels, resamples, seed)
    return MultiLabelScores(
        n=len(labels),
        genres=tuple(genres),
        mean_average_precision=mean_precision,
        mean_average_precision_interval=_interval(mean_precision, means),
        mean_share=float(labels[:, there].mean()),
        micro_average_precision=float(average_precision_score(labels, probabilities, average="micro")),
        roc_auc=float(np.mean(areas)) if areas else None,
        macro_f1=float(np.mean([genre.f1 for genre in per_genre if genre.support])),
        micro_f1=float(f1_score(labels, decided, average="micro", zero_division=0)),
        log_loss=_log_loss(probabilities, labels),
        genres_per_track=float(labels.sum(axis=1).mean()),
        predicted_per_track=float(decided.sum(axis=1).mean()),
        per_genre=per_genre,
    )


def mean_average_precision(probabilities: Floats, labels: Bools) -> float:
    """Return the mean over the genres that have tracks of their average precisions; both are [n, n_genres]."""
    from sklearn.metrics import average_precision_score

    there = labels.any(axis=0)
    return float(average_precision_score(labels[:, there], probabilities[:, there], average="macro"))


def _check(probabilities: Floats, labels: Bools, decided: Bools, genres: Sequence[str]) -> None:
    if len(labels) == 0:
        raise ValueError("there are no tracks to evaluate")
    if not probabilities.shape == labels.shape == decided.shape == (len(labels), len(genres)):
        raise ValueError(
            f"shapes do not agree: probabilities {probabilities.shape}, labels {labels.shape}, decided {decided.shape},"
            f" {len(genres)} genres"
        )
    if not (np.all(probabilities >= 0) and np.all(probabilities <= 1)):  # which NaN fails, too
        raise ValueError("every probability must be from 0 to 1")
    if not labels.any():
        raise ValueError("no track has any of the genres")


def _per_genre(
    probabilities: Floats, labels: Bools, decided: Bools, thresholds: Sequence[float], genres: Sequence[str]
) -> tuple[GenreScore, ...]:
    from sklearn.metrics import average_precision_score, precision_recall_fscore_support, roc_auc_score

    support, predicted = labels.sum(axis=0), decided.sum(axis=0)
    precision, recall, f1, _ = precision_recall_fscore_support(labels, decided, average=None, zero_division=0)
    found = []
    for i, genre in enumerate(genres):
        truth, p = labels[:, i], probabilities[:, i]
        found.append(
            GenreScore(
                genre=genre,
                support=int(support[i]),
                predicted=int(predicted[i]),
                average_precision=float(average_precision_score(truth, p)) if support[i] else None,
                roc_auc=float(roc_auc_score(truth, p)) if 0 < support[i] < len(truth) else None,
                threshold=float(thresholds[i]),
                precision=float(precision[i]),
                recall=float(recall[i]),
                f1=float(f1[i]),
            )
        )
    return tuple(found)


def _interval(mean_precision: float, means: Floats) -> tuple[float, float]:
    """Return the interval of the resampled means, moved so that their own mean is on the score.

    Where a rare genre's few tracks are drawn several times, they come together in the order, which raises its average
    precision: resamples are wide as the score is uncertain, but lie too high, of many rare genres all above it.
    """
    tail = (1 - _CONFIDENCE_LEVEL) / 2
    low, high = np.clip(mean_precision + np.quantile(means, [tail, 1 - tail]) - means.mean(), 0, 1)
    return float(low), float(high)


def _log_loss(probabilities: Floats, labels: Bools) -> float:
    """Return the mean binary cross entropy, with probabilities clipped to [eps, 1 - eps] of their type."""
    eps = np.finfo(probabilities.dtype).eps
    p = np.clip(np.where(labels, probabilities, 1 - probabilities), eps, 1 - eps)
    return float(-np.log(p, dtype=np.float64).mean())


def _resampled(probabilities: Floats, labels: Bools, resamples: int, seed: int) -> npt.NDArray[np.float64]:
    """Return the mean average precision, [resamples], of tracks drawn with replacement.

    A resample is how often each track was drawn, and its mean is over the genres that it holds: the estimator itself.
    """
    rng, n = np.random.default_rng(seed), len(labels)
    means = []
    for start in range(0, resamples, _AT_ONCE):
        drawn = rng.multinomial(n, np.full(n, 1 / n), size=min(_AT_ONCE, resamples - start)).astype(np.float32)
        total, held = np.zeros(len(drawn)), np.zeros(len(drawn))
        for i in np.flatnonzero(labels.any(axis=0)):
            precision = weighted_average_precision(probabilities[:, i], labels[:, i], drawn)
            total += np.nan_to_num(precision)
            held += np.isfinite(precision)
        means.append(total / np.maximum(held, 1))
    return np.concatenate(means)


def weighted_average_precision(probabilities: Floats, labels: Bools, weights: Floats) -> npt.NDArray[np.float64]:
    """Return the average precision for each row of track weights [m, n], NaN where no track with weight has the label.

    What scikit-learn's gives with sample_weight, for many weights in one go; probabilities and labels are [n].
    """
    order = np.argsort(-probabilities, kind="stable")
    falling, truth = probabilities[order], np.flatnonzero(labels[order])
    # Tracks of equal probability come together: a precision is that at the last of them.
    last = np.searchsorted(-falling, -falling[truth], side="right") - 1
    called = np.cumsum(weights[:, order], axis=1, dtype=np.float64)[:, last]  # [m, tracks with the label]
    own = weights[:, order[truth]].astype(np.float64)
    hits = np.cumsum(own, axis=1)[:, np.searchsorted(truth, last, side="right") - 1]
    precision = np.divide(hits, called, out=np.zeros_like(hits), where=called > 0)
    support = own.sum(axis=1)
    mean: npt.NDArray[np.float64] = np.full(len(own), np.nan)
    np.divide((own * precision).sum(axis=1), support, out=mean, where=support > 0)
    return mean
