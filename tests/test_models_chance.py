"""random and prior: how often they draw what, and what their probabilities say."""

import numpy as np
import pytest
import torch
from fitting import clips, fitted
from torch.nn import functional as F


def test_the_draws_come_as_often_as_they_are_likely():
    """Accuracies within 4 standard errors of 1 / n and of the sum of squared shares; log losses as documented."""
    n = 6000
    shares = np.array([0.45, 0.3, 0.15, 0.1])
    labels = torch.from_numpy(np.repeat(np.arange(4), (shares * n).astype(int)))
    tracks = {"mfcc_stats": torch.from_numpy(np.random.default_rng(0).normal(size=(n, 7, 13)).astype(np.float32))}
    expected = {"random": (np.full(4, 0.25), 0.25), "prior": (shares, (shares**2).sum())}
    for name, (drawn_shares, accuracy) in expected.items():
        logits = fitted(name, tracks, labels, n_genres=4)(tracks)
        drawn = logits.argmax(1)
        error = 4 * np.sqrt(0.25 / n)
        np.testing.assert_allclose(np.bincount(drawn, minlength=4) / n, drawn_shares, atol=error)
        assert (drawn == labels).float().mean().item() == pytest.approx(accuracy, abs=error)
        log_loss = F.cross_entropy(logits, labels).item()
        entropy = -(drawn_shares * np.log(drawn_shares)).sum()
        if name == "random":
            assert log_loss == pytest.approx(np.log(4), abs=1e-4)
        else:
            assert entropy < log_loss < entropy + np.log(1 + shares.max())
            assert log_loss == pytest.approx(expected_log_loss(shares), abs=0.05)


def expected_log_loss(p):
    """That of a genre t and a draw g, both of p: g has the highest share, all are divided by what they then sum to."""
    total = 0.0
    for g in range(len(p)):
        raised = np.where(np.arange(len(p)) == g, p.max(), p)
        total -= p[g] * (p * np.log(raised / raised.sum())).sum()
    return total


def test_a_draw_is_the_tracks_own():
    training, labels = clips()
    model = fitted("prior", training, labels, seed=1)
    track = training["mfcc_stats"][:1]
    again = model({"mfcc_stats": track.repeat(50, 1, 1)}).argmax(1)
    assert (again == again[0]).all()
    others = track.repeat(50, 1, 1)
    others[:, 3, 4] += torch.arange(50) * 1e-3
    assert len(model({"mfcc_stats": others}).argmax(1).unique()) > 1


@pytest.mark.parametrize("name", ["random", "prior"])
def test_draws_survive_temperatures(name):
    training, labels = clips()
    logits = fitted(name, training, labels)(training)
    for temperature in (0.05, 1.0, 20.0):
        assert torch.equal((logits / temperature).softmax(1).argmax(1), logits.argmax(1))
