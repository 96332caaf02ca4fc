"""What an epoch's validation says: losses before and after a temperature, and how good the answers are."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from genreray import calibration, multilabel_metrics, thresholds
from genreray.hierarchy import Hierarchy, probabilities
from genreray.metrics import calibration_error, macro_f1
from genreray.selection import SCORE


class Validated(NamedTuple):
    """What goes into the history, and of several genres a track the thresholds, [n_genres]."""

    entry: dict[str, float]
    thresholds: NDArray[np.float64] | None = None


def validate(logits: Tensor, labels: Tensor, hierarchy: Hierarchy | None) -> Validated:
    """Return what crop logits, [n, crops, n_genres], say of the clips' labels: see `dataset.Clips`."""
    return Validated(_of_one_genre(logits, labels)) if hierarchy is None else _of_several(logits, labels, hierarchy)


def _of_one_genre(logits: Tensor, labels: Tensor) -> dict[str, float]:
    temperature = calibration.fit_temperature(logits, labels)
    before, after = (((logits / t).softmax(2).mean(1)).double().numpy() for t in (1.0, temperature))
    truth = labels.numpy()
    return {
        "validation_loss": calibration.log_loss(logits.double().numpy(), truth),
        "validation_accuracy": float((before.argmax(1) == truth).mean()),
        "validation_macro_f1": macro_f1(before, truth),
        SCORE: calibration.log_loss(logits.double().numpy() / temperature, truth),
        "temperature": temperature,
        "calibration_error_before": calibration_error(before, truth),
        "calibration_error_after": calibration_error(after, truth),
    }


def _of_several(logits: Tensor, labels: Tensor, hierarchy: Hierarchy) -> Validated:
    coherent, truth = hierarchy(logits), labels.numpy()
    temperature = calibration.fit_binary_temperature(coherent, labels)
    found = probabilities(logits, hierarchy, temperature).numpy()
    scores = coherent.double().numpy()
    if not np.isfinite(found).all():  # scikit-learn would raise; the history says that the run has diverged
        return Validated(dict.fromkeys(("validation_loss", SCORE), np.nan), np.full(len(hierarchy.parents), np.nan))
    entry = {
        "validation_loss": calibration.binary_log_loss(scores, truth),
        "validation_mean_average_precision": multilabel_metrics.mean_average_precision(found, truth),
        SCORE: calibration.binary_log_loss(scores / temperature, truth),
        "temperature": temperature,
    }
    return Validated(entry, thresholds.fit(found, truth, hierarchy))
