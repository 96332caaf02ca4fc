import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from searches import epoch

from genreray import models, space, storage, tables
from genreray.dimensions import Choice, LogUniform, Uniform
from genreray.errors import UserError
from genreray.importance import FEWEST, importance
from genreray.trials import METRICS, TRIALS, Trial, TrialStatus, best, best_so_far, direction, from_table, to_table

FINISHED, STOPPED, FAILED, INTERRUPTED = TrialStatus


def trial(name: str, status: TrialStatus, *epochs: tuple[float, float], **values: object) -> Trial:
    """A trial by its losses and accuracies, epoch by epoch."""
    history = [epoch(i, *numbers) for i, numbers in enumerate(epochs, start=1)]
    return Trial(trial_id=name, model="mel_cnn", config={}, status=status, history=history, **values)


DIVERGED = Trial(
    trial_id="e",
    model="mel_cnn",
    config={"filters": (8, 16), "learning_rate": 0.5},
    status=FAILED,
    history=[epoch(1, 0.5, 0.99), {"epoch": 2, "diverged": True}],
    error="the loss was not a finite number in epoch 2",
    seconds=7.0,
)
# The lowest loss, the epoch that is kept, is marked: its accuracy is not always the highest.
TRIALS_IN_ORDER = [
    trial("a", FAILED, error="out of memory"),
    trial("b", FINISHED, (2.0, 0.3), (1.5, 0.4), (1.6, 0.6)),  # the second
    trial("c", STOPPED, (1.8, 0.7)),
    trial("d", FINISHED, (1.7, 0.2), (1.2, 0.5), (1.2, 0.9)),  # the second, the first of equals
    DIVERGED,
    trial("f", INTERRUPTED, (0.1, 1.0)),
    trial("g", STOPPED, (1.2, 0.6)),
]


def test_the_epoch_that_is_kept_has_the_lowest_calibrated_loss():
    kept = [t.kept and t.kept["epoch"] for t in TRIALS_IN_ORDER]
    assert kept == [None, 2, 1, 2, 1, 1, 1]
    assert [t.value("validation_accuracy") for t in TRIALS_IN_ORDER] == [None, 0.4, 0.7, 0.5, 0.99, 1.0, 0.6]
    assert TRIALS_IN_ORDER[1].value("validation_mean_average_precision") is None


def test_the_best_trial_by_a_metric_and_its_direction():
    assert best(TRIALS_IN_ORDER, "calibrated_loss").trial_id == "d"  # as low as g, and before it
    assert best(TRIALS_IN_ORDER, "validation_accuracy").trial_id == "c"
    assert best(TRIALS_IN_ORDER, "validation_mean_average_precision") is None
    assert best(TRIALS_IN_ORDER[:1], "calibrated_loss") is None
    assert best([], "calibrated_loss") is None


def test_what_failed_or_is_to_go_on_does_not_win():
    assert best([DIVERGED, TRIALS_IN_ORDER[5], TRIALS_IN_ORDER[1]], "calibrated_loss").trial_id == "b"


def test_the_best_so_far_worked_by_hand():
    assert best_so_far(TRIALS_IN_ORDER, "calibrated_loss") == [None, 1.5, 1.5, 1.2, 1.2, 1.2, 1.2]
    assert best_so_far(TRIALS_IN_ORDER, "validation_accuracy") == [None, 0.4, 0.7, 0.7, 0.7, 0.7, 0.7]
    assert best_so_far([], "validation_accuracy") == []


def test_a_metric_that_there_is_not():
    assert [direction(metric) for metric in METRICS] == ["min", "min", "max", "max", "max"]
    with pytest.raises(UserError, match="'val_accuracy', the nearest is validation_accuracy: give one of calibrated"):
        direction("val_accuracy")


def test_trials_come_back_from_their_file(tmp_path):
    config = {"filters": (8, 16), "learning_rate": 1e-3, "optimizer": "adam", "first_crop": True}
    winner = trial("h", FINISHED, (1.0, 0.7), seconds=9.5, test={"accuracy": 0.6, "log_loss": 1.1})
    several = Trial(
        trial_id="i",
        model="crnn",
        config=config,
        status=FINISHED,
        history=[
            {
                "epoch": 1,
                "training_loss": 0.2,
                "validation_loss": 0.3,
                "validation_mean_average_precision": 0.5,
                "calibrated_loss": 0.25,
                "temperature": 1.1,
                "seconds": 1.0,
            }
        ],
    )
    there = [winner, several, TRIALS_IN_ORDER[0]]
    uri = str(tmp_path / "trials.parquet")
    storage.write_parquet(uri, to_table(there, {"metric": "calibrated_loss"}))
    table = pq.read_table(uri)
    assert table.schema.equals(TRIALS)
    assert tables.metadata_of(table.schema, uri) == {"metric": "calibrated_loss", "table": "trials"}
    assert from_table(table) == there


