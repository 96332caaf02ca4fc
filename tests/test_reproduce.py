import dataclasses
import json
import re

import numpy as np
import pyarrow.parquet as pq
import pytest
from making import feature_rows, write_features
from rich.console import Console
from sklearn.metrics import accuracy_score, f1_score, log_loss

from genreray import comparison, comparison_page
from genreray import reproduce as reproduce_module
from genreray.cluster import Cluster
from genreray.comparison import Comparison, Failure, System, Trial
from genreray.errors import UserError
from genreray.features import FeatureConfig
from genreray.progress import Progress
from genreray.reproduce import Plan, recipe, reproduce


def plan(*names, seeds=2):
    return Plan(names, seeds, epochs=2, split="test", workers=1, gpu="no")


def run(features, report, wanted):
    return reproduce(features, str(report), wanted, cluster=Cluster(), progress=Progress(Console(), "reproduce"))


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    return write_features(tmp_path_factory.mktemp("reproduce") / "features", feature_rows(72))


@pytest.fixture(scope="module")
def made(ray_session, features, tmp_path_factory):
    """A table of one system with two seeds; then, in the same folder, of two systems with one."""
    report = tmp_path_factory.mktemp("reproduce") / "report"
    first, worked = run(features, report, plan("forest", seeds=2))
    assert worked
    before = {path: path.stat().st_mtime_ns for path in (report / "systems").rglob("*")}
    table, worked = run(features, report, plan("forest", "mfcc_cnn", seeds=1))
    assert worked
    assert {path: path.stat().st_mtime_ns for path in before} == before  # it went on, and did nothing again
    return report, first, table


@pytest.mark.parametrize(("which", "row", "seeds"), [(1, 0, 2), (2, 0, 1), (2, 1, 1)])
def test_every_system_has_a_row_scored_as_scikit_learn_does(made, which, row, seeds):
    report, table = made[0], made[which]
    system = table.systems[row]
    accuracies, f1s, losses = [], [], []
    for seed in range(seeds):
        rows = pq.read_table(report / "systems" / system.name / f"seed-{seed}" / "report" / "predictions.parquet")
        rows = [row for row in rows.to_pylist() if row["status"] == "ok"]
        true = [row["true_genre"] for row in rows]
        accuracies.append(accuracy_score(true, [row["genre"] for row in rows]))
        f1s.append(f1_score(true, [row["genre"] for row in rows], average="macro"))
        p = [[{g["genre"]: g["probability"] for g in row["genres"]}[name] for name in table.genres] for row in rows]
        p = np.array(p) / np.sum(p, axis=1, keepdims=True)
        losses.append(log_loss(true, p, labels=table.genres))
    assert (system.name, system.seeds) == (("forest", "mfcc_cnn")[row], seeds)
    assert system.accuracy == pytest.approx(np.mean(accuracies))
    assert system.accuracy_deviation == (pytest.approx(np.std(accuracies, ddof=1)) if seeds > 1 else None)
    assert system.macro_f1 == pytest.approx(np.mean(f1s))
    assert system.log_loss == pytest.approx(np.mean(losses), rel=1e-4)


def test_the_seeds_of_a_system_are_averaged_in_a_row(made):
    assert [system.name for system in made[1].systems] == ["forest", "forest, 2 seeds averaged"]


def test_the_table_is_there_in_three_forms(made):
    report, _, table = made
    assert json.loads((report / "comparison.json").read_text()) == json.loads(json.dumps(table.to_json()))
    markdown = (report / "comparison.md").read_text()
    page = (report / "comparison.html").read_text()
    for system in table.systems:
        assert all(cell in markdown for cell in comparison_page.cells(system))
        assert f"<td>{system.name}</td>" in page
    assert "<svg" in page
    assert not re.search(r"(?:src|href)=\"(?!#)|@import|url\((?!#)", page)  # self-contained


def test_a_finished_table_is_left_as_it_is(made, features):
    report, _, table = made
    again, worked = run(features, report, plan("forest", "mfcc_cnn", seeds=1))
    assert not worked
    assert again == table


def test_another_split_is_scored_with_the_same_runs(made, features):
    report, _, _ = made
    before = {path: path.stat().st_mtime_ns for path in (report / "systems").rglob("run/**/*")}
    other, worked = run(features, report, dataclasses.replace(plan("forest", seeds=1), split="validation"))
    assert worked
    assert other.split == "validation"
    assert other.systems[0].accuracy == pytest.approx(other.systems[0].validation_accuracy)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_system_that_fails_is_told_and_the_others_go_on(made, features, monkeypatch):
    report, _, _ = made

    def train_worker_lost(*args, **options):
        if args[2] == "mlp":
            raise RuntimeError("Traceback of a worker\n  File somewhere\nValueError: no luck\n")
        return train(*args, **options)

    train = reproduce_module.train
    monkeypatch.setattr(reproduce_module, "train", train_worker_lost)
    table, _ = run(features, report, plan("mlp", "forest", seeds=1))
    assert [failure.name for failure in table.failures] == ["mlp"]
    assert table.failures[0].error == "RuntimeError: ValueError: no luck"
    assert table.systems[0].name == "forest"


