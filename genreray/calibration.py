"""Temperature scaling: one number that makes a network's probabilities as sure as they are right."""

import math
from collections.abc import Callable

import numpy as np
import scipy.optimize
import scipy.special
from numpy.typing import NDArray
from torch import Tensor

from genreray.dataset import NO_LABEL

_LOWEST, _HIGHEST = 0.05, 20.0


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Return the temperature T of the lowest log loss of the mean over crops of softmax(logits / T).

    logits: float [n, crops, n_genres], of the validation clips; labels: int64 [n], NO_LABEL where unknown. T lies
    between 0.05 and 20 (Guo et al. 2017, who have one crop). It is 1 where the labels do not settle it: there are
    none, no T does better than 1, or sharper is always better, as where every clip is right.
    """
    known = labels != NO_LABEL
    scores = logits[known].detach().cpu().double().numpy()
    truth = labels[known].cpu().numpy()
    return _lowest(lambda temperature: log_loss(scores / temperature, truth)) if len(truth) else 1.0


def fit_binary_temperature(logits: Tensor, labels: Tensor) -> float:
    """Return what `fit_temperature` does for several genres a clip: by the lowest binary cross entropy.

    logits: float [n, crops, n_genres], coherent ones, which they stay when divided; labels: bool [n, n_genres].
    """
    scores, truth = logits.detach().cpu().double().numpy(), labels.cpu().numpy()
    return _lowest(lambda temperature: binary_log_loss(scores / temperature, truth)) if len(truth) else 1.0


def _lowest(loss_at: Callable[[float], float]) -> float:
    """Return the temperature of the lowest loss, 1 where the labels do not settle it."""

    def loss(log_temperature: float) -> float:
        return loss_at(math.exp(log_temperature))

    # A mean over crops may have several minima: the lowest of a grid is where to look closer.
    grid = np.linspace(math.log(_LOWEST), math.log(_HIGHEST), 25)
    losses = [loss(place) for place in grid]
    best = int(np.argmin(losses))
    around = (grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)])
    found = scipy.optimize.minimize_scalar(loss, bounds=around, method="bounded", options={"xatol": 1e-4})
    settled = found.fun < loss(0.0) and found.fun < losses[0]
    return math.exp(found.x) if settled else 1.0


def log_loss(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Return the mean negative log-likelihood of labels [n] where crops [n, crops, n_genres] are averaged."""
    log_p = scipy.special.log_softmax(logits, axis=2)[np.arange(len(labels)), :, labels]  # [n, crops]
    return float(-(scipy.special.logsumexp(log_p, axis=1) - math.log(logits.shape[1])).mean())


def binary_log_loss(logits: NDArray[np.float64], labels: NDArray[np.bool_]) -> float:
    """Return the mean binary cross entropy of labels [n, n_genres] where crops [n, crops, n_genres] are averaged."""
    log_p = scipy.special.log_expit(np.where(labels[:, None], logits, -logits))
    return float(-(scipy.special.logsumexp(log_p, axis=1) - math.log(logits.shape[1])).mean())
