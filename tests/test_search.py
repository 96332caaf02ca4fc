"""What a search proposes next, from what is known."""

import collections
import math
import statistics

import pytest

from genreray.dimensions import Choice, Integer, LogUniform, Uniform
from genreray.search import propose
from genreray.trials import Trial, TrialStatus

SPACE = {"learning_rate": LogUniform(1e-6, 1.0), "dropout": Uniform(0.0, 0.5), "filters": Choice(((4, 8), (8,)))}
SMALL = {"batch_size": Integer(1, 3), "optimizer": Choice(("adam", "sgd"))}


def trial(number, config, loss=None, status=TrialStatus.FINISHED):
    history = [] if loss is None else [{"epoch": 1, "calibrated_loss": loss}]
    return Trial(trial_id=f"{number:04d}", model="mel_cnn", config=config, status=status, history=history)


def walk(space, method, n, value, seed=0):
    """The trials of a search, one after another."""
    known = []
    for number in range(n):
        point = propose(space, method, known, "calibrated_loss", n_trials=n, seed=seed)
        if point is None:
            break
        known.append(trial(number, point, value(point)))
    return known


def distance(point):
    return abs(math.log10(point["learning_rate"]) + 2)  # the best is 0.01


@pytest.mark.parametrize("method", ["tpe", "random"])
def test_a_proposal_follows_from_the_trials_and_the_seed_alone(method):
    whole = walk(SPACE, method, 12, distance)
    again = propose(SPACE, method, whole[:11], "calibrated_loss", n_trials=12, seed=0)
    assert again == whole[11].config
    assert propose(SPACE, method, whole[:11], "calibrated_loss", n_trials=12, seed=1) != again


def test_values_are_of_the_space():
    for method in ("tpe", "random", "grid"):
        for found in walk(SPACE, method, 12, distance):
            assert found.config.keys() == SPACE.keys()
            assert all(SPACE[name].holds(value) for name, value in found.config.items())
            assert isinstance(found.config["filters"], tuple)


def test_tpe_comes_nearer_to_the_best_than_random_does():
    last = {
        method: statistics.median(
            distance(t.config) for seed in range(3) for t in walk(SPACE, method, 24, distance, seed)[-8:]
        )
        for method in ("tpe", "random")
    }
    assert last["tpe"] < last["random"] / 2


def test_more_is_better_of_an_accuracy():
    known = [
        Trial(
            trial_id=str(i),
            model="mel_cnn",
            config={"dropout": i / 40},
            status=TrialStatus.FINISHED,
            history=[{"epoch": 1, "calibrated_loss": 1.0, "validation_accuracy": i / 40}],
        )
        for i in range(20)
    ]
    space = {"dropout": SPACE["dropout"]}
    found = [propose(space, "tpe", known, "validation_accuracy", n_trials=20, seed=s)["dropout"] for s in range(5)]
    assert statistics.median(found) > 0.3


def test_a_grid_is_gone_through_once_and_ends():
    points = [tuple(t.config.values()) for t in walk(SMALL, "grid", 7, lambda _: 1.0)]
    assert collections.Counter(points) == {(size, name): 1 for size in (1, 2, 3) for name in ("adam", "sgd")}
    known = [trial(i, dict(zip(SMALL, p, strict=True)), 1.0) for i, p in enumerate(points)]
    assert propose(SMALL, "grid", known, "calibrated_loss", n_trials=7, seed=0) is None


@pytest.mark.parametrize("method", ["tpe", "random"])
def test_what_was_tried_is_not_tried_again_while_there_is_another(method):
    found = walk(SMALL, method, 6, lambda point: point["batch_size"])
    assert len({tuple(t.config.values()) for t in found}) == 6


def test_failed_running_and_stopped_trials_and_defaults_out_of_the_space_are_taken():
    known = [
        trial(1, {"batch_size": 64, "optimizer": "adamw"}, 0.5),
        trial(2, {"batch_size": 1, "optimizer": "adam"}, None, TrialStatus.FAILED),
        trial(3, {"batch_size": 2, "optimizer": "adam"}, None, TrialStatus.INTERRUPTED),
        trial(4, {"batch_size": 3, "optimizer": "sgd"}, 0.9, TrialStatus.STOPPED),
    ]
    point = propose(SMALL, "tpe", known, "calibrated_loss", n_trials=5, seed=0)
    assert all(SMALL[name].holds(value) for name, value in point.items())
