"""Models that are fitted at once: what torch computes of them is what scikit-learn does, and lies in the checkpoint."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch
from fitting import FITTED, N_GENRES, clips, fitted, standardised
from making import SMALL
from sklearn.ensemble import RandomForestClassifier
from sklearn.svm import SVC

from genreray import checkpoint, models
from genreray.checkpoint import Settings
from genreray.dataset import NO_LABEL
from genreray.errors import UserError
from genreray.features import FeatureConfig
from genreray.models.forest import ForestConfig
from genreray.models.svm import SvmConfig


def reference_svm(training, labels, **values):
    return SVC(C=3.0, **values).fit(standardised(training, training).astype(np.float32), labels)


def vote_ties(svc, x):
    """Which clips have several genres with the most votes."""
    svc.decision_function_shape = "ovo"
    wins = svc.decision_function(x) > 0
    svc.decision_function_shape = "ovr"
    pairs = list(itertools.combinations(range(len(svc.classes_)), 2))
    votes = np.zeros((len(x), len(svc.classes_)), int)
    for (i, j), won in zip(pairs, wins.T, strict=True):
        votes[:, i] += won
        votes[:, j] += ~won
    return (votes == votes.max(1, keepdims=True)).sum(1) > 1


@pytest.mark.parametrize("weight", ["none", "balanced"])
@pytest.mark.parametrize("break_ties", [False, True])
def test_svm_gives_scikit_learns_labels_and_decisions(weight, break_ties):
    training, labels = clips(200, n_genres=8, noise=4.0)
    others, _ = clips(600, n_genres=8, seed=1, noise=4.0)
    class_weight = None if weight == "none" else weight
    svc = reference_svm(training, labels, break_ties=break_ties, class_weight=class_weight)
    x = standardised(others, training).astype(np.float32)
    config = SvmConfig(class_weight=weight, break_ties=break_ties)
    with torch.inference_mode():
        logits = fitted("svm", training, labels, config, n_genres=8)(others).numpy()
    assert np.array_equal(logits.argmax(1), svc.predict(x))
    ties = vote_ties(svc, x)
    assert 10 < ties.sum() < 200
    same = np.full(len(x), True) if break_ties else ~ties
    np.testing.assert_allclose(logits[same], svc.decision_function(x)[same], atol=1e-5)


def test_a_tie_changes_no_logit_but_its_winners():
    training, labels = clips(200, n_genres=8, noise=4.0)
    others, _ = clips(600, n_genres=8, seed=1, noise=4.0)
    first, confident = (
        fitted("svm", training, labels, SvmConfig(break_ties=break_ties), n_genres=8)(others)
        for break_ties in (False, True)
    )
    changed = first != confident
    assert torch.equal(changed.any(1), first.argmax(1) != confident.argmax(1))
    assert 0 < changed.any(1).sum() < 100
    assert changed.sum(1).max() == 1
    assert torch.equal(first[changed], first.amax(1)[changed.any(1)])
    assert (first.amax(1) - confident.amax(1)).max() < 0.01


def test_svm_of_two_genres_is_the_decision_value():
    training, labels = clips(n_genres=2, noise=4.0)
    others, _ = clips(200, n_genres=2, seed=1, noise=4.0)
    svc = reference_svm(training, labels)
    x = standardised(others, training).astype(np.float32)
    logits = fitted("svm", training, labels, n_genres=2)(others).numpy()
    assert np.array_equal(logits.argmax(1), svc.predict(x))
    assert 0 < logits.argmax(1).mean() < 1
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], svc.decision_function(x), atol=1e-5)
    np.testing.assert_allclose(logits.sum(1), 0, atol=1e-6)


def test_gamma_is_taken_from_the_data_or_as_given():
    training, labels = clips()
    scaled, given = (fitted("svm", training, labels, SvmConfig(gamma=gamma)) for gamma in (0.0, 0.03))
    assert scaled.gamma.item() == pytest.approx(reference_svm(training, labels)._gamma, rel=1e-6)
    svc = reference_svm(training, labels, gamma=0.03)
    x = standardised(training, training).astype(np.float32)
    assert np.array_equal(given(training).argmax(1), svc.predict(x))


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize(
    "values",
    [{}, {"class_weight": "balanced"}, {"max_depth": 3}, {"min_samples_leaf": 4, "class_weight": "balanced"}],
)
@pytest.mark.parametrize("n_genres", [2, 5])
def test_forest_gives_scikit_learns_labels_and_probabilities(coarse, values, n_genres):
    training, labels = clips(n_genres=n_genres, coarse=coarse)
    others, _ = clips(300, n_genres=n_genres, seed=1, noise=4.0, coarse=coarse)
    model = fitted("forest", training, labels, ForestConfig(n_trees=20, **values), n_genres, seed=7)
    options = {"class_weight": None, **values}
    reference = RandomForestClassifier(20, random_state=7, **options)
    reference.fit(training["mfcc_stats"].flatten(1).numpy(), labels)
    x = others["mfcc_stats"].flatten(1).numpy()
    with torch.inference_mode():
        logits = model(others)
    expected = reference.predict_proba(x)
    np.testing.assert_allclose(logits.softmax(1).numpy(), expected, atol=1e-5)
    # Sums that are equal but for their last bits have no first: of those each may choose its own.
    top = np.sort(expected, axis=1)[:, -2:]
    exact = top[:, 0] == top[:, 1]
    clear = exact | (top[:, 1] - top[:, 0] > 1e-9)
    assert clear.mean() > 0.9
    assert exact.any() or values
    assert np.array_equal(logits.argmax(1).numpy()[clear], reference.predict(x)[clear])


def test_a_value_at_a_threshold_goes_where_scikit_learn_sends_it():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 50, (200, 7, SMALL.n_mfcc)).astype(np.float32) / 7  # thresholds between, no float32 themselves
    labels = rng.integers(0, 3, 200)
    model = fitted("forest", {"mfcc_stats": torch.from_numpy(x)}, torch.from_numpy(labels), ForestConfig(n_trees=5), 3)
    reference = RandomForestClassifier(5, random_state=0).fit(x.reshape(200, -1), labels)
    thresholds = np.concatenate([tree.tree_.threshold for tree in reference.estimators_])
    assert ((thresholds != thresholds.astype(np.float32)) & (thresholds > 0)).any()
    probes = rng.choice(thresholds.astype(np.float32), (400, 7, SMALL.n_mfcc))
    found = model({"mfcc_stats": torch.from_numpy(probes)}).softmax(1).numpy()
    np.testing.assert_allclose(found, reference.predict_proba(probes.reshape(400, -1)), atol=1e-5)


def test_equal_leaves_are_kept_once():
    training, labels = clips(200)
    model = fitted("forest", training, labels)
    assert len(model.leaf_shares) == N_GENRES  # grown to the end, every leaf is of one genre
    assert len(model.thresholds) == len(model.branches) > 25 * 10
    assert model.leaf_shares.sum(1).tolist() == pytest.approx([1.0] * N_GENRES)


@pytest.mark.parametrize("name", FITTED)
def test_genres_without_clips_keep_their_places_and_get_next_to_nothing(name):
    training, labels = clips(n_genres=3)
    places = torch.tensor([1, 3, 4])
    dense = fitted(name, training, labels, n_genres=3)(training)
    sparse = fitted(name, training, places[labels], n_genres=6)(training)
    assert sparse.shape == (len(labels), 6)
    if name == "random":  # which knows no genres but by their number
        torch.testing.assert_close(sparse.softmax(1), torch.full_like(sparse, 1 / 6), rtol=1e-2, atol=0)
        return
    torch.testing.assert_close(sparse[:, places], dense)
    assert sparse.softmax(1)[:, [0, 2, 5]].max() < 1e-6
    assert sparse.isfinite().all()


@pytest.mark.parametrize("name", FITTED)
def test_a_checkpoint_gives_the_same_logits(name, tmp_path):
    training, labels = clips()
    model = fitted(name, training, labels, seed=5)
    settings = Settings(
        model=name,
        model_config=model.config if name in ("svm", "forest") else models.family(name).config(),
        features=SMALL,
        genres=[f"genre {i}" for i in range(N_GENRES)],
        crop_frames=64,
        n_crops=1,
        training={},
        metrics={},
    )
    checkpoint.save(str(tmp_path), model, settings)
    loaded = checkpoint.load(str(tmp_path))
    others, _ = clips(seed=1)
    assert torch.equal(loaded.model(others), model(others))
    assert torch.equal(loaded.model.embed(others), model.embed(others))


@pytest.mark.parametrize("name", FITTED)
def test_state_of_other_sizes_is_taken_and_of_another_model_is_not(name):
    training, labels = clips()
    model, smaller = fitted(name, training, labels), fitted(name, *clips(60, seed=3))
    model.load_state_dict(smaller.state_dict())
    assert torch.equal(model(training), smaller(training))
    for features, n_genres in ((FeatureConfig(), N_GENRES), (SMALL, N_GENRES + 1)):
        other = models.build(name, models.family(name).config(), features, 64, n_genres)
        with pytest.raises(RuntimeError, match="size mismatch"):
            other.load_state_dict(smaller.state_dict())


@pytest.mark.parametrize("name", FITTED)
def test_the_same_seed_gives_the_same_model(name):
    training, labels = clips()
    others, _ = clips(seed=1)
    one, two, other = (fitted(name, training, labels, seed=seed)(others) for seed in (3, 3, 4))
    assert torch.equal(one, two)
    assert torch.equal(one, other) == (name == "svm")  # which draws nothing


@pytest.mark.parametrize("name", FITTED)
def test_batches_and_lower_precision_around_it_change_nothing(name):
    training, labels = clips()
    others, _ = clips(600, seed=1)
    model = fitted(name, training, labels)
    whole = model(others)
    assert whole.dtype == torch.float32
    pieces = [model({"mfcc_stats": rows}) for rows in others["mfcc_stats"].split([1, 31, 300, 268])]
    torch.testing.assert_close(torch.cat(pieces), whole, rtol=0, atol=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model(others), whole)


@pytest.mark.parametrize("name", FITTED)
def test_clips_without_a_genre_are_left_out(name):
    training, labels = clips()
    unknown = labels.clone()
    unknown[40:] = NO_LABEL
    some = {"mfcc_stats": training["mfcc_stats"][:40]}
    expected = fitted(name, some, labels[:40]).state_dict()
    found = fitted(name, training, unknown).state_dict()
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    with pytest.raises(UserError, match="no training clip has a genre"):
        fitted(name, training, torch.full_like(labels, NO_LABEL))


@pytest.mark.parametrize("name", FITTED)
def test_the_embedding_is_the_standardised_statistics(name):
    training, labels = clips()
    others, _ = clips(seed=1)
    model = fitted(name, training, labels)
    assert model.embedding_size == 7 * SMALL.n_mfcc
    np.testing.assert_allclose(model.embed(others), standardised(others, training), rtol=1e-4, atol=1e-4)


def test_an_svm_of_one_genre_is_refused():
    training, labels = clips()
    with pytest.raises(UserError, match="all training clips are of one genre"):
        fitted("svm", training, torch.zeros_like(labels))


@pytest.mark.parametrize("name", ["random", "prior", "forest"])
def test_one_genre_is_all_that_others_then_know(name):
    training, labels = clips()
    logits = fitted(name, training, torch.zeros_like(labels), n_genres=1)(training)
    assert torch.equal(logits.softmax(1), torch.ones(len(labels), 1))


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("svm", {"C": 0.0}, "C is 0.0: give a number above 0"),
        ("svm", {"gamma": -1.0}, "gamma is -1.0"),
        ("svm", {"learning_rate": 0.1}, "learning rate is 0.1, but this model is not trained in steps"),
        ("forest", {"n_trees": 0}, "n trees is 0"),
        ("forest", {"min_samples_leaf": 0}, "min samples leaf is 0"),
        ("forest", {"max_depth": -1}, "max depth is -1"),
        ("random", {"optimizer": "sgd"}, "optimizer is sgd"),
        ("prior", {"l2": 0.1}, "l2 is 0.1"),
    ],
)
def test_impossible_settings_are_named(name, values, message):
    with pytest.raises(UserError, match=message):
        models.family(name).config(**values)


def test_transposed_statistics_are_refused():
    training, labels = clips()
    for name in FITTED:
        model = fitted(name, training, labels)
        with pytest.raises(ValueError, match="7 x 13"):
            model({"mfcc_stats": training["mfcc_stats"].transpose(1, 2)})


def test_scikit_learn_is_for_fitting_alone(tmp_path):
    training, labels = clips(60)
    for name in ("svm", "forest"):
        torch.save(fitted(name, training, labels).state_dict(), tmp_path / name)
    code = """
import sys, torch
from genreray import models
from genreray.features import FeatureConfig
features = FeatureConfig(n_mels=32, n_mfcc=13, duration=3.0)
for name in ("svm", "forest"):
    model = models.build(name, models.family(name).config(), features, 64, 5)
    model.load_state_dict(torch.load(name))
    model({"mfcc_stats": torch.zeros(2, 7, 13)})
assert not [module for module in sys.modules if module.startswith("sklearn")]
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
