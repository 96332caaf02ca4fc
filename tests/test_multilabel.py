"""Several genres a track, from FEATURES to tags, on a small tree that the features show."""

import csv
import dataclasses
import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile as sf
import torch
from making import PARENTS, SMALL, feature_row, tree_rows, write_features
from rich.console import Console
from sklearn.metrics import average_precision_score
from test_trainer import run, weights

from genreray import checkpoint, cli, labels, loading, models, tables
from genreray.checkpoint import Settings
from genreray.cluster import Cluster
from genreray.errors import UserError
from genreray.evaluate import evaluate
from genreray.featureset import FeatureSet
from genreray.models.fitted import FittedConfig
from genreray.models.mel_cnn import MelCnnConfig
from genreray.predict import predict_rows
from genreray.progress import Progress
from genreray.recipe import TrainingConfig
from genreray.rows import Read
from genreray.source import Source
from genreray.tag import tag
from genreray.train import train
from genreray.trainer import Trainer

ON_RAY = {"cluster": Cluster(), "progress": Progress(Console(), "test")}
MODEL = MelCnnConfig(filters=(4, 8), learning_rate=1e-2)
RECIPE = TrainingConfig(epochs=8, batch_size=8, crop_frames=64, crops=2)
GENRES = ["Folk", "Jazz", "Oi", "Punk", "Rock"]


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    rows = [*tree_rows(96), {**feature_row("polka", "Polka", "test", 100, SMALL), "genres": ["Polka"]}]
    return write_features(tmp_path_factory.mktemp("several") / "features", rows, genre_parents=PARENTS)


def trainer(features, recipe=RECIPE, name="mel_cnn", config=MODEL):
    found = FeatureSet.open(features)
    learnt = labels.learnable(found, "genres")
    settings = Settings(
        model=name,
        model_config=config,
        features=SMALL,
        genres=learnt.genres,
        crop_frames=recipe.crop_frames,
        n_crops=recipe.crops,
        training=dataclasses.asdict(recipe),
        metrics={},
        tree=learnt.tree,
    )
    places = {split: rows.select(["part", "row"]) for split, rows in learnt.tracks.items()}
    return Trainer(
        settings,
        recipe,
        lambda inputs: Source(places["training"], settings, inputs, True),
        lambda inputs: Source(places["validation"], settings, inputs, True),
        counts=learnt.counts,
        device=torch.device("cpu"),
    )


@pytest.fixture(scope="module")
def trained(features, tmp_path_factory):
    """A checkpoint, and the history that it ends."""
    folder = str(tmp_path_factory.mktemp("several") / "checkpoint")
    done = trainer(features)
    history = run(done)
    done.save(folder)
    return folder, history


# --- training ---


def test_clips_have_all_their_genres_and_those_above(features):
    table = pa.Table.from_pylist(tree_rows(48), schema=tables.FEATURES)
    table = table.filter(pa.array([status == "ok" for status in table["status"].to_pylist()]))
    clips = loading.load([Read(table)], ["mel"], SMALL, GENRES, PARENTS)
    above = {"Oi": {"Oi", "Punk", "Rock"}, "Punk": {"Punk", "Rock"}}
    for row, found in zip(table["genres"].to_pylist(), clips.labels, strict=True):
        expected = above.get(row[0], set(row))
        assert {GENRES[i] for i in torch.nonzero(found)[:, 0]} == expected
    some = loading.load([Read(table)], ["mel"], SMALL, ["Folk", "Jazz"], PARENTS).labelled()
    assert 0 < len(some) < len(clips)
    assert some.labels.any(1).all()


def test_it_learns_the_tree(trained):
    _, history = trained
    assert history[-1]["training_loss"] < history[0]["training_loss"] < math.log(2) * 1.5
    assert history[-1]["validation_mean_average_precision"] > 0.9
    assert "training_accuracy" not in history[-1]
    assert all(epoch["calibrated_loss"] <= epoch["validation_loss"] + 1e-9 for epoch in history)


FULL = dataclasses.replace(
    RECIPE, epochs=4, schedule="one_cycle", clip_norm=1.0, label_smoothing=0.1, mixup=0.3, gain=3.0, averaging="ema"
)


def test_training_goes_on_after_an_epoch_as_if_it_had_not_stopped(features, tmp_path):
    whole = trainer(features, FULL)
    run(whole)
    cut = trainer(features, FULL)
    cut.epoch()
    cut.save(str(tmp_path))
    resumed = trainer(features, FULL)
    resumed.load(str(tmp_path))
    run(resumed)
    assert resumed.history[-1]["calibrated_loss"] == pytest.approx(whole.history[-1]["calibrated_loss"], rel=1e-4)
    for name, value in weights(whole).items():
        assert torch.allclose(weights(resumed)[name], value, atol=1e-5)
    assert resumed.settings.thresholds == pytest.approx(whole.settings.thresholds, abs=1e-4)


