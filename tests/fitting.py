"""What tests of the fitted models share: statistics made up, and models fitted to them."""

import numpy as np
import torch
from making import SMALL

from genreray import models
from genreray.models.fitted import Fitted
from genreray.models.forest import ForestConfig

FITTED = [name for name, family in models.MODELS.items() if issubclass(family.module, Fitted)]
N_GENRES = 5


def clips(n=120, n_genres=N_GENRES, seed=0, noise=2.0, coarse=False):
    """Statistics of different scales that lean to a genre in 16 directions, and labels, of the first genres most.

    Coarse ones are small whole numbers, so that many values are equal.
    """
    rng = np.random.default_rng(seed)
    shares = 0.8 ** np.arange(n_genres)
    labels = np.concatenate([np.arange(n_genres), rng.choice(n_genres, n - n_genres, p=shares / shares.sum())])
    fixed = np.random.default_rng(99)
    centres, directions = fixed.normal(size=(n_genres, 16)), fixed.normal(size=(16, 7, SMALL.n_mfcc))
    stats = np.tensordot(centres[labels] + rng.normal(0, noise, (n, 16)), directions, 1)
    stats = np.rint(stats / 6) if coarse else stats * np.logspace(-2, 2, 7)[:, None] + 10
    return {"mfcc_stats": torch.from_numpy(stats.astype(np.float32))}, torch.from_numpy(labels)


def fitted(name, inputs, labels, config=None, n_genres=N_GENRES, seed=0):
    config = config or (ForestConfig(n_trees=25) if name == "forest" else models.family(name).config())
    model = models.build(name, config, SMALL, 64, n_genres)
    model.fit(inputs, labels, seed)
    return model.eval()


def standardised(inputs, training):
    """By numpy, in float64."""
    x, own = (i["mfcc_stats"].flatten(1).double().numpy() for i in (inputs, training))
    return (x - own.mean(0)) / np.where(own.std(0) > 0, own.std(0), 1)
