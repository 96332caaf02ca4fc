"""What is selected by: the best epoch of a training, and the best trial of a search."""

import difflib
from collections.abc import Mapping
from typing import Literal

from genreray.errors import UserError

Direction = Literal["min", "max"]
SCORE = "calibrated_loss"  # what the best epoch has the lowest of
# What a search may select by, each as in the epoch whose weights are kept.
METRICS: Mapping[str, Direction] = {
    SCORE: "min",
    "validation_loss": "min",
    "validation_accuracy": "max",
    "validation_macro_f1": "max",
    "validation_mean_average_precision": "max",
}


def direction(metric: str) -> Direction:
    """Return whether less or more of a metric is better; raises UserError where there is no such metric."""
    if metric not in METRICS:
        (nearest,) = difflib.get_close_matches(metric, METRICS, n=1, cutoff=0)
        raise UserError(f"there is no metric {metric!r}, the nearest is {nearest}: give one of {', '.join(METRICS)}")
    return METRICS[metric]
