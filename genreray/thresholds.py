"""Which genres a track is given: going down the tree, those whose probabilities reach thresholds of their own."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from genreray.hierarchy import Hierarchy

UNKNOWN = 0.5  # the threshold of a genre that validation says nothing about

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]


def fit(probabilities: Floats, labels: Bools, hierarchy: Hierarchy) -> NDArray[np.float64]:
    """Return each genre's threshold, float64 [n_genres], from probabilities and labels of tracks, [n, n_genres].

    It is the one of the highest F1 of what `decide` then gives: of a genre below another, on the tracks that are
    given that one. Thresholds lie half way between two neighbouring probabilities; of equally good ones the highest
    is taken. Where no such track has the genre it is `UNKNOWN`.
    """
    thresholds = np.full(probabilities.shape[1], UNKNOWN)
    decided = np.ones(probabilities.shape, dtype=bool)
    for genre in hierarchy.from_above():
        parent = hierarchy.parents[genre]
        asked = decided[:, parent] if parent >= 0 else np.ones(len(labels), dtype=bool)
        p, truth = probabilities[:, genre].astype(np.float64), labels[:, genre]
        if truth[asked].any():
            thresholds[genre] = _best(p[asked], truth[asked], int(truth.sum()))
        decided[:, genre] = asked & (p >= thresholds[genre])
    return thresholds


def decide(probabilities: Floats, thresholds: Floats, hierarchy: Hierarchy) -> Bools:
    """Return which genres each track is given, bool [n, n_genres]: those that reach their thresholds, as do all above.

    So whatever is above a genre that is given is given too. The other way to have that, to bring in what is above
    each genre that reaches its threshold, lets rare genres, whose thresholds are low, overrule those of frequent ones.
    """
    decided = probabilities >= thresholds
    for genre in hierarchy.from_above():
        parent = hierarchy.parents[genre]
        if parent >= 0:
            decided[:, genre] &= decided[:, parent]
    return decided


def _best(p: Floats, truth: Bools, support: int) -> float:
    """Return the threshold on p, [n], of the highest F1 against `truth`, [n]; `support`: tracks of the genre in all."""
    order = np.argsort(-p, kind="stable")
    falling = p[order]
    cuts = np.flatnonzero(np.diff(falling, append=-np.inf))  # ends of runs of equal ones, which no threshold parts
    f1 = 2 * np.cumsum(truth[order])[cuts] / (cuts + 1 + support)
    best = int(f1.argmax())  # the first of equals, that of the highest threshold
    below = falling[cuts[best + 1]] if best + 1 < len(cuts) else 0.0
    return float((falling[cuts[best]] + below) / 2)