def test_a_checkpoint_carries_the_tree_and_the_thresholds(trained):
    settings = checkpoint.load_settings(trained[0])
    assert settings.tree == PARENTS
    assert list(settings.thresholds) == settings.genres == GENRES
    assert all(0 < value < 1 for value in settings.thresholds.values())
    assert settings.hierarchy().parents == (-1, -1, 3, 4, -1)


def test_a_loss_that_is_no_number_ends_training(features):
    config = MelCnnConfig(filters=(4,), learning_rate=1e30, optimizer="sgd")
    done = trainer(features, config=config)
    assert run(done)[-1] == {"epoch": len(done.history), "diverged": True}


@pytest.mark.parametrize("name", ["mlp", "mfcc_stats_cnn"])
def test_networks_need_no_change(features, name):
    done = trainer(features, dataclasses.replace(RECIPE, epochs=1), name, models.family(name).config())
    assert 0 < done.epoch()["validation_mean_average_precision"] <= 1


# --- predictions ---


@pytest.fixture(scope="module")
def rows(trained):
    table = pa.Table.from_pylist(tree_rows(48), schema=tables.FEATURES)
    return predict_rows(table, checkpoint.load(trained[0]), 1, torch.device("cpu"), to_score=True).to_pylist()


def test_predictions_hold_every_genre_that_reaches_its_threshold_as_its_parents_do(rows, trained):
    limits = checkpoint.load_settings(trained[0]).thresholds
    for row in rows:
        if row["status"] != "ok":
            assert row["genre"] is row["genres"] is row["probabilities"] is row["confidence"] is None
            continue
        all_of_them = {item["genre"]: item["probability"] for item in row["probabilities"]}
        assert set(all_of_them) == set(GENRES)
        reach = {genre for genre, p in all_of_them.items() if p >= limits[genre]}
        need = {"Punk": {"Rock"}, "Oi": {"Punk", "Rock"}}
        expected = {genre for genre in reach if need.get(genre, set()) <= reach}
        assert {item["genre"] for item in row["genres"]} == expected
        for listed in (row["genres"], row["probabilities"]):
            assert [item["probability"] for item in listed] == sorted((i["probability"] for i in listed), reverse=True)
        assert all_of_them["Oi"] <= all_of_them["Punk"] <= all_of_them["Rock"]
        top = [item for item in row["genres"] if item["genre"] not in PARENTS]
        assert (row["genre"], row["confidence"]) == ((top[0]["genre"], top[0]["probability"]) if top else (None, None))
        below = [item["genre"] for item in row["genres"] if item["genre"] in PARENTS]  # all of them below Rock
        assert row["subgenre"] == (below[0] if below and row["genre"] == "Rock" else None)
    assert sum(len(row["genres"] or ()) > 1 for row in rows) > 4
    assert {row["subgenre"] for row in rows} == {None, "Punk"}  # Oi is never more probable than Punk, which is above it


def test_a_parent_is_listed_before_a_child_that_is_as_probable(rows):
    for row in rows:
        names = [item["genre"] for item in row["probabilities"] or ()]
        if names:
            assert names.index("Rock") < names.index("Punk") < names.index("Oi")


def test_where_nothing_is_above_its_threshold_there_is_no_genre(trained, tmp_path):
    loaded = checkpoint.load(trained[0])
    high = dataclasses.replace(loaded.settings, thresholds=dict.fromkeys(GENRES, 1.1))
    table = pa.Table.from_pylist(tree_rows(6)[:6], schema=tables.FEATURES)
    found = predict_rows(table, dataclasses.replace(loaded, settings=high), 1, torch.device("cpu"))
    assert found.schema.equals(tables.PREDICTIONS)
    assert found["genre"].null_count == found["confidence"].null_count == 6
    assert found["genres"].to_pylist() == [[]] * 6
    assert found["true_genre"].to_pylist() == [row["genre"] for row in tree_rows(6)[:6]]


# --- on Ray ---


