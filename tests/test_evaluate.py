"""Prediction, evaluation and tagging share a checkpoint trained nowhere: its numbers only have to agree."""

import csv
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile as sf
import torch
from making import GENRES, SMALL, feature_row, feature_rows, write_features
from rich.console import Console
from sklearn.metrics import accuracy_score, log_loss

from genreray import checkpoint, loading, loop, tables
from genreray.checkpoint import Settings
from genreray.cluster import Cluster
from genreray.errors import UserError
from genreray.evaluate import evaluate
from genreray.extract import extract
from genreray.features import FeatureConfig
from genreray.featureset import FeatureSet
from genreray.models.mel_cnn import MelCnnConfig
from genreray.predict import predict, predict_rows
from genreray.progress import Progress
from genreray.tag import tag

SETTINGS = Settings(
    model="mel_cnn",
    model_config=MelCnnConfig(filters=(4, 8)),
    features=SMALL,
    genres=list(GENRES),
    crop_frames=64,
    n_crops=2,
    training={},
    metrics={"epoch": 1},
)
ON_RAY = {"gpu": "no", "cluster": Cluster(), "progress": Progress(Console(), "test")}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    torch.manual_seed(0)
    checkpoint.save(str(folder), SETTINGS.build(), SETTINGS)
    return str(folder)


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    rows = [*feature_rows(), feature_row("polka", "Polka", "test", 100, SMALL)]
    return write_features(tmp_path_factory.mktemp("evaluate") / "features", rows)


@pytest.fixture(scope="module")
def predictions(ray_session, features, trained):
    return predict(FeatureSet.open(features), trained, split="test", **ON_RAY)


def test_every_row_of_the_split_gets_one_prediction(predictions):
    expected = [row for row in feature_rows() if row["split"] == "test"]
    assert predictions["track_id"].to_pylist() == sorted([row["track_id"] for row in expected] + ["polka"])
    assert predictions.schema.equals(tables.PREDICTIONS)


def test_probabilities_are_those_of_the_network(predictions, trained):
    rows = {row["track_id"]: row for row in feature_rows()}
    loaded = checkpoint.load(trained)
    for found in predictions.to_pylist():
        if found["track_id"] == "polka" or found["status"] != "ok":
            continue
        table = pa.Table.from_pylist([rows[found["track_id"]]], schema=tables.FEATURES)
        clips = loading.from_table(table, ["mel"], SMALL, GENRES)
        expected = loop.predict(loaded.model, clips, crop_frames=64, n_crops=2, device=torch.device("cpu"))[0].tolist()
        assert {g["genre"]: pytest.approx(g["probability"], abs=1e-5) for g in found["genres"]} == dict(
            zip(GENRES, expected, strict=True)
        )
        assert found["genre"] == GENRES[int(np.argmax(expected))]


def test_a_failed_track_keeps_its_error_and_has_no_genre(predictions):
    failed = next(row for row in predictions.to_pylist() if row["status"] != "ok")
    assert (failed["status"], failed["error"]) == ("undecodable", "not audio")
    assert failed["genre"] is failed["confidence"] is failed["genres"] is None


def test_the_best_genres_come_first_and_no_more_than_asked(trained):
    table = pa.Table.from_pylist(feature_rows(6), schema=tables.FEATURES)
    found = predict_rows(table, checkpoint.load(trained), 2, torch.device("cpu"))
    for row in found.to_pylist()[:6]:
        probabilities = [genre["probability"] for genre in row["genres"]]
        assert len(probabilities) == 2
        assert probabilities == sorted(probabilities, reverse=True)
        assert (row["genre"], row["confidence"]) == (row["genres"][0]["genre"], probabilities[0])


