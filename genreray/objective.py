"""What training minimises."""

from typing import NamedTuple, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from genreray import imbalance
from genreray.augment import Mix
from genreray.hierarchy import Hierarchy
from genreray.recipe import TrainingConfig


class Objective(NamedTuple):
    """The cross entropy, with the recipe's smoothing and its correction of imbalance."""

    weights: Tensor | None = None  # of a clip of each genre, float32 [n_genres]
    offset: Tensor | None = None  # added to the logits, float32 [n_genres]
    label_smoothing: float = 0.0

    @classmethod
    def of(cls, config: TrainingConfig, counts: Tensor | None, device: torch.device) -> Self:
        """Return the objective of a recipe; counts: training clips of each genre (over all workers), [n_genres].

        Logit adjustment (Menon et al. 2021, the adjusted loss) adds tau * log prior in training alone: the logits
        that are learnt are those of genres equally likely. Raises ValueError where it, or class weights, has no counts.
        """
        weights = offset = None
        if config.class_weights != "none" or config.logit_adjustment:
            if counts is None:
                raise ValueError("class weights and logit adjustment need the number of clips of each genre")
            if config.logit_adjustment:
                offset = (config.logit_adjustment * imbalance.log_priors(counts)).to(device)
            else:
                weights = imbalance.class_weights(counts, config.class_weights).to(device)
        return cls(weights, offset, config.label_smoothing)

    def __call__(self, logits: Tensor, labels: Tensor, mix: Mix | None = None) -> Tensor:
        """Return the mean loss of float logits [n, n_genres] for labels, int64 [n], mixed as the inputs were.

        The mean is over the clips, not over their weights, which would give the same clip another weight in every
        batch and on every worker.
        """
        targets = labels if mix is None else mix.of(F.one_hot(labels, logits.shape[1]).to(logits.dtype))
        adjusted = logits if self.offset is None else logits + self.offset
        smoothing = self.label_smoothing
        total = F.cross_entropy(adjusted, targets, self.weights, label_smoothing=smoothing, reduction="sum")
        return total / len(labels)


class SeveralGenres(NamedTuple):
    """The binary cross entropy of every genre of each clip, coherent in the tree of genres: see `Hierarchy.loss`."""

    hierarchy: Hierarchy
    label_smoothing: float = 0.0

    def __call__(self, logits: Tensor, labels: Tensor, mix: Mix | None = None) -> Tensor:
        """Return the mean loss over clips and genres of float logits [n, n_genres] for bool labels [n, n_genres].

        Of a mixture it is the losses of both clips' labels, mixed: without a tree that is the loss of the mixed
        labels, and in one it stays clear which child a parent is to be learnt by.
        """
        loss = self.hierarchy.loss(logits, labels, self.label_smoothing)
        if mix is not None:
            other = self.hierarchy.loss(logits, labels[mix.partner], self.label_smoothing)
            share = mix.share[:, None]
            loss = share * loss + (1 - share) * other
        return loss.mean()
