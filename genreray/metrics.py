"""How good a classifier is: what `evaluate` computes from probabilities and labels, and nothing else."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]
Counts = Floats | Ints

TOP_K = 3
N_BINS = 15  # Guo et al. (2017), section 4
_COVERAGE_POINTS = 100
_CONFIDENCE_LEVEL = 0.95


@dataclass(frozen=True)
class GenreScore:
    """How one genre fares; a ratio over nothing (no tracks, never predicted) is 0, as in scikit-learn."""

    genre: str
    support: int  # tracks of this genre
    predicted: int  # tracks that were called this genre
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class CalibrationBin:
    """The tracks whose confidence is in (low, high]; both means are None where there are none."""

    low: float
    high: float
    tracks: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class CoveragePoint:
    """What labelling only the tracks with at least this confidence gives."""

    threshold: float
    coverage: float  # the share of the tracks that are labelled
    accuracy: float  # among those


@dataclass(frozen=True)
class Scores:
    """Everything measured of one model on one set of tracks; intervals are 95 % bootstrap intervals."""

    n: int
    genres: tuple[str, ...]
    accuracy: float
    accuracy_interval: tuple[float, float]
    macro_f1: float
    macro_f1_interval: tuple[float, float]
    log_loss: float
    top3_accuracy: float | None  # None below four genres, where three guesses leave next to nothing out
    calibration_error: float
    majority_genre: str
    majority_share: float
    per_genre: tuple[GenreScore, ...]
    confusion: tuple[tuple[int, ...], ...]  # [true genre][predicted genre], both in class order
    calibration: tuple[CalibrationBin, ...]
    coverage: tuple[CoveragePoint, ...]

    def headline(self) -> dict[str, Any]:
        """Return the numbers to be looked at first."""
        return {
            "accuracy": self.accuracy,
            "accuracy_95": list(self.accuracy_interval),
            "majority": self.majority_share,
            "macro_f1": self.macro_f1,
            "log_loss": self.log_loss,
        }

    def at_accuracy(self, wanted: float) -> CoveragePoint | None:
        """Return the point of `coverage` that labels most of those with an accuracy of `wanted` or more, if any has.

        What labelling only the surest costs and gives: selective classification (Geifman and El-Yaniv 2017). The
        threshold is chosen on these tracks, on which its accuracy is the best of many looks.
        """
        reached = [point for point in self.coverage if point.accuracy >= wanted]
        return max(reached, key=lambda point: point.coverage, default=None)

    def to_json(self) -> dict[str, Any]:
        """Return plain dicts, lists and numbers, none of them NaN."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self), allow_nan=False))
        return plain


def evaluate(
    probabilities: Floats, labels: Ints, genres: Sequence[str], *, resamples: int = 2000, seed: int = 0
) -> Scores:
    """Measure `probabilities`, float [n, n_classes], against `labels`, int [n], classes named by `genres`.

    A track's prediction is its most probable class, the first of equals. Macro F1 is the mean over the genres
    that `labels` hold: that set depends on the test set alone, so that models compare, and a genre without
    tracks has no F1 to be averaged (a track wrongly called it still costs its own genre recall). The
    intervals resample the tracks `resamples` times from `seed`.

    Raises ValueError for no tracks, shapes that do not agree, or rows that are not distributions.
    """
    _check(probabilities, labels, len(genres))
    predictions = probabilities.argmax(axis=1)
    confidence = np.clip(probabilities.max(axis=1).astype(np.float64), 0.0, 1.0)
    correct = predictions == labels
    confusion = _confusion_matrix(labels, predictions, len(genres))
    support = confusion.sum(axis=1)
    accuracies, macro_f1s = _bootstrap(confusion, resamples, seed)
    bins = _calibration(confidence, correct)
    return Scores(
        n=len(labels),
        genres=tuple(genres),
        accuracy=float(correct.mean()),
        accuracy_interval=_interval(accuracies),
        macro_f1=float(_macro_f1(np.diagonal(confusion), support, confusion.sum(axis=0))),
        macro_f1_interval=_interval(macro_f1s),
        log_loss=_log_loss(probabilities, labels),
        top3_accuracy=_top_k_accuracy(probabilities, labels, TOP_K) if len(genres) > TOP_K else None,
        calibration_error=_calibration_error(bins),
        majority_genre=genres[int(support.argmax())],
        majority_share=float(support.max() / len(labels)),
        per_genre=_per_genre(confusion, genres),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        calibration=bins,
        coverage=_coverage(confidence, correct),
    )


