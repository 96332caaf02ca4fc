"""random and prior: what drawing each track's genre gives, blindly or by how frequent the genres are."""

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genreray.features import FeatureConfig
from genreray.models.base import Family
from genreray.models.fitted import ABSENT, Fitted, FittedConfig
from genreray.recipe import TrainingConfig

_LIFT = 1e-3  # by which a drawn genre's logit is the highest: plain in float32, and worth 1e-6 of log loss


class Chance(Fitted):
    """Draws one genre for each track from `shares`, a distribution over the genres.

    The draw is a number from a hash of the seed and the track's own statistics, so that it is the same in every
    batch, worker and crop, and looked up in the cumulated shares. Expected accuracies are 1 / n_genres for `random`
    and, on tracks with the genres of the training split, the sum of the squared shares for `prior`.

    One set of probabilities has to say both what was drawn, by its largest, and how likely the genres are. So the
    logits are the log shares, but for the drawn genre's, which is raised to just above the highest. For equal shares
    that is the distribution itself, and the log loss is log(n_genres). For others it is as near to it as a
    distribution can be that answers with the draw: the log loss is above the shares' entropy by log(1 + the largest
    share) at most, where Gumbel noise added to all logits would make it a multiple.
    """

    shares: Tensor
    seed: Tensor

    def __init__(self, config: FittedConfig, features: FeatureConfig, crop_frames: int, n_genres: int) -> None:
        super().__init__(features, n_genres)
        self.declare("shares", torch.float64, n_genres)
        self.declare("seed", torch.int64)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """Map {"mfcc_stats": float32 [n, 7, n_mfcc]} to logits [n, n_genres]."""
        log_shares = torch.where(self.shares > 0, self.shares.clamp(min=1e-300).log(), ABSENT)
        rows = self.statistics(inputs).cpu().numpy()
        numbers = torch.tensor([_uniform(row, int(self.seed)) for row in rows], dtype=torch.float64)
        drawn = torch.searchsorted(self.shares.cumsum(0)[:-1], numbers.to(self.shares.device), right=True)
        logits = log_shares.repeat(len(rows), 1)
        logits.scatter_(1, drawn[:, None], float(log_shares.max()) + _LIFT)
        return logits.float()


class Random(Chance):
    """All genres equally likely."""

    def learn(self, stats: Tensor, labels: NDArray[np.int64], seed: int) -> None:
        """Take the seed; there is nothing else to learn."""
        self.keep(shares=np.full(self.n_genres, 1 / self.n_genres), seed=seed)


class Prior(Chance):
    """Genres as likely as they are among the training clips."""

    def learn(self, stats: Tensor, labels: NDArray[np.int64], seed: int) -> None:
        """Take the seed and each genre's share of the labels."""
        self.keep(shares=np.bincount(labels, minlength=self.n_genres) / len(labels), seed=seed)


def _uniform(stats: NDArray[np.float32], seed: int) -> float:
    """Return a number in [0, 1) that is the same for the same statistics and seed, on every machine."""
    content = str(seed).encode() + np.ascontiguousarray(stats, dtype="<f4").tobytes()
    number = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big")
    return (number >> 11) / 2**53


RANDOM = Family("random", FittedConfig, Random, TrainingConfig(epochs=1, crops=1), {})  # nothing to search
PRIOR = Family("prior", FittedConfig, Prior, TrainingConfig(epochs=1, crops=1), {})
