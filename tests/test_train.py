import dataclasses
import io
import json
import math
import time

import pytest
from making import GENRES, SMALL, feature_row, feature_rows, write_features
from rich.console import Console

from genreray import checkpoint, labels, resume, trainer
from genreray import train as train_module
from genreray.cluster import Cluster
from genreray.errors import UserError
from genreray.featureset import FeatureSet
from genreray.models.mel_cnn import MelCnnConfig
from genreray.progress import Progress
from genreray.recipe import TrainingConfig
from genreray.train import train

MODEL = MelCnnConfig(filters=(4, 8), learning_rate=3e-3)
SHORT = TrainingConfig(epochs=3, batch_size=8, crop_frames=64, crops=2)


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    return write_features(tmp_path_factory.mktemp("train") / "features", feature_rows(72))


def run(features, folder, config=SHORT, model=MODEL, workers=1, gpu="no"):
    return train(
        features,
        str(folder),
        "mel_cnn",
        model,
        config,
        workers=workers,
        gpu=gpu,
        cluster=Cluster(),
        progress=Progress(Console(), "train"),
    )


@pytest.fixture(scope="module")
def finished(ray_session, features, tmp_path_factory):
    folder = tmp_path_factory.mktemp("train") / "run"
    return folder, run(features, folder)


def test_a_run_learns_and_leaves_its_best_epoch(finished):
    folder, done = finished
    assert [epoch["epoch"] for epoch in done.history] == [1, 2, 3]
    assert (done.n_training, done.n_validation, done.genres) == (48, 12, list(GENRES))
    assert done.history[-1]["training_loss"] < done.history[0]["training_loss"] < math.log(3) * 1.2
    loaded = checkpoint.load(str(folder))
    assert loaded.settings.metrics["epoch"] == done.best["epoch"]
    assert done.best["calibrated_loss"] == min(epoch["calibrated_loss"] for epoch in done.history)
    assert loaded.settings.temperature == done.best["temperature"]
    assert loaded.settings.features == SMALL
    assert sum(p.numel() for p in loaded.model.parameters()) == done.n_parameters


def test_the_history_is_there_for_people(finished):
    folder, done = finished
    assert json.loads((folder / "history.json").read_text()) == done.history


def test_a_finished_run_is_left_as_it_is(finished, features):
    folder, done = finished
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    again = run(features, folder)
    assert again.already_finished
    assert again.history == done.history
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before


def test_other_settings_in_the_same_folder_are_refused(finished, features):
    folder, _ = finished
    with pytest.raises(UserError, match="epochs 3, not 4"):
        run(features, folder, TrainingConfig(epochs=4, batch_size=8, crop_frames=64, crops=2))


def test_an_interrupted_run_goes_on_and_ends_as_if_it_had_not_been(finished, features, tmp_path, monkeypatch):
    """The driver is lost after the second epoch: Ray Train's files are all that is left."""
    _, whole = finished
    folder = tmp_path / "run"
    lost = RuntimeError("driver lost")

    def stop_after_fit(tracks, task, plan, **how):
        cut = dataclasses.replace(task, config=TrainingConfig(**{**vars(task.config), "epochs": 2}))
        fit(tracks, cut, plan, **how)
        raise lost

    fit = train_module.fit
    monkeypatch.setattr(train_module, "fit", stop_after_fit)
    with pytest.raises(RuntimeError, match="driver lost"):
        run(features, folder)
    assert len(resume.read_history(str(folder))) == 2
    assert not (folder / "config.json").exists()
    monkeypatch.setattr(train_module, "fit", fit)
    resumed = run(features, folder)
    losses = [(epoch["training_loss"], epoch["validation_loss"]) for epoch in resumed.history]
    assert losses == [
        (pytest.approx(epoch["training_loss"], rel=1e-4), pytest.approx(epoch["validation_loss"], rel=1e-4))
        for epoch in whole.history
    ]


def test_a_store_that_does_not_answer_for_a_while_does_not_end_the_lines(faulty):
    said = io.StringIO()
    epoch = {"epoch": 1, "training_loss": 1.0, "validation_loss": 1.0, "seconds": 1.0}
    epoch |= {"training_accuracy": 0.5, "validation_accuracy": 0.5}
    with train_module._epoch_lines("faulty://run", 2, Progress(Console(file=said), "train")):
        store = faulty("exists", OSError("no answer"), OSError("no answer"))
        wait_until(lambda: store.calls >= 2)
        resume.write_history("faulty://run", [epoch])
        wait_until(lambda: "epoch   1/2" in said.getvalue())


def wait_until(is_so):
    until = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_two_workers_on_two_cpus_see_every_validation_track(ray_session, features, tmp_path):
    done = run(features, tmp_path / "run", TrainingConfig(epochs=1, batch_size=8, crop_frames=64), workers=2)
    accuracy = done.history[0]["validation_accuracy"]
    assert accuracy * 12 == pytest.approx(round(accuracy * 12))  # a share of all 12, not of one worker's


@pytest.mark.faults
def test_a_loss_that_is_no_number_is_one_clear_error(ray_session, features, tmp_path):
    model = MelCnnConfig(filters=(4, 8), learning_rate=1e30, optimizer="sgd")
    with pytest.raises(UserError, match="not a finite number in epoch 1: .*lower --learning-rate") as caught:
        run(features, tmp_path / "run", model=model)
    print(f"\ninjected: a learning rate of 1e30; found: {caught.value}")


def test_a_gpu_that_is_not_there_is_refused_at_once(ray_session, features, tmp_path):
    with pytest.raises(UserError, match="no node of the cluster has a GPU"):
        run(features, tmp_path / "run", gpu="yes")


@pytest.mark.parametrize(
    ("rows", "config", "message"),
    [
        (feature_rows(), TrainingConfig(crop_frames=131), "longest clips have 130 frames"),
        ([feature_row("a", "Rock", "training", 99, SMALL)], SHORT, "no tracks in split 'validation'"),
        (
            [feature_row(s, "Rock", s, 99, SMALL) for s in ("training", "validation")],
            SHORT,
            "training track .* is Rock",
        ),
        (
            [feature_row(f"{s}{g}", g, s, 99, SMALL) for s, g in (("training", "Folk"), ("training", "Rock"))]
            + [feature_row("a", "Jazz", "validation", 99, SMALL)],
            SHORT,
            "no validation track .* is of a genre that the training tracks have",
        ),
    ],
    ids=["long crop", "no validation", "one genre", "other genres"],
)
def test_features_that_cannot_be_trained_on_are_refused(tmp_path, rows, config, message):
    features = write_features(tmp_path / "features", rows)
    with pytest.raises(UserError, match=message):
        run(features, tmp_path / "run", config)
    assert not (tmp_path / "run").exists()


def test_a_folder_of_something_else_is_refused(features, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.docx").write_bytes(b"x")
    with pytest.raises(UserError, match="not a training run"):
        run(features, tmp_path / "run")
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["thesis.docx"]


def test_doubts_about_the_split_are_told(tmp_path):
    rows = [row for row in feature_rows() if not (row["genre"] == "Jazz" and row["split"] == "validation")]
    rows.append(feature_row("odd", "Polka", "validation", 99, SMALL))
    features = FeatureSet.open(write_features(tmp_path / "features", rows))
    first, second = labels.learnable(features, "genre").doubts
    assert first.startswith("no validation track is Jazz:")
    assert second.startswith("no training track is Polka:")


def test_seeds_of_epochs_and_workers_differ():
    seeds = {trainer._seed(a, b, c) for a in range(3) for b in range(10) for c in range(3)}
    assert len(seeds) == 90
