"""A search on Ray Tune: one small one, looked at from all sides."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import ray.util
from making import GENRES, feature_rows, write_features
from rich.console import Console

from genreray import checkpoint, cli, parsing, trial_folder, trials, tune_folder
from genreray.cluster import Cluster
from genreray.errors import UserError
from genreray.progress import Progress
from genreray.search_plan import SearchPlan
from genreray.trials import TrialStatus
from genreray.tune import tune

# A grid: after the defaults a rate that learns, one that does not, and one with which the loss is no number.
SPACE = """
learning_rate: {choice: [1e-4, 3e-3, 1e-9, 1e30]}
optimizer: adam
filters: {choice: [[4, 8]]}
crop_frames: 64
batch_size: 8
"""
pytestmark = pytest.mark.timeout(600)  # the first test waits for the whole search
N_TRIALS = 4
EPOCHS = 3


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    file = tmp_path_factory.mktemp("space") / "space.yaml"
    file.write_text(SPACE)
    return str(file)


def search(features, run, space, console=None, **plan):
    plan = {"trials": N_TRIALS, "epochs": EPOCHS, "search": "grid", "gpu": "no", "grace": 1, **plan}
    return tune(
        features,
        str(run),
        "mel_cnn",
        SearchPlan(space=space, **plan),
        cluster=Cluster(),
        progress=Progress(console or Console(), "tune"),
    )


def poisoned(rows):
    """The rows with clips of the test split that cannot be read: a byte of their log-mel is missing."""
    return [{**row, "mel": row["mel"][1:]} if row["split"] == "test" and row["status"] == "ok" else row for row in rows]


@pytest.fixture(scope="module")
def searched(ray_session, tmp_path_factory, space):
    """A search over features whose test split cannot be read, and the same command when it can."""
    folder = tmp_path_factory.mktemp("tune")
    rows = feature_rows(72)
    features = write_features(folder / "features", poisoned(rows))
    with pytest.raises(Exception, match="reshape"):
        search(features, folder / "run", space, concurrent=2)
    before = {p: p.stat().st_mtime_ns for p in (folder / "run" / "trials").rglob("*")}
    shutil.copy(folder / "run" / "trials.parquet", folder / "early.parquet")
    groups = [group["state"] for group in ray.util.placement_group_table().values()]
    write_features(folder / "features", rows)
    done = search(features, folder / "run", space, concurrent=2)
    return folder, done, before, groups


def test_no_trial_reads_the_test_split_and_only_the_score_of_the_winner_does(searched):
    """With clips of it that cannot be read, all trials ended; then the same command had but the score to add."""
    folder, done, before, _ = searched
    assert len(done.found.trials) == N_TRIALS
    assert done.n_run == 0
    assert before == {p: p.stat().st_mtime_ns for p in (folder / "run" / "trials").rglob("*")}
    assert [bool(trial.test) for trial in done.found.trials] == [
        trial is done.found.winner for trial in done.found.trials
    ]
    assert 0 <= done.found.winner.test["accuracy"] <= 1
    metrics = json.loads((folder / "run" / "test" / "metrics.json").read_text())
    assert (metrics["about"]["split"], metrics["accuracy"]) == ("test", done.found.winner.test["accuracy"])


def test_trials_end_as_they_should(searched):
    _, done, _, _ = searched
    default, good, idle, diverged = done.found.trials
    assert default.config["learning_rate"] == 1e-4  # the model's own
    assert [trial.status for trial in done.found.trials] == ["finished", "finished", "stopped", "failed"]
    assert [len(trial.epochs) for trial in done.found.trials] == [EPOCHS, EPOCHS, 1, 0]
    assert diverged.error == "the loss was not a finite number in epoch 1"
    assert idle.value("calibrated_loss") > good.value("calibrated_loss")
    assert done.found.winner is good


def test_a_trial_that_is_stopped_gives_back_what_its_workers_held(searched):
    *_, groups = searched
    assert groups
    assert set(groups) == {"REMOVED"}


def test_the_winner_is_at_the_top_as_of_a_run(searched):
    folder, done, _, _ = searched
    loaded = checkpoint.load(str(folder / "run"))
    assert loaded.fingerprint == checkpoint.fingerprint(str(folder / "run" / "trials" / done.found.winner.trial_id))
    assert loaded.settings.metrics["calibrated_loss"] == done.found.winner.value("calibrated_loss")
    assert loaded.settings.genres == list(GENRES)
    assert json.loads((folder / "run" / "history.json").read_text()) == done.found.winner.history
    assert not (folder / "run" / "tune").exists()
    assert not list((folder / "run").glob("trials/*/training"))


def test_the_table_holds_every_trial(searched):
    folder, done, _, _ = searched
    read = trials.from_table(pq.read_table(folder / "run" / "trials.parquet"))
    assert [trial.trial_id for trial in read] == ["0001", "0002", "0003", "0004"]
    assert [trial.status for trial in read] == [trial.status for trial in done.found.trials]
    assert [trial.config for trial in read] == [trial.config for trial in done.found.trials]
    assert trials.best(read, "calibrated_loss").test == done.found.winner.test


def test_the_table_is_written_with_each_trial_that_ends(searched):
    """By the search that ended with an error when its trials were over."""
    folder, done, _, _ = searched
    read = trials.from_table(pq.read_table(folder / "early.parquet"))
    assert [trial.status for trial in read] == [trial.status for trial in done.found.trials]
    assert [trial.history for trial in read] == [
        trial.history for trial in trials.from_table(pq.read_table(folder / "run" / "trials.parquet"))
    ]


def flags(space, trials=N_TRIALS):
    plan = ["--trials", trials, "--epochs", EPOCHS, "--search", "grid", "--grace", 1, "--gpu", "no", "--space", space]
    return [str(word) for word in plan]


def test_the_command_says_what_was_found_and_the_others_take_it(searched, space, capsys):
    folder, done, _, _ = searched
    features, run = str(folder / "features"), str(folder / "run")
    assert cli.run(["tune", features, run, *flags(space)], Console()) == 0
    assert "nothing to do" in capsys.readouterr().out
    summary = json.loads((folder / "run" / "summary.json").read_text())
    assert (summary["trials"], summary["failed"], summary["best_trial"]) == (N_TRIALS, 1, "0002")
    assert summary["test"]["accuracy"] == done.found.winner.test["accuracy"]
    assert "0002" in (folder / "run" / "report.html").read_text()
    job = parsing.parse(["train", features, str(folder / "again"), "--config", str(folder / "run" / "best.json")])
    assert (job.model, job.architecture.learning_rate, job.training.epochs) == ("mel_cnn", 3e-3, EPOCHS)


def test_where_every_trial_failed_the_command_says_why(searched, space, tmp_path, capsys):
    """A folder as a search leaves it whose trials have all failed."""
    folder, done, _, _ = searched
    run = str(tmp_path / "run")
    for trial in done.found.trials:
        trial_folder.begin(run, trial.trial_id, "mel_cnn", trial.config)
        trial_folder.end(run, trial.trial_id, TrialStatus.FAILED, 1.0, "out of memory")
    shutil.copy(folder / "run" / "run.json", run)
    assert cli.run(["tune", str(folder / "features"), run, *flags(space)], Console()) == 1
    assert capsys.readouterr().err == "genreray: every trial failed; the first: out of memory\n"
    assert pq.read_table(tmp_path / "run" / "trials.parquet").num_rows == N_TRIALS
    assert not (tmp_path / "run" / "best.json").exists()


def test_fresh_deletes_a_search_and_nothing_else(searched, tmp_path):
    folder, *_ = searched
    shutil.copytree(folder / "run", tmp_path / "run")
    (tmp_path / "run" / "trials" / "0001" / "notes.txt").touch()
    with pytest.raises(UserError, match="notes.txt, which is not part of a search"):
        tune_folder.clear(str(tmp_path / "run"))
    (tmp_path / "run" / "trials" / "0001" / "notes.txt").unlink()
    tune_folder.clear(str(tmp_path / "run"))
    assert not [p for p in (tmp_path / "run").rglob("*") if p.is_file()]


def test_other_settings_in_the_same_folder_are_refused(searched, space):
    folder, *_ = searched
    with pytest.raises(UserError, match="begun with other settings"):
        search(str(folder / "features"), folder / "run", space, epochs=EPOCHS + 1)


@pytest.mark.faults
def test_clips_in_the_object_store_train_as_those_that_workers_read(searched, space, tmp_path, monkeypatch):
    """A trial that does not fit there; with its folder, it goes on from what a killed search left."""
    folder, done, _, _ = searched
    monkeypatch.setattr("genreray.sharing.fits", lambda *_: False)
    good = done.found.winner
    trial_folder.begin(str(tmp_path / "run"), "0001", "mel_cnn", good.config)
    began = json.loads((folder / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps(began))
    again = search(str(folder / "features"), tmp_path / "run", space, trials=1)
    assert again.found.winner.config == good.config
    losses = [[epoch["training_loss"] for epoch in trial.history] for trial in (again.found.winner, good)]
    np.testing.assert_allclose(*losses, rtol=1e-4)


@pytest.mark.parametrize(
    ("model", "plan", "message"),
    [
        ("mel_dnn", {}, "there is no model 'mel_dnn'"),
        ("mel_cnn", {"metric": "acuracy"}, "there is no metric 'acuracy'"),
        ("mel_cnn", {"metric": "validation_mean_average_precision"}, "no metric of --labels genre"),
        ("mel_cnn", {"trials": 0}, "trials is 0"),
        ("mel_cnn", {"search": "grid", "trials": 3}, "grid of this space has"),
        ("mel_cnn", {"grace": 4}, "grace is 4 epochs, and trials have 3"),
        ("mel_cnn", {"gpus_per_trial": 1.5}, "gpus per trial is 1.5 with 1 workers"),
        ("random", {}, "random has no settings to search"),
        ("mel_cnn", {"space": "wings: 2"}, "no setting 'wings'"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_is_written(tmp_path, model, plan, message):
    features = write_features(tmp_path / "features", feature_rows())
    if "space" in plan:
        (tmp_path / "space.yaml").write_text(plan["space"])
        plan["space"] = str(tmp_path / "space.yaml")
    with pytest.raises(UserError, match=message):
        tune(
            features,
            str(tmp_path / "run"),
            model,
            SearchPlan(**{"epochs": 3, **plan}),
            cluster=Cluster(),
            progress=Progress(Console(), "tune"),
        )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"concurrent": 3}, "3 trials at once want 1 CPUs each, the cluster has 2 CPUs: give --concurrent 2 or fewer"),
        ({"gpu": "yes"}, "no node of the cluster has a GPU"),
    ],
)
def test_what_the_cluster_has_no_room_for_is_refused(ray_session, tmp_path, space, plan, message):
    features = write_features(tmp_path / "features", feature_rows())
    with pytest.raises(UserError, match=message):
        search(features, tmp_path / "run", space, **plan)
    assert not (tmp_path / "run" / "trials").exists()