@pytest.fixture(scope="module")
def report(ray_session, features, trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate") / "report"
    return folder, evaluate(features, str(folder), trained, split="test", target_accuracy=0.3, **ON_RAY)


def test_the_report_scores_the_tracks_whose_genre_is_known(report, predictions):
    done = report[1]
    known = [row for row in predictions.to_pylist() if row["status"] == "ok" and row["true_genre"] in GENRES]
    truth = [row["true_genre"] for row in known]
    assert (done.scores.n, done.n_unscored) == (len(known), 1)
    assert done.scores.accuracy == pytest.approx(accuracy_score(truth, [row["genre"] for row in known]))
    probabilities = np.array(
        [[{g["genre"]: g["probability"] for g in row["genres"]}[n] for n in GENRES] for row in known]
    )
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    assert done.scores.log_loss == pytest.approx(log_loss(truth, probabilities, labels=GENRES), rel=1e-5)
    assert done.counts == {"ok": len(known) + 1, "undecodable": 1}


def test_the_report_folder_holds_the_three_files(report, predictions):
    folder, done = report
    assert {p.name for p in folder.iterdir()} == {"report.html", "metrics.json", "predictions.parquet"}
    assert json.loads((folder / "metrics.json").read_text())["accuracy"] == done.scores.accuracy
    assert pq.read_table(folder / "predictions.parquet").cast(tables.PREDICTIONS).equals(predictions)


def test_the_report_names_the_confidence_for_the_accuracy_that_is_wanted(report, predictions):
    folder, done = report
    found = json.loads((folder / "metrics.json").read_text())["target"]
    assert found == done.target
    known = [row for row in predictions.to_pylist() if row["status"] == "ok" and row["true_genre"] in GENRES]
    labelled = [row for row in known if row["confidence"] >= found["min_confidence"]]
    right = [row for row in labelled if row["genre"] == row["true_genre"]]
    assert found["wanted"] == 0.3 <= found["accuracy"] == pytest.approx(len(right) / len(labelled))
    assert found["coverage"] == pytest.approx(len(labelled) / len(known))
    assert f"--min-confidence {found['min_confidence']}" in (folder / "report.html").read_text()


def test_features_of_other_settings_are_refused(features, trained, tmp_path):
    other = FeatureConfig(n_mels=32, n_mfcc=13, duration=3.0, hop_length=256)
    folder = write_features(tmp_path / "features", feature_rows(6, other), other)
    with pytest.raises(UserError, match="different feature settings"):
        evaluate(folder, str(tmp_path / "report"), trained, split="training", **ON_RAY)
    assert not (tmp_path / "report").exists()


def test_a_report_does_not_replace_something_else(features, trained, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds notes\.txt"):
        evaluate(features, str(tmp_path), trained, split="test", **ON_RAY)


@pytest.fixture(scope="module")
def songs(tmp_path_factory, tone):
    folder = tmp_path_factory.mktemp("songs")
    rows = []
    for i in range(6):
        sf.write(folder / f"{i}.flac", tone(44100, 4.0, 150.0 * 2**i, channels=2), 44100)
        rows.append({"track_id": f"{i}", "uri": str(folder / f"{i}.flac"), "genre": GENRES[i % 3], "split": "test"})
    rows.append({"track_id": "gone", "uri": str(folder / "gone.flac"), "genre": "Rock", "split": "test"})
    return pa.Table.from_pylist(rows, schema=tables.CATALOG)


@pytest.fixture(scope="module")
def tagged(ray_session, songs, trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tags") / "tags"
    return folder, tag(songs, str(folder), trained, top_k=3, **ON_RAY)


def test_tagging_gives_what_evaluating_stored_features_gives(tagged, songs, trained, tmp_path):
    folder, _ = tagged
    on_ray = {key: ON_RAY[key] for key in ("cluster", "progress")}
    extract(songs, str(tmp_path / "features"), SMALL, split_method="official", **on_ray)
    stored = predict(FeatureSet.open(str(tmp_path / "features")), trained, split="test", **ON_RAY).to_pylist()
    direct = pq.read_table(folder / "predictions").sort_by("track_id").to_pylist()
    for one, other in zip(direct, stored, strict=True):
        same = [name for name in tables.PREDICTIONS.names if name not in ("genres", "confidence")]
        assert [one[name] for name in same] == [other[name] for name in same]
        for a, b in zip(one["genres"] or (), other["genres"] or (), strict=True):
            assert (a["genre"], a["probability"]) == (b["genre"], pytest.approx(b["probability"], abs=1e-5))


def test_the_csv_holds_the_same_rows_in_order(tagged):
    folder, done = tagged
    assert done.counts == {"ok": 6, "not_found": 1}
    with (folder / "tags.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    stored = pq.read_table(folder / "predictions").sort_by("track_id").to_pylist()
    assert [row["track_id"] for row in rows] == [row["track_id"] for row in stored]
    for row, other in zip(rows, stored, strict=True):
        if other["genres"] is None:
            assert row["genre_1"] == row["probability_3"] == ""
            continue
        assert [row[f"genre_{k}"] for k in (1, 2, 3)] == [g["genre"] for g in other["genres"]]
        assert float(row["probability_1"]) == pytest.approx(other["confidence"], abs=1e-4)


def test_tagging_again_does_what_is_missing_only(tagged, songs, trained):
    folder, _ = tagged
    more = pa.concat_tables([songs, songs.slice(0, 1).set_column(0, songs.schema.field(0), pa.array(["new"]))])
    again = tag(more, str(folder), trained, top_k=3, **ON_RAY)
    assert (again.n_done, again.n_before) == (1, 7)
    assert len((folder / "tags.csv").read_text().splitlines()) == 9


def test_labels_of_another_model_are_not_mixed_in(tagged, songs, tmp_path):
    folder, _ = tagged
    torch.manual_seed(1)
    checkpoint.save(str(tmp_path), SETTINGS.build(), SETTINGS)
    with pytest.raises(UserError, match="other settings \\(checkpoint"):
        tag(songs, str(folder), str(tmp_path), top_k=3, **ON_RAY)


def test_more_genres_than_there_are_are_refused(songs, trained, tmp_path):
    with pytest.raises(UserError, match="top k is 4: give 1 to 3"):
        tag(songs, str(tmp_path / "tags"), trained, top_k=4, **ON_RAY)


@pytest.mark.parametrize("name", ["tags.csv", "holiday.jpg"])
def test_tags_do_not_replace_something_else(songs, trained, tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match=f"holds {name}"):
        tag(songs, str(tmp_path), trained, top_k=3, **ON_RAY)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"