@pytest.fixture(scope="module")
def finished(ray_session, features, tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    recipe = dataclasses.replace(RECIPE, epochs=2)
    done = train(
        features, str(folder / "run"), "mel_cnn", MODEL, recipe, workers=1, gpu="no", labels="genres", **ON_RAY
    )
    scored = evaluate(features, str(folder / "report"), str(folder / "run"), split="test", gpu="no", **ON_RAY)
    return folder, done, scored


def test_a_run_leaves_its_best_epoch(finished):
    folder, done, _ = finished
    assert (done.genres, len(done.history)) == (GENRES, 2)
    assert done.best["calibrated_loss"] == min(epoch["calibrated_loss"] for epoch in done.history)
    settings = checkpoint.load_settings(str(folder / "run"))
    assert settings.metrics["epoch"] == done.best["epoch"]
    assert list(settings.thresholds) == GENRES


def test_the_report_is_scored_from_its_own_predictions(finished):
    folder, _, done = finished
    table = pq.read_table(folder / "report" / "predictions.parquet")
    assert [field.name for field in table.schema] == [*tables.PREDICTIONS.names, "probabilities", "true_genres"]
    known = [row for row in table.to_pylist() if row["status"] == "ok" and row["true_genres"] != ["Polka"]]
    p = np.array([[{i["genre"]: i["probability"] for i in row["probabilities"]}[g] for g in GENRES] for row in known])
    truth = np.array([[genre in row["true_genres"] for genre in GENRES] for row in known])
    assert (done.scores.n, done.n_unscored) == (len(known), 1)
    assert done.scores.mean_average_precision == pytest.approx(average_precision_score(truth, p))
    written = json.loads((folder / "report" / "metrics.json").read_text())
    assert written["mean_average_precision"] == done.scores.mean_average_precision
    assert {p.name for p in (folder / "report").iterdir()} == {"report.html", "metrics.json", "predictions.parquet"}


def test_tags_hold_as_many_genres_as_there_are(finished, tone, tmp_path):
    folder, _, _ = finished
    for i in range(3):
        sf.write(tmp_path / f"{i}.flac", tone(22050, 4.0, 200.0 * 3**i), 22050)
    songs = [{"track_id": f"{i}", "uri": str(tmp_path / f"{i}.flac")} for i in range(4)]
    catalog = pa.Table.from_pylist(songs, schema=tables.CATALOG)
    outcome = tag(catalog, str(tmp_path / "tags"), str(folder / "run"), top_k=99, gpu="no", **ON_RAY)
    assert outcome.counts == {"ok": 3, "not_found": 1}
    with (tmp_path / "tags" / "tags.csv").open(newline="", encoding="utf-8") as file:
        written = list(csv.DictReader(file))
    stored = pq.read_table(tmp_path / "tags" / "predictions").sort_by("track_id").to_pylist()
    columns = ["track_id", "uri", "status", "error", "genre", "subgenre", "abstained", "genres", "probabilities"]
    assert list(written[0]) == columns
    for row, other in zip(written, stored, strict=True):
        found = other["genres"] or []
        assert (row["genre"], row["subgenre"]) == (other["genre"] or "", other["subgenre"] or "")
        assert row["genres"] == "; ".join(item["genre"] for item in found)
        assert row["probabilities"] == "; ".join(f"{item['probability']:.4f}" for item in found)


# --- what is refused ---


def refused(features, folder, message, name="mel_cnn", model=MODEL, recipe=RECIPE):
    with pytest.raises(UserError, match=message):
        train(features, str(folder), name, model, recipe, workers=1, gpu="no", labels="genres", **ON_RAY)


@pytest.mark.parametrize("name", ["svm", "forest", "random", "prior"])
def test_systems_that_give_one_genre_are_refused(features, tmp_path, name):
    config = models.family(name).config()
    assert isinstance(config, FittedConfig)
    refused(features, tmp_path / "run", f"{name} gives each track one genre", name, config)
    assert not (tmp_path / "run").exists()


def test_a_recipe_for_one_genre_is_refused(features, tmp_path):
    recipe = dataclasses.replace(RECIPE, sampling="balanced")
    refused(features, tmp_path / "run", "--sampling is for one genre a track", recipe=recipe)


def test_a_run_of_one_genre_does_not_go_on_with_several(features, tmp_path, finished):
    with pytest.raises(UserError, match=r"begun with other settings \(5 genres, not 3\)"):
        train(features, str(finished[0] / "run"), "mel_cnn", MODEL, RECIPE, workers=1, gpu="no", **ON_RAY)


def test_the_command_says_what_is_learnt_and_how_well(finished, features, capsys):
    folder, done, _ = finished
    flags = ["--filters", "4", "8", "--learning-rate", "1e-2", "--epochs", "2", "--batch-size", "8"]
    argv = ["train", features, str(folder / "run"), *flags, "--crop-frames", "64", "--crops", "2", "--gpu", "no"]
    assert cli.main([*argv, "--labels", "genres"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "this run is finished" in shown
    assert f"validation mean average precision {done.best['validation_mean_average_precision']:.3f}" in shown
