"""forest: a random forest on the statistics of a clip's MFCC, grown by scikit-learn and computed by torch."""

import dataclasses
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genreray.dimensions import Choice, Integer, Space
from genreray.errors import UserError
from genreray.features import FeatureConfig
from genreray.models.base import Family, check_layers
from genreray.models.fitted import ClassWeight, Fitted, FittedConfig
from genreray.recipe import TrainingConfig

_LEAST = 1e-7  # share of the votes under which no logarithm is taken: a genre that no tree names
_ROWS = 256  # clips whose leaves are held at a time, [_ROWS, n_trees]


@dataclasses.dataclass(frozen=True)
class ForestConfig(FittedConfig):
    """Settings of forest, scikit-learn's of the same names but for n_trees (n_estimators)."""

    n_trees: int = 500
    """Number of trees."""
    max_depth: int = 0
    """Most splits between a tree's root and a leaf; 0 sets no limit."""
    min_samples_leaf: int = 1
    """Fewest training clips in a leaf."""
    class_weight: ClassWeight = "none"
    """Weigh clips by the inverse share of their genre (balanced), or not."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_layers(self, "n_trees", "min_samples_leaf")
        if self.max_depth < 0:
            raise UserError(f"max depth is {self.max_depth}: give a whole number of 1 or more, or 0 for no limit")


class Forest(Fitted):
    """Each tree finds a leaf for a clip; the logits are the log of the mean of the leaves' shares of genres.

    Trees compare, so they take the statistics as they are. Only splits are kept, of all trees in one list: a child
    is the number of another split, or ~row of a leaf's shares. Most leaves hold clips of one genre, so that there are
    few different rows, where shares for every leaf would be most of the model.
    """

    roots: Tensor  # [n_trees], children themselves
    features: Tensor  # [n_splits], which statistic a split compares
    thresholds: Tensor  # [n_splits], the largest value that goes to the first child
    branches: Tensor  # [n_splits, 2], children
    leaf_shares: Tensor  # [n_rows, n_genres]

    def __init__(self, config: ForestConfig, features: FeatureConfig, crop_frames: int, n_genres: int) -> None:
        super().__init__(features, n_genres)
        self.config = config
        self.declare("roots", torch.int32, None)
        self.declare("features", torch.int16, None)
        self.declare("thresholds", torch.float32, None)
        self.declare("branches", torch.int32, None, 2)
        self.declare("leaf_shares", torch.float64, None, n_genres)

    def learn(self, stats: Tensor, labels: NDArray[np.int64], seed: int) -> None:
        """Grow the trees by scikit-learn, on as many threads as torch has."""
        from sklearn.ensemble import RandomForestClassifier  # here, as those who only predict do without it

        forest = RandomForestClassifier(
            n_estimators=self.config.n_trees,
            max_depth=self.config.max_depth or None,
            min_samples_leaf=self.config.min_samples_leaf,
            class_weight=None if self.config.class_weight == "none" else "balanced",
            n_jobs=torch.get_num_threads(),
            random_state=seed % 2**32,
        ).fit(stats.flatten(1).cpu().numpy(), labels)
        rows: dict[bytes, int] = {}
        trees, n_splits = [], 0
        for estimator in forest.estimators_:
            trees.append(_flatten(estimator.tree_, n_splits, rows))
            n_splits += len(trees[-1]["features"])
        found = np.frombuffer(b"".join(rows), np.float64).reshape(len(rows), len(forest.classes_))
        leaf_shares = np.zeros((len(rows), self.n_genres))
        leaf_shares[:, forest.classes_] = found
        learnt = {name: np.concatenate([tree[name] for tree in trees]) for name in trees[0]}
        self.keep(**learnt, leaf_shares=leaf_shares)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """Map {"mfcc_stats": float32 [n, 7, n_mfcc]} to logits [n, n_genres]."""
        x = self.statistics(inputs).flatten(1)
        shares = torch.cat([self.leaf_shares[self._leaves(rows)].mean(1) for rows in x.split(_ROWS)])
        return shares.clamp(min=_LEAST).log().float()

    def _leaves(self, x: Tensor) -> Tensor:
        """Return the row of `leaf_shares` that each clip comes to in each tree, int64 [n, n_trees]."""
        node = self.roots.repeat(len(x), 1)
        while bool((at_split := node >= 0).any()):
            split = node.clamp(min=0).long()
            goes_right = x.gather(1, self.features[split].long()) > self.thresholds[split]
            node = torch.where(at_split, self.branches[split, goes_right.long()], node)
        return (~node).long()


def _flatten(tree: Any, start: int, rows: dict[bytes, int]) -> dict[str, NDArray[Any]]:
    """Return a tree of scikit-learn as its part of Forest's buffers; its splits are numbered from `start`.

    `rows` holds the number of each different leaf's shares, float64 [n_classes] as bytes, and is added to.
    """
    is_split = tree.children_left >= 0
    node = np.cumsum(is_split) - 1 + start
    for i in np.flatnonzero(~is_split):
        node[i] = ~rows.setdefault(tree.value[i, 0].tobytes(), len(rows))
    # scikit-learn compares float32 with float64: the float32 next below makes the same difference.
    threshold = tree.threshold[is_split]
    rounded = threshold.astype(np.float32)
    rounded = np.where(rounded > threshold, np.nextafter(rounded, np.float32(-np.inf)), rounded)
    children = np.stack([tree.children_left[is_split], tree.children_right[is_split]], 1)
    return {
        "roots": node[:1],
        "features": tree.feature[is_split],
        "thresholds": rounded,
        "branches": node[children],
    }


SPACE: Space = {
    "n_trees": Choice((200, 500, 1000)),
    "max_depth": Choice((0, 8, 12, 16, 24)),
    "min_samples_leaf": Integer(1, 20, log=True),
    "class_weight": Choice(("none", "balanced")),
}
FAMILY = Family("forest", ForestConfig, Forest, TrainingConfig(epochs=1, crops=1), SPACE)
