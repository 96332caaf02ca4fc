"""Genres of unequal size: weights in the loss, priors of the logits, and sampling by genre."""

from collections.abc import Iterator

import torch
from torch import Tensor

from genreray.dataset import Clips, View
from genreray.recipe import ClassWeights


def class_weights(counts: Tensor, kind: ClassWeights) -> Tensor:
    """Return the weight of a clip of each genre in the loss, float32 [n_genres], from the clips of each.

    balanced: n / (n_genres count), as scikit-learn's class_weight="balanced"; sqrt: in proportion to 1 / sqrt(count).
    The mean over all clips is 1, so that the loss, and with it the step size, keeps its scale. A genre without clips
    counts as one with a single clip.
    """
    count = counts.double().clamp(min=1)
    weight = {"none": torch.ones_like(count), "sqrt": count.rsqrt(), "balanced": count.reciprocal()}[kind]
    return (weight * count.sum() / (weight * count).sum()).float()


def log_priors(counts: Tensor) -> Tensor:
    """Return the log of each genre's share of the clips, float32 [n_genres]; one without clips counts as one clip."""
    count = counts.double().clamp(min=1)
    return (count / count.sum()).log().float()


def balanced_rows(labels: Tensor, generator: torch.Generator) -> Tensor:
    """Draw as many rows as there are labels, with replacement, every genre that occurs equally likely: int64 [n].

    Rows of a genre are equally likely among themselves, so each row's chance is inverse to its genre's count.
    """
    by_genre = labels.argsort(stable=True)
    _, counts = labels.unique(return_counts=True)
    ends = counts.cumsum(0)
    genre = torch.randint(len(counts), (len(labels),), generator=generator)
    place = (torch.rand(len(labels), generator=generator, dtype=torch.float64) * counts[genre]).long()
    return by_genre[(ends - counts)[genre] + place]


def balanced_batches(clips: Clips, batch_size: int, generator: torch.Generator) -> Iterator[View]:
    """Yield as many clips as there are, drawn by `balanced_rows`, in batches; the last may be smaller.

    As with `Clips.batches`, what is drawn depends on the track ids and the generator alone.
    """
    order = clips.in_order
    for rows in order[balanced_rows(clips.labels[order], generator)].split(batch_size):
        yield clips.view(rows)