def test_a_folder_of_something_else_is_refused(features, tmp_path):
    (tmp_path / "thesis.docx").write_bytes(b"x")
    with pytest.raises(UserError, match=r"holds thesis\.docx"):
        run(features, tmp_path, plan("forest"))


def test_an_unknown_system_is_refused_before_any_work(features, tmp_path):
    with pytest.raises(UserError, match="no model 'tree'"):
        run(features, tmp_path / "report", plan("forest", "tree"))
    assert not (tmp_path / "report").exists()


def test_recipes_are_the_systems_own_with_crops_that_fit():
    short = recipe("mel_cnn", FeatureConfig(duration=3.0), None, 2)
    assert (short.crop_frames, short.seed) == (130, 2)
    assert recipe("mel_cnn", FeatureConfig(), 7, 0).epochs == 7
    assert recipe("svm", FeatureConfig(), 7, 0).epochs == 1  # which has no epochs
    assert recipe("mel_cnn", FeatureConfig(), None, 0).crop_frames == 385


# The numbers of a row, by hand


def trial(*predicted, labels=(0, 0, 1, 1)):
    return Trial(np.eye(2)[list(predicted)] * 0.8 + 0.1, np.array(labels), 0.5, 10.0)


def test_a_row_is_the_mean_of_its_seeds():
    system = comparison.of_trials("svm", "x", 0, [trial(0, 0, 1, 1), trial(0, 0, 0, 0)], ["a", "b"])
    assert system.accuracy == 0.75
    assert system.accuracy_deviation == pytest.approx(np.sqrt(2) / 4)
    assert system.macro_f1 == pytest.approx((1 + (2 / 3) / 2) / 2)
    assert system.log_loss == pytest.approx(-(6 * np.log(0.9) + 2 * np.log(0.1)) / 8)
    assert system.top3_accuracy is None
    assert system.seconds == 10


def test_the_interval_is_over_tracks():
    rng = np.random.default_rng(0)
    labels = np.zeros(400, int)
    probabilities = np.eye(2)[(rng.random(400) < 0.3).astype(int)]
    one = Trial(probabilities, labels, 0.5, 1.0)
    alone = comparison.of_trials("svm", "x", 0, [one], ["a", "b"])
    thrice = comparison.of_trials("svm", "x", 0, [one] * 3, ["a", "b"])
    assert alone.accuracy_interval == thrice.accuracy_interval  # equal seeds say nothing more about the tracks
    half = (alone.accuracy_interval[1] - alone.accuracy_interval[0]) / 2
    assert half == pytest.approx(1.96 * np.sqrt(0.7 * 0.3 / 400), rel=0.1)


def test_an_ensemble_averages_probabilities():
    confident, unsure = np.array([[0.9, 0.1]]), np.array([[0.4, 0.6]])
    trials = [Trial(p, np.array([0]), 0.5, 10.0) for p in (confident, unsure)]
    single = comparison.of_trials("svm", "x", 5, trials, ["a", "b"])
    together = comparison.ensemble(single, trials, ["a", "b"])
    assert (single.accuracy, together.accuracy) == (0.5, 1.0)
    assert together.log_loss == pytest.approx(-np.log(0.65))
    assert (together.parameters, together.seconds) == (10, 20.0)


def test_trials_of_different_tracks_are_not_compared():
    with pytest.raises(ValueError, match="different tracks"):
        comparison.of_trials("svm", "x", 0, [trial(0, 0, 1, 1), trial(0, 0, 1, 1, labels=(0, 1, 1, 1))], ["a", "b"])


def system(name):
    return System(name, "mel | x", 10, 1, 0.5, (0.4, 0.6), None, 0.5, 1.0, None, 0.1, 0.5, 3.0)


def test_what_failed_and_what_is_to_come_is_said():
    table = Comparison(
        features="f",
        split="test",
        split_method="official",
        genres=["a", "b"],
        n=4,
        majority_genre="a",
        majority_share=0.5,
        systems=[system("mel_cnn")],
        failures=[Failure("crnn", "<b>no memory</b>")],
        wanted=["mel_cnn", "crnn", "svm"],
    )
    markdown = comparison_page.markdown(table)
    assert "- crnn: <b>no memory</b>" in markdown
    assert "- still to come: svm" in markdown
    assert r"mel \| x" in markdown
    page = comparison_page.html(table)
    assert "&lt;b&gt;no memory" in page
    assert "<b>no memory</b>" not in page
    assert "0.56 (0.60 in its abstract)" in page
