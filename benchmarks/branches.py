"""The branches of fusion_cnn, each by its own logits: what joining them adds, within one and the same run."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from genreray.models import GenreModel
from genreray.models.fusion_cnn import FusionCnn

_RESAMPLES = 2000


class Branch(nn.Module):
    """A network whose answer is that of one of its branches."""

    def __init__(self, network: FusionCnn, number: int) -> None:
        super().__init__()
        self.inputs = network.inputs
        self._network = network
        self._number = number

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """Map inputs to the branch's own logits, [n, n_genres]."""
        return self._network.head.own(self._network.embed(inputs))[:, self._number]


def of(network: GenreModel) -> dict[str, Branch]:
    """Return the branches of a network by name; none where it joins none."""
    if not isinstance(network, FusionCnn):
        return {}
    return {name: Branch(network, i) for i, name in enumerate(network.branches)}


@dataclasses.dataclass(frozen=True)
class Difference:
    """By how much accuracy is higher than another one's on the same tracks, seed by seed."""

    mean: float
    deviation: float  # of the seeds
    interval: tuple[float, float]  # 95 %, tracks drawn anew, each with its mean over the seeds

    @classmethod
    def of(cls, ours: Sequence[Any], theirs: Sequence[Any], labels: npt.NDArray[np.int64]) -> Self:
        """Compare probabilities, [seeds, n, n_genres] both, of tracks with labels [n]."""
        right, other = (np.array(each).argmax(2) == labels for each in (ours, theirs))
        by_track = right.astype(float) - other  # [seeds, n]
        drawn = np.random.default_rng(0).choice(by_track.mean(0), (_RESAMPLES, len(labels))).mean(1)
        low, high = np.quantile(drawn, [0.025, 0.975])
        deviation = by_track.mean(1).std(ddof=1) if len(by_track) > 1 else 0.0
        return cls(float(by_track.mean()), float(deviation), (float(low), float(high)))

    def __str__(self) -> str:
        return f"{self.mean:+.3f} ±{self.deviation:.3f} [{self.interval[0]:+.3f}, {self.interval[1]:+.3f}]"