def _check(probabilities: Floats, labels: Ints, n_classes: int) -> None:
    if len(labels) == 0:
        raise ValueError("there are no tracks to evaluate")
    if probabilities.shape != (len(labels), n_classes):
        raise ValueError(
            f"probabilities have shape {probabilities.shape}, but there are {len(labels)} labels and {n_classes} genres"
        )
    if labels.min() < 0 or labels.max() >= n_classes:
        raise ValueError(f"labels must be from 0 to {n_classes - 1}, not {labels.min()} to {labels.max()}")
    # Loose enough for half precision, tight enough to refuse logits; NaN fails it too.
    sums = probabilities.sum(axis=1, dtype=np.float64)
    if not (np.all(probabilities >= 0) and np.allclose(sums, 1, rtol=0, atol=0.01)):
        raise ValueError("every row of probabilities must be a distribution: not negative, with the sum 1")


def _confusion_matrix(labels: Ints, predictions: Ints, n_classes: int) -> npt.NDArray[np.int64]:
    """Return counts [true, predicted]."""
    cells = labels.astype(np.int64) * n_classes + predictions
    return np.bincount(cells, minlength=n_classes**2).reshape(n_classes, n_classes)


def _ratio(numerator: Counts, denominator: Counts) -> npt.NDArray[np.float64]:
    """Divide, with 0 over 0 as 0."""
    return np.divide(numerator, denominator, out=np.zeros(np.shape(numerator)), where=np.asarray(denominator) > 0)


def _macro_f1(hits: Counts, support: Counts, predicted: Counts) -> npt.NDArray[np.float64]:
    """Return the mean F1 = 2 TP / (2 TP + FP + FN) of the classes with support; counts are [..., class]."""
    f1 = _ratio(2 * hits, support + predicted)
    mean: npt.NDArray[np.float64] = np.mean(f1, axis=-1, where=support > 0)
    return mean


def _bootstrap(confusion: Ints, resamples: int, seed: int) -> tuple[Floats, Floats]:
    """Return accuracy and macro F1, [resamples] each, of tracks drawn with replacement.

    Both depend on the tracks through the confusion matrix alone, and drawing n of n tracks with replacement
    draws its cells from a multinomial distribution: the same bootstrap, at a cost of the cells, not of n.
    A resample's macro F1 is the mean over the genres that it holds: the estimator itself.
    """
    n, n_classes = int(confusion.sum()), len(confusion)
    true, predicted = np.nonzero(confusion)
    cells = confusion[true, predicted]
    counts = np.random.default_rng(seed).multinomial(n, cells / n, size=resamples).astype(np.float64)
    one_hot = np.eye(n_classes)
    hits = counts * (true == predicted) @ one_hot[true]
    macro_f1s = _macro_f1(hits, counts @ one_hot[true], counts @ one_hot[predicted])
    return hits.sum(axis=1) / n, macro_f1s


def _interval(samples: Floats) -> tuple[float, float]:
    tail = (1 - _CONFIDENCE_LEVEL) / 2
    low, high = np.quantile(samples, [tail, 1 - tail])
    return float(low), float(high)


def _log_loss(probabilities: Floats, labels: Ints) -> float:
    """Return the mean -log p(label), with p clipped to [eps, 1 - eps] of its type as scikit-learn does."""
    eps = np.finfo(probabilities.dtype).eps
    p = np.clip(probabilities[np.arange(len(labels)), labels], eps, 1 - eps)
    return float(-np.log(p, dtype=np.float64).mean())


