import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from sklearn.utils.class_weight import compute_class_weight

from genreray import imbalance
from genreray.dataset import Clips

LABELS = torch.tensor([0] * 60 + [1] * 6 + [2] * 24)
COUNTS = torch.tensor([60, 6, 24])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_balanced_weights_are_scikit_learns():
    expected = compute_class_weight("balanced", classes=np.arange(3), y=LABELS.numpy())
    assert imbalance.class_weights(COUNTS, "balanced").tolist() == pytest.approx(expected)


def test_square_root_weights_lie_between():
    weights = imbalance.class_weights(COUNTS, "sqrt")
    assert (weights / weights[0]).tolist() == pytest.approx([1, 10**0.5, 2.5**0.5])
    assert imbalance.class_weights(COUNTS, "none").tolist() == [1, 1, 1]


@pytest.mark.parametrize("kind", ["none", "sqrt", "balanced"])
def test_the_mean_weight_of_all_clips_is_1(kind):
    assert imbalance.class_weights(COUNTS, kind)[LABELS].mean().item() == pytest.approx(1)


def test_priors_are_the_shares_of_the_clips():
    assert imbalance.log_priors(COUNTS).exp().tolist() == pytest.approx([2 / 3, 1 / 15, 4 / 15])


@pytest.mark.parametrize("kind", ["none", "sqrt", "balanced"])
def test_a_genre_without_clips_gives_no_infinity(kind):
    counts = torch.tensor([5, 0])
    assert imbalance.class_weights(counts, kind).isfinite().all()
    assert imbalance.log_priors(counts).isfinite().all()


def test_balanced_rows_draw_every_genre_equally_and_its_rows_too():
    order = torch.randperm(90, generator=generator(1))
    labels = LABELS[order]
    draw = generator()
    rows = torch.cat([imbalance.balanced_rows(labels, draw) for _ in range(200)])
    assert len(rows) == 90 * 200
    assert chisquare(torch.bincount(labels[rows]).numpy()).pvalue > 0.001
    for genre in range(3):
        of_genre = torch.bincount(rows, minlength=90)[labels == genre]
        assert chisquare(of_genre.numpy()).pvalue > 0.001


def test_a_genre_that_has_no_clips_is_never_drawn():
    labels = torch.tensor([0, 5, 5, 5])
    rows = torch.cat([imbalance.balanced_rows(labels, generator(seed)) for seed in range(50)])
    assert torch.bincount(labels[rows], minlength=6)[1:5].sum() == 0
    assert set(rows.tolist()) == {0, 1, 2, 3}


def clips(order):
    ids = [f"{i:03d}" for i in range(90)]
    mel = torch.arange(90, dtype=torch.uint8)[:, None, None]
    return Clips(ids, {"mel": mel}, torch.ones(90, dtype=torch.int64), LABELS).select(order)


def test_balanced_batches_are_as_many_clips_and_depend_on_the_seed_alone():
    arrived = clips(torch.arange(90)), clips(torch.randperm(90, generator=generator(5)))
    first, second = ([*imbalance.balanced_batches(c, 32, generator(3))] for c in arrived)
    assert [len(batch) for batch in first] == [32, 32, 26]
    assert [batch.track_ids for batch in first] == [batch.track_ids for batch in second]
    other = [*imbalance.balanced_batches(arrived[0], 32, generator(4))]
    assert [batch.track_ids for batch in first] != [batch.track_ids for batch in other]
    for batch in first:
        assert [int(name) for name in batch.track_ids] == batch.inputs["mel"].flatten().tolist()
        assert torch.equal(batch.labels, LABELS[batch.inputs["mel"].flatten().long()])