def test_the_rows_say_what_people_look_for():
    rows = to_table(TRIALS_IN_ORDER, {}).to_pylist()
    d = rows[3]
    assert (d["status"], d["epochs"], d["best_epoch"]) == ("finished", 3, 2)
    assert (d["calibrated_loss"], d["validation_accuracy"], d["test_accuracy"]) == (1.2, 0.5, None)
    assert [point["validation_accuracy"] for point in d["curve"]] == [0.2, 0.5, 0.9]
    diverged = rows[4]
    assert (diverged["status"], diverged["epochs"], diverged["seconds"]) == ("failed", 1, 7.0)
    assert json.loads(diverged["config"]) == {"filters": [8, 16], "learning_rate": 0.5}
    assert (rows[0]["curve"], rows[0]["best_epoch"], rows[0]["error"]) == ([], None, "out of memory")


def searched(n: int, of_interest: str, metric: str = "calibrated_loss") -> tuple[list[Trial], dict]:
    """Random trials whose loss follows from one setting alone."""
    family = models.family("mel_cnn")
    ranges = {
        "learning_rate": LogUniform(1e-4, 1e-1),
        "dropout": Uniform(0.0, 0.5),
        "filters": Choice(((8,), (16,), (8, 16))),
        "batch_size": Choice((32,)),
    }
    generator = np.random.default_rng(0)
    losses = {
        "learning_rate": lambda point: abs(np.log10(point["learning_rate"]) + 3),
        "dropout": lambda point: 10 ** (20 * point["dropout"]),  # the worst are far off
        "filters": lambda point: float(len(point["filters"]) + point["filters"][0]),
    }
    points = [space.draw(ranges, generator) for _ in range(n)]
    space.check(ranges, family)
    found = [
        Trial(
            trial_id=str(i),
            model="mel_cnn",
            config=point,
            status=FINISHED,
            history=[epoch(1, float(losses[of_interest](point)), -float(losses[of_interest](point)))],
        )
        for i, point in enumerate(points)
    ]
    return found, ranges


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("learning_rate", "calibrated_loss"),
        ("dropout", "calibrated_loss"),
        ("dropout", "validation_accuracy"),
        ("filters", "calibrated_loss"),
    ],
)
def test_the_one_setting_that_matters_is_told(name, metric):
    found = importance(*searched(24, name), metric)
    assert set(found) == {"learning_rate", "dropout", "filters"}
    assert next(iter(found)) == name
    assert found[name] > 0.6
    assert sum(found.values()) == pytest.approx(1)


def test_importance_is_the_same_each_time():
    assert importance(*searched(12, "dropout"), "calibrated_loss") == importance(
        *searched(12, "dropout"), "calibrated_loss"
    )


def test_importance_of_few_failed_or_equal_trials_is_not_told():
    trials, ranges = searched(FEWEST, "dropout")
    assert importance(trials, ranges, "calibrated_loss")
    assert importance(trials[1:], ranges, "calibrated_loss") == {}
    failed = [Trial(trial_id="f", model="mel_cnn", config=t.config, status=FAILED) for t in trials]
    assert importance([*trials[1:], *failed], ranges, "calibrated_loss") == {}
    assert importance(trials, ranges, "validation_mean_average_precision") == {}
    assert importance(trials, {"batch_size": Choice((32,))}, "calibrated_loss") == {}
    equal = [trial(str(i), FINISHED, (1.0, 0.5)) for i in range(20)]
    assert importance(equal, {}, "calibrated_loss") == {}
    same = [
        Trial(trial_id=t.trial_id, model="m", config=t.config, status=FINISHED, history=[epoch(1, 1.0, 0.5)])
        for t in trials
    ]
    assert importance(same, ranges, "calibrated_loss") == {}


def test_importance_leaves_optunas_logging_as_it_was(capfd):
    import optuna

    before = optuna.logging.get_verbosity()
    importance(*searched(12, "dropout"), "calibrated_loss")
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr().err == ""
