import dataclasses
import json

import numpy as np
import pytest

from genreray import models, space, winner
from genreray.errors import UserError
from genreray.models import elsewhere
from genreray.parsing import parse
from genreray.space import Configs
from genreray.winner import Winner

CONFIGS = space.apply(
    {"filters": (4, 8), "learning_rate": 3e-3, "dropout": 0.1, "batch_size": 8, "epochs": 5, "mixup": 0.2},
    models.family("mel_cnn_shallow"),
)
BEST = Winner("mel_cnn_shallow", CONFIGS, found={"trial_id": "7", "metrics": {"validation_loss": 0.7}})


@pytest.fixture
def best(tmp_path) -> str:
    uri = str(tmp_path / "best.json")
    winner.write(uri, BEST)
    return uri


def edited(uri: str, **values: object) -> str:
    found = json.loads(open(uri, encoding="utf-8").read())  # noqa: SIM115, PTH123
    for key, value in values.items():
        found[key] = found[key] | value if isinstance(value, dict) else value
    winner.storage.write_json(uri, found)
    return uri


def test_what_was_found_comes_back(best):
    assert winner.read(best) == BEST
    assert winner.read(best, "mel_cnn_shallow") == BEST


def test_train_goes_from_it(best):
    job = parse(["train", "features", "run", "--config", best])
    assert job.model == "mel_cnn_shallow"
    assert Configs(job.architecture, job.training) == CONFIGS
    assert job.labels == "genre"
    same = parse(["train", "features", "run", f"--config={best}", "--model", "mel_cnn_shallow"])
    assert dataclasses.asdict(same) == dataclasses.asdict(job)


@pytest.mark.parametrize("name", models.MODELS)
def test_train_trains_by_what_a_trial_did_whatever_the_model(tmp_path, name):
    family = models.family(name)
    point = space.draw(family.space, np.random.default_rng(0))
    configs = space.apply(point, family)
    winner.write(str(tmp_path / "best.json"), Winner(name, configs))
    job = parse(["train", "features", "run", "--config", str(tmp_path / "best.json")])
    assert (job.model, Configs(job.architecture, job.training)) == (name, configs)


def test_flags_say_otherwise(best):
    job = parse(["train", "features", "run", "--epochs", "9", "--config", best, "--dropout", "0.4", "--filters", "2"])
    assert job.training == dataclasses.replace(CONFIGS.training, epochs=9)
    assert job.architecture == dataclasses.replace(CONFIGS.model, dropout=0.4, filters=(2,))


def test_labels_are_part_of_it(best):
    winner.write(best, dataclasses.replace(BEST, labels="genres"))
    assert parse(["train", "features", "run", "--config", best]).labels == "genres"
    assert parse(["train", "features", "run", "--config", best, "--labels", "genre"]).labels == "genre"


def test_settings_that_are_left_out_are_the_models_own(best):
    edited(best, training={}, model={})
    found = json.loads(open(best, encoding="utf-8").read())  # noqa: SIM115, PTH123
    winner.storage.write_json(best, {"job": "tune", "model": {"name": "crnn", "recurrent": 32}})
    assert found["training"]["epochs"] == 5
    configs = winner.read(best).configs
    assert configs.model == models.family("crnn").config(recurrent=32)
    assert configs.training == models.family("crnn").training


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"job": "train"}, ["best.json is no configuration"]),
        ({"model": []}, ["no configuration"]),
        ({"model": {"name": 3}}, ["damaged"]),
        ({"labels": "styles"}, ["damaged"]),
        ({"training": 3}, ["damaged"]),
        ({"model": {"name": "mel_cnm"}}, ["'mel_cnm'", "none of genreray's", "--model"]),
        ({"model": {"dropuot": 0.3}}, ["'dropuot'", "dropout"]),
        ({"model": {"dropout": 1.5}}, ["dropout is 1.5"]),
        ({"model": {"filters": "many"}}, ["filters takes lists of whole numbers"]),
        ({"training": {"batch_size": "8"}}, ["batch_size takes whole numbers, not '8'"]),
        ({"training": {"learning_rate": float("nan")}}, ["learning rate is nan"]),
    ],
)
def test_a_bad_file_is_one_clear_line(best, change, words):
    with pytest.raises(UserError) as caught:
        parse(["train", "features", "run", "--config", edited(best, **change)])
    assert "\n" not in str(caught.value)
    assert [word for word in ["best.json", *words] if word not in str(caught.value)] == []


def test_a_file_that_is_missing_or_no_json(tmp_path):
    for content in (None, "no json", "[1]"):
        if content:
            (tmp_path / "best.json").write_text(content)
        with pytest.raises(UserError, match="best.json"):
            parse(["train", "features", "run", "--config", str(tmp_path / "best.json")])


def test_another_model_is_refused(best):
    with pytest.raises(UserError, match="is of the model mel_cnn_shallow, not crnn: leave --model out"):
        parse(["train", "features", "run", "--config", best, "--model", "crnn"])


def test_code_of_others_runs_only_where_it_is_named(best, tmp_path, monkeypatch):
    (tmp_path / "theirs.py").write_text("raise SystemExit('ran')")
    monkeypatch.syspath_prepend(tmp_path)
    edited(best, model={"name": "theirs"})
    with pytest.raises(UserError, match="run its code"):
        parse(["train", "features", "run", "--config", best])
    with pytest.raises(SystemExit, match="ran"):
        parse(["train", "features", "run", "--config", best, "--model", "theirs"])
    assert not elsewhere.entry_points()