def _top_k_accuracy(probabilities: Floats, labels: Ints, k: int) -> float:
    """Return the share of labels among the k most probable classes, the first of equals first."""
    own = probabilities[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(probabilities.shape[1]) < labels[:, None]
    rank = np.sum((probabilities > own) | ((probabilities == own) & earlier), axis=1)
    return float(np.mean(rank < k))


def _calibration(confidence: Floats, correct: npt.NDArray[np.bool_]) -> tuple[CalibrationBin, ...]:
    """Return the tracks in `N_BINS` equal-width bins (low, high] of confidence, as Guo et al. (2017)."""
    edges = np.linspace(0, 1, N_BINS + 1)
    index = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, N_BINS - 1)
    tracks = np.bincount(index, minlength=N_BINS)
    means = _ratio(np.bincount(index, confidence, N_BINS), tracks).tolist()
    accuracies = _ratio(np.bincount(index, correct, N_BINS), tracks).tolist()
    return tuple(
        CalibrationBin(
            float(edges[i]),
            float(edges[i + 1]),
            int(tracks[i]),
            means[i] if tracks[i] else None,
            accuracies[i] if tracks[i] else None,
        )
        for i in range(N_BINS)
    )


def _calibration_error(bins: Sequence[CalibrationBin]) -> float:
    """Return the expected calibration error, Guo et al. (2017), equation 3: the mean gap, by tracks."""
    n = sum(bin.tracks for bin in bins)
    return sum(
        bin.tracks / n * abs(bin.accuracy - bin.confidence)
        for bin in bins
        if bin.accuracy is not None and bin.confidence is not None
    )


def macro_f1(probabilities: Floats, labels: Ints) -> float:
    """Return the mean F1 over the genres of `labels`, [n], where the most probable of [n, n_classes] is called."""
    confusion = _confusion_matrix(labels, probabilities.argmax(axis=1), probabilities.shape[1])
    return float(_macro_f1(np.diagonal(confusion), confusion.sum(axis=1), confusion.sum(axis=0)))


def calibration_error(probabilities: Floats, labels: Ints) -> float:
    """Return the expected calibration error (Guo et al. 2017) of `probabilities`, [n, n_classes], for labels [n]."""
    confidence = np.clip(probabilities.max(axis=1).astype(np.float64), 0.0, 1.0)
    return _calibration_error(_calibration(confidence, probabilities.argmax(axis=1) == labels))


def _coverage(confidence: Floats, correct: npt.NDArray[np.bool_]) -> tuple[CoveragePoint, ...]:
    """Return accuracy against coverage, surest tracks first, thinned to about a hundred points."""
    order = np.argsort(-confidence, kind="stable")
    confidence, hits = confidence[order], np.cumsum(correct[order])
    # No threshold parts tracks of equal confidence: only the last of them is a point.
    last = np.flatnonzero(np.diff(confidence, append=-1.0) < 0)
    if len(last) > _COVERAGE_POINTS:
        wanted = np.ceil(np.linspace(0, 1, _COVERAGE_POINTS + 1)[1:] * len(confidence)) - 1
        last = np.unique(last[np.searchsorted(last, wanted)])
    n = len(confidence)
    return tuple(CoveragePoint(float(confidence[i]), float((i + 1) / n), float(hits[i] / (i + 1))) for i in last)


def _per_genre(confusion: Ints, genres: Sequence[str]) -> tuple[GenreScore, ...]:
    hits, support, predicted = np.diagonal(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    precision, recall = _ratio(hits, predicted).tolist(), _ratio(hits, support).tolist()
    f1 = _ratio(2 * hits, support + predicted).tolist()
    return tuple(
        GenreScore(genre, int(support[i]), int(predicted[i]), precision[i], recall[i], f1[i])
        for i, genre in enumerate(genres)
    )
