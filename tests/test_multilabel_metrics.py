import json

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    log_loss,
    precision_score,
    recall_score,
    roc_auc_score,
)

from genreray.multilabel_metrics import evaluate, mean_average_precision, weighted_average_precision

GENRES = ["Blues", "Folk", "Jazz", "Rock"]


def drawn(n=200, seed=0, steps=None):
    """Probabilities that lean to the labels, on a coarse grid if asked for, so that some are equal."""
    rng = np.random.default_rng(seed)
    labels = rng.random((n, 4)) < (0.05, 0.2, 0.4, 0.7)
    p = 1 / (1 + np.exp(-rng.normal(1.2 * labels - 1, 1.0)))
    p = np.round(p * steps) / steps if steps else p
    return p, labels, p > 0.4


def scored(p, labels, decided, **settings):
    return evaluate(p, labels, decided, [0.4] * 4, GENRES, **{"resamples": 20, **settings})


@pytest.mark.parametrize("steps", [None, 6])
def test_the_scores_are_scikit_learns(steps):
    p, labels, decided = drawn(steps=steps)
    scores = scored(p, labels, decided)
    assert scores.mean_average_precision == pytest.approx(average_precision_score(labels, p, average="macro"))
    assert scores.micro_average_precision == pytest.approx(average_precision_score(labels, p, average="micro"))
    assert scores.roc_auc == pytest.approx(roc_auc_score(labels, p, average="macro"))
    assert scores.macro_f1 == pytest.approx(f1_score(labels, decided, average="macro"))
    assert scores.micro_f1 == pytest.approx(f1_score(labels, decided, average="micro"))
    losses = [log_loss(labels[:, i], np.clip(p[:, i], 1e-15, 1 - 1e-15)) for i in range(4)]
    assert scores.log_loss == pytest.approx(np.mean(losses), rel=1e-3)
    for i, genre in enumerate(scores.per_genre):
        truth = labels[:, i]
        assert (genre.genre, genre.support, genre.predicted) == (GENRES[i], truth.sum(), decided[:, i].sum())
        assert genre.average_precision == pytest.approx(average_precision_score(truth, p[:, i]))
        assert genre.roc_auc == pytest.approx(roc_auc_score(truth, p[:, i]))
        assert genre.precision == pytest.approx(precision_score(truth, decided[:, i]))
        assert genre.recall == pytest.approx(recall_score(truth, decided[:, i]))
        assert genre.f1 == pytest.approx(f1_score(truth, decided[:, i]))
    assert scores.genres_per_track == pytest.approx(labels.sum() / 200)
    assert scores.predicted_per_track == pytest.approx(decided.sum() / 200)
    assert json.loads(json.dumps(scores.to_json()))["genres"] == GENRES


def test_genres_without_tracks_are_left_out_of_the_means():
    p, labels, decided = drawn()
    labels[:, 1] = False
    labels[:, 3] = True
    scores = scored(p, labels, decided)
    kept = [0, 2, 3]
    assert scores.mean_average_precision == pytest.approx(average_precision_score(labels[:, kept], p[:, kept]))
    assert scores.roc_auc == pytest.approx(roc_auc_score(labels[:, [0, 2]], p[:, [0, 2]]))
    assert scores.macro_f1 == pytest.approx(f1_score(labels[:, kept], decided[:, kept], average="macro"))
    assert scores.mean_share == pytest.approx(labels[:, kept].mean())
    by_name = {genre.genre: genre for genre in scores.per_genre}
    assert by_name["Folk"].average_precision is by_name["Folk"].roc_auc is by_name["Rock"].roc_auc is None
    assert by_name["Rock"].average_precision == 1


def test_an_order_by_chance_has_the_mean_share():
    p, labels, decided = drawn(n=20000)
    shuffled = np.random.default_rng(1).permutation(p)
    scores = scored(shuffled, labels, decided, resamples=1)
    assert scores.mean_average_precision == pytest.approx(scores.mean_share, abs=0.01)
    assert mean_average_precision(np.full_like(p, 0.3), labels) == pytest.approx(scores.mean_share)


@pytest.mark.parametrize("steps", [None, 5])
def test_weighted_average_precision_is_scikit_learns(steps):
    p, labels, _ = drawn(n=80, steps=steps)
    weights = np.random.default_rng(2).multinomial(80, np.full(80, 1 / 80), size=30).astype(np.float32)
    for i in range(4):
        found = weighted_average_precision(p[:, i], labels[:, i], weights)
        for value, weight in zip(found, weights, strict=True):
            if not weight[labels[:, i]].any():
                assert np.isnan(value)
                continue
            assert value == pytest.approx(average_precision_score(labels[:, i], p[:, i], sample_weight=weight))


def test_the_interval_is_that_of_tracks_drawn_anew():
    p, labels, decided = drawn(n=120)
    low, high = scored(p, labels, decided, resamples=1500).mean_average_precision_interval
    rng, means = np.random.default_rng(5), []
    for _ in range(400):
        rows = rng.integers(120, size=120)
        there = labels[rows].any(axis=0)
        means.append(average_precision_score(labels[rows][:, there], p[rows][:, there]))
    score = scored(p, labels, decided).mean_average_precision
    expected = np.quantile(means, [0.025, 0.975]) - np.mean(means) + score
    assert (low, high) == pytest.approx(expected, abs=0.02)
    assert low < score < high


def test_the_score_is_inside_its_interval_where_genres_are_rare():
    """Resampled ones lie above it, all of them: repeated tracks of a rare genre come together in its order."""
    rng = np.random.default_rng(0)
    labels = rng.random((400, 40)) < 0.01
    p = 1 / (1 + np.exp(-rng.normal(2.0 * labels - 3, 1.0)))
    scores = evaluate(p, labels, p > 0.5, [0.5] * 40, [str(i) for i in range(40)], resamples=200)
    low, high = scores.mean_average_precision_interval
    assert low < scores.mean_average_precision < high


def test_the_same_tracks_give_the_same_interval():
    assert scored(*drawn()) == scored(*drawn())
    assert scored(*drawn(), seed=1) != scored(*drawn())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, labels, decided: (p[:0], labels[:0], decided[:0]), "no tracks"),
        (lambda p, labels, decided: (p[:, :2], labels, decided), "shapes do not agree"),
        (lambda p, labels, decided: (p + 1, labels, decided), "from 0 to 1"),
        (lambda p, labels, decided: (p * np.nan, labels, decided), "from 0 to 1"),
        (lambda p, labels, decided: (p, labels & False, decided), "no track has any"),
    ],
)
def test_what_cannot_be_scored_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        scored(*change(*drawn()))
