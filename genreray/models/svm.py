"""svm: a support vector machine on the statistics of a clip's MFCC, fitted by scikit-learn and computed by torch."""

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genreray.dimensions import Choice, LogUniform, Space
from genreray.errors import UserError
from genreray.features import FeatureConfig
from genreray.models.base import Family
from genreray.models.fitted import ABSENT, ClassWeight, Fitted, FittedConfig
from genreray.recipe import TrainingConfig

_ROWS = 256  # clips whose kernel is held at a time, float64 [_ROWS, n_support]
_LIFT = 1e-3  # by which the logit of the winner of a tie is the highest


@dataclasses.dataclass(frozen=True)
class SvmConfig(FittedConfig):
    """Settings of svm, scikit-learn's of the same names."""

    C: float = 3.0
    """Cost of a training clip on the wrong side of a margin: the higher, the less regularised."""
    gamma: float = 0.0
    """Factor of the squared distance in the kernel exp(-gamma d^2); 0 takes 1 / (n_statistics * their variance)."""
    class_weight: ClassWeight = "none"
    """Multiply C by the inverse share of a clip's genre (balanced), or not."""
    break_ties: bool = False
    """Let confidence decide between genres of equally many votes; else the first of them wins, as in libsvm."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.C < float("inf"):
            raise UserError(f"C is {self.C}: give a number above 0")
        if not 0 <= self.gamma < float("inf"):
            raise UserError(f"gamma is {self.gamma}: give a number above 0, or 0 to have it from the data")


class Svm(Fitted):
    """One machine with a radial kernel for each two genres, on standardised statistics.

    The logits are scikit-learn's one-vs-rest decision values: how many of its machines a genre wins, and a share of
    a vote from how clearly. The highest is that of the genre that SVC.predict gives: without `break_ties` the first
    of several with as many votes is raised above the others. Of two genres the logits are half the one decision
    value, negative and positive. Their scale is that of votes, not of log probabilities: temperature scaling on the
    validation split makes it one.
    """

    support_vectors: Tensor  # [n_support, n_statistics], those of the first class first
    dual_coefficients: Tensor  # [n_classes - 1, n_support], as libsvm orders them
    intercepts: Tensor  # [n_classes * (n_classes - 1) / 2], of classes (0, 1), (0, 2) ... (1, 2) ...
    n_support: Tensor  # [n_genres], support vectors of each; the classes are the genres that have any
    gamma: Tensor

    def __init__(self, config: SvmConfig, features: FeatureConfig, crop_frames: int, n_genres: int) -> None:
        super().__init__(features, n_genres)
        self.config = config
        self.declare("support_vectors", torch.float32, None, self.embedding_size)
        self.declare("dual_coefficients", torch.float64, None, None)
        self.declare("intercepts", torch.float64, None)
        self.declare("n_support", torch.int64, n_genres)
        self.declare("gamma", torch.float64)

    def learn(self, stats: Tensor, labels: NDArray[np.int64], seed: int) -> None:
        """Fit by scikit-learn, whose solver draws nothing.

        Raises UserError for clips of a single genre.
        """
        from sklearn.svm import SVC  # here, as those who only predict do without it

        if len(np.unique(labels)) < 2:
            raise UserError("all training clips are of one genre: svm needs two at least")
        x = self.embed({"mfcc_stats": stats}).cpu().numpy()
        variance = float(x.var(dtype=np.float64))
        gamma = self.config.gamma or 1 / (x.shape[1] * (variance or 1.0))
        weight = None if self.config.class_weight == "none" else "balanced"
        svc = SVC(C=self.config.C, gamma=gamma, class_weight=weight, cache_size=1000).fit(x, labels)
        # For two classes scikit-learn turns libsvm's signs round, so that the second is positive.
        sign = -1 if len(svc.classes_) == 2 else 1
        n_support = np.zeros(self.n_genres, np.int64)
        n_support[svc.classes_] = svc.n_support_
        self.keep(
            support_vectors=svc.support_vectors_,
            dual_coefficients=sign * svc.dual_coef_,
            intercepts=sign * svc.intercept_,
            n_support=n_support,
            gamma=gamma,
        )

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """Map {"mfcc_stats": float32 [n, 7, n_mfcc]} to logits [n, n_genres]."""
        x = self.embed(inputs).double()
        decisions = torch.cat([self._decisions(rows) for rows in x.split(_ROWS)])
        classes = self.n_support.nonzero()[:, 0]
        scores = _one_vs_rest(decisions, len(classes), self.config.break_ties)
        logits = torch.full((len(x), self.n_genres), ABSENT, device=x.device)
        logits[:, classes] = scores.float()
        return logits

    def _decisions(self, x: Tensor) -> Tensor:
        """Return the decision of each machine, float64 [n, n_pairs], positive for the first class of its two."""
        vectors = self.support_vectors.double()
        squares = x.square().sum(1)[:, None] + vectors.square().sum(1)[None, :] - 2 * x @ vectors.T
        kernel = torch.exp(-self.gamma * squares.clamp(min=0))  # [n, n_support]
        sizes = self.n_support[self.n_support > 0].tolist()
        # A class's support vectors have a coefficient for each other class, in order: no place for its own.
        sums = [k @ c.T for k, c in zip(kernel.split(sizes, 1), self.dual_coefficients.split(sizes, 1), strict=True)]
        pairs = torch.combinations(torch.arange(len(sizes))).tolist()
        return torch.stack([sums[i][:, j - 1] + sums[j][:, i] for i, j in pairs], 1) + self.intercepts


def _one_vs_rest(decisions: Tensor, n_classes: int, break_ties: bool) -> Tensor:
    """Return each class's votes and confidence, [n, n_classes], from decisions between every two, [n, n_pairs].

    scikit-learn's formula: sums of decisions c are taken to c / (3 (|c| + 1)), less than a third of a vote.
    """
    if n_classes == 2:
        return torch.cat([decisions, -decisions], 1) / 2
    pairs = torch.combinations(torch.arange(n_classes, device=decisions.device))
    first, second = (torch.nn.functional.one_hot(side, n_classes).double() for side in pairs.unbind(1))
    wins = (decisions >= 0).double()
    votes = wins @ first + (1 - wins) @ second
    confidence = decisions @ (first - second)
    scores = votes + confidence / (3 * (confidence.abs() + 1))
    if break_ties:
        return scores
    winner = votes.argmax(1, keepdim=True)
    best = scores.amax(1, keepdim=True)
    return scores.scatter(1, winner, torch.where(scores.gather(1, winner) < best, best + _LIFT, best))


SPACE: Space = {
    "C": LogUniform(0.1, 1000.0),
    "gamma": Choice((0.0, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)),
    "class_weight": Choice(("none", "balanced")),
}
FAMILY = Family("svm", SvmConfig, Svm, TrainingConfig(epochs=1, crops=1), SPACE)
