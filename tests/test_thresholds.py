import numpy as np
import pytest

from genreray import thresholds
from genreray.hierarchy import Hierarchy

# Punk < Rock, and Jazz by itself; class order.
GENRES = ["Jazz", "Punk", "Rock"]
TREE, FLAT = Hierarchy(GENRES, {"Punk": "Rock"}), Hierarchy(GENRES, {})


def f1_score(truth, called):
    """2 TP / (2 TP + FP + FN)."""
    return 2 * (truth & called).sum() / max(truth.sum() + called.sum(), 1)


def drawn(n=60, seed=0, steps=None, tree=FLAT):
    """Labels, and probabilities that lean to them, on a coarse grid if asked for, so that some are equal."""
    rng = np.random.default_rng(seed)
    labels = rng.random((n, 3)) < (0.5, 0.15, 0.4)
    p = 1 / (1 + np.exp(-rng.normal(1.5 * labels - 1, 1.0)))
    if steps:
        p = np.round(p * steps) / steps
    if tree is TREE:
        labels[:, 2] |= labels[:, 1]
        p[:, 2] = np.maximum(p[:, 2], p[:, 1])
    return p, labels


@pytest.mark.parametrize("steps", [None, 8])
@pytest.mark.parametrize("seed", range(5))
def test_no_other_threshold_has_a_higher_f1(seed, steps):
    p, labels = drawn(seed=seed, steps=steps)
    found = thresholds.fit(p, labels, FLAT)
    grid = np.unique(np.concatenate([np.linspace(0, 1, 501), p.ravel(), p.ravel() + 1e-9]))
    for genre in range(3):
        ours = f1_score(labels[:, genre], p[:, genre] >= found[genre])
        f1 = [f1_score(labels[:, genre], p[:, genre] >= t) for t in grid]
        assert ours == pytest.approx(max(f1))
        higher = [t for t, value in zip(grid, f1, strict=True) if value > ours - 1e-9]
        next_value = p[:, genre][p[:, genre] >= found[genre]].min()
        assert max(higher) <= next_value  # of equally good ones it is the highest: no more tracks are called


def test_it_lies_half_way_between_two_probabilities():
    p = np.array([[0.9], [0.6], [0.2]])
    one = Hierarchy(["Jazz"], {})
    assert thresholds.fit(p, np.array([[True], [True], [False]]), one) == pytest.approx([0.4])
    assert thresholds.fit(p, np.array([[True], [False], [False]]), one) == pytest.approx([0.75])
    assert thresholds.fit(p, np.ones((3, 1), bool), one) == pytest.approx([0.1])


def test_a_genre_that_validation_does_not_have_is_given_from_a_half_on():
    p, labels = drawn()
    labels[:, 1] = False
    assert thresholds.fit(p, labels, FLAT)[1] == 0.5


def test_a_track_is_given_a_genre_only_with_what_is_above_it():
    p = np.array([[0.1, 0.3, 0.4], [0.8, 0.1, 0.7], [0.0, 0.9, 0.95]])
    limits = np.array([0.5, 0.25, 0.6])
    assert thresholds.decide(p, limits, TREE).tolist() == [[False] * 3, [True, False, True], [False, True, True]]
    assert thresholds.decide(p, limits, FLAT).tolist()[0] == [False, True, False]


@pytest.mark.parametrize("seed", range(8))
def test_the_threshold_of_a_child_is_the_best_on_the_tracks_that_are_given_its_parent(seed):
    p, labels = drawn(seed=seed, steps=12, tree=TREE)
    found = thresholds.fit(p, labels, TREE)
    assert found[2] == thresholds.fit(p, labels, FLAT)[2]
    ours = f1_score(labels[:, 1], thresholds.decide(p, found, TREE)[:, 1])
    for t in np.linspace(0, 1, 501):
        other = thresholds.decide(p, np.array([found[0], t, found[2]]), TREE)
        assert f1_score(labels[:, 1], other[:, 1]) <= ours + 1e-12


def test_a_child_whose_tracks_are_never_given_its_parent_has_the_threshold_of_an_unknown_one():
    p = np.array([[0.0, 0.8, 0.9], [0.0, 0.8, 0.9], [0.0, 0.1, 0.1]])
    labels = np.array([[0, 0, 1], [0, 0, 1], [0, 1, 1]], dtype=bool)
    rare = np.concatenate([labels, np.zeros((9, 3), bool)])
    found = thresholds.fit(np.concatenate([p, np.full((9, 3), 0.2)]), rare, TREE)
    assert found[1] == thresholds.UNKNOWN
