"""Several genres a track, in a tree: probabilities in which no parent is less likely than its child, and their loss.

After C-HMCNN(h) (Giunchiglia and Lukasiewicz 2020, Coherent Hierarchical Multi-Label Classification Networks): a
genre's probability is the largest that the network gives to any genre of its subtree, itself among them. The sigmoid
does not change an order, so all of this is done on logits.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Hierarchy(nn.Module):
    """Genres in class order, each below at most one other; a collection without a tree has them all at the top."""

    def __init__(self, genres: Sequence[str], parents: Mapping[str, str]) -> None:
        """Take the parent of each genre from `parents`, by child; one that is not among `genres` is none."""
        super().__init__()
        place = {genre: i for i, genre in enumerate(genres)}
        above = {i: place[parents[genre]] for genre, i in place.items() if parents.get(genre) in place}
        self.parents = tuple(above.get(i, -1) for i in range(len(genres)))  # -1: at the top
        self.depths = tuple(self._depth(i) for i in range(len(genres)))  # 0: at the top
        for level in range(1, max(self.depths, default=0) + 1):
            children = [i for i, depth in enumerate(self.depths) if depth == level]
            pairs = torch.tensor([children, [above[i] for i in children]])
            self.register_buffer(f"level_{level}", pairs, persistent=False)  # [children and their parents, n]

    def _depth(self, genre: int) -> int:
        depth = 0
        while (genre := self.parents[genre]) >= 0:
            depth += 1
        return depth

    def top(self, genre: int) -> int:
        """Return the genre at the top of the tree over a genre, itself where it is there."""
        while self.parents[genre] >= 0:
            genre = self.parents[genre]
        return genre

    def from_above(self) -> list[int]:
        """Return all genres, each after what is above it."""
        return sorted(range(len(self.depths)), key=self.depths.__getitem__)

    def forward(self, logits: Tensor) -> Tensor:
        """Return the largest logit of each genre's subtree, float [..., n_genres]: of a parent never less than below.

        Where logits are masked by -inf, the largest of those that are left.
        """
        for level in range(max(self.depths, default=0), 0, -1):  # from the leaves up
            children, parents = self.get_buffer(f"level_{level}")
            index = parents.expand(*logits.shape[:-1], -1)
            logits = logits.scatter_reduce(-1, index, logits[..., children], "amax")
        return logits

    def loss(self, logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
        """Return the max constraint loss, float [n, n_genres], of logits for bool labels, parents' among them.

        The binary cross entropy of the coherent probabilities, but that the logit of a genre which the track has is
        the largest of those in its subtree that the track has as well: a parent would else be learnt by raising the
        wrong child. `smoothing` moves each target that share of the way to a half.
        """
        coherent = self(logits)
        own = self(logits.masked_fill(~labels, -torch.inf))
        positive = torch.where(labels, own, coherent)
        targets = labels.to(logits.dtype) * (1 - smoothing) + smoothing / 2
        return -(targets * F.logsigmoid(positive) + (1 - targets) * F.logsigmoid(-coherent))


def probabilities(logits: Tensor, hierarchy: Hierarchy | None, temperature: float = 1.0) -> Tensor:
    """Return each clip's probabilities, [n, n_genres], from the logits of its crops, [n, crops, n_genres].

    Logits are divided by `temperature` (Guo et al. 2017). One genre a track (no hierarchy): the mean over crops of
    the softmax. Several: the mean of the coherent sigmoids, which is coherent, as each of them is.
    """
    scaled = logits / temperature
    return (scaled.softmax(2) if hierarchy is None else hierarchy(scaled).sigmoid()).mean(1)
