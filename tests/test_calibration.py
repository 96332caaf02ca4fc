import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss as sklearn_log_loss

from genreray.calibration import binary_log_loss, fit_binary_temperature, fit_temperature, log_loss
from genreray.dataset import NO_LABEL


def drawn(n=4000, crops=1, genres=5, seed=0):
    """Logits, and labels drawn from the probabilities that they are."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn((n, crops, genres), generator=generator)
    logits[:, 1:] = logits[:, :1] + 0.5 * logits[:, 1:]
    labels = torch.multinomial(logits.softmax(2).mean(1), 1, generator=generator)[:, 0]
    return logits, labels


def loss(logits, labels, temperature=1.0):
    return log_loss((logits / temperature).double().numpy(), labels.numpy())


@pytest.mark.parametrize("crops", [1, 3])
def test_calibrated_logits_have_a_temperature_of_1(crops):
    assert fit_temperature(*drawn(crops=crops)) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("crops", [1, 3])
@pytest.mark.parametrize("temperature", [0.1, 0.6, 3.0, 12.0])
def test_a_known_temperature_is_found(temperature, crops):
    logits, labels = drawn(crops=crops)
    assert fit_temperature(logits * temperature, labels) == pytest.approx(temperature, rel=0.05)


def test_no_temperature_of_a_fine_grid_is_better():
    logits, labels = drawn(n=50, crops=4, seed=3)
    logits = logits * 2.3
    best = fit_temperature(logits, labels)
    grid = np.geomspace(0.05, 20, 2000)
    assert loss(logits, labels, best) <= min(loss(logits, labels, t) for t in grid) + 1e-9


@pytest.mark.parametrize("seed", range(20))
def test_it_is_never_worse_than_1(seed):
    generator = torch.Generator().manual_seed(seed)
    n = 1 + seed
    logits = 10 ** (seed % 4 - 1) * torch.randn((n, 3, 4), generator=generator)
    labels = torch.randint(4, (n,), generator=generator)
    assert loss(logits, labels, fit_temperature(logits, labels)) <= loss(logits, labels)


@pytest.mark.parametrize("scale", [0.1, 1.0, 8.0, 100.0])
def test_where_every_clip_is_right_it_stays_1(scale):
    """Sharper would always be better, and say that the network is never wrong."""
    labels = torch.arange(6) % 3
    logits = scale * torch.nn.functional.one_hot(labels, 3).float()[:, None].expand(-1, 2, -1)
    assert fit_temperature(logits, labels) == 1


def test_one_clip_that_is_wrong_makes_it_as_flat_as_allowed():
    logits = torch.tensor([[[4.0, 0.0]]])
    assert fit_temperature(logits, torch.tensor([0])) == 1
    assert fit_temperature(logits, torch.tensor([1])) == pytest.approx(20, rel=0.01)


def test_clips_without_a_label_do_not_count():
    logits, labels = drawn(n=300)
    expected = fit_temperature(2 * logits, labels)
    more = torch.cat([2 * logits, torch.full((9, 1, 5), 50.0)])
    assert fit_temperature(more, torch.cat([labels, torch.full((9,), NO_LABEL)])) == expected
    assert fit_temperature(more[300:], torch.full((9,), NO_LABEL)) == 1


def test_logits_that_are_no_numbers_leave_it_at_1():
    logits, labels = drawn(n=20)
    logits[3] = float("nan")
    assert fit_temperature(logits, labels) == 1


def test_the_loss_is_scikit_learns_of_the_mean_probabilities():
    logits, labels = drawn(n=30, crops=3)
    probabilities = logits.double().softmax(2).mean(1).numpy()
    assert loss(logits, labels) == pytest.approx(sklearn_log_loss(labels, probabilities, labels=range(5)))


def drawn_several(n=3000, crops=1, genres=5, seed=0):
    """Logits, and labels drawn by the probability that each of them is."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn((n, crops, genres), generator=generator) - 1
    logits[:, 1:] = logits[:, :1] + 0.5 * logits[:, 1:]
    return logits, torch.bernoulli(logits.sigmoid().mean(1), generator=generator).bool()


@pytest.mark.parametrize("crops", [1, 3])
@pytest.mark.parametrize("temperature", [0.2, 1.0, 3.0])
def test_a_known_temperature_of_several_genres_is_found(temperature, crops):
    logits, labels = drawn_several(crops=crops)
    assert fit_binary_temperature(logits * temperature, labels) == pytest.approx(temperature, rel=0.05)


def test_the_binary_loss_is_scikit_learns_of_the_mean_probabilities():
    logits, labels = drawn_several(n=30, crops=3)
    probabilities = logits.double().sigmoid().mean(1).numpy()
    expected = np.mean([sklearn_log_loss(labels[:, i], probabilities[:, i], labels=[0, 1]) for i in range(5)])
    assert binary_log_loss(logits.double().numpy(), labels.numpy()) == pytest.approx(expected)
    assert np.isfinite(binary_log_loss(1e4 * logits.double().numpy(), labels.numpy()))


def test_without_clips_of_several_genres_it_is_1():
    assert fit_binary_temperature(torch.zeros(0, 2, 3), torch.zeros(0, 3, dtype=torch.bool)) == 1
