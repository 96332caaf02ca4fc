import dataclasses
import math

import pytest
import sklearn.metrics
import torch
from making import GENRES, SMALL, feature_row, feature_rows, write_features

from genreray import calibration, checkpoint, models, resume
from genreray.checkpoint import Settings
from genreray.errors import UserError
from genreray.featureset import FeatureSet
from genreray.genres import class_order
from genreray.recipe import TrainingConfig
from genreray.source import Source
from genreray.trainer import SCORE, Trainer

RECIPE = TrainingConfig(epochs=4, batch_size=8, crop_frames=64, crops=2)


@pytest.fixture
def features(tmp_path):
    return FeatureSet.open(write_features(tmp_path / "features", feature_rows(72)))


def trainer(features, name="mel_cnn", recipe=RECIPE, in_memory=True, **config):
    genres = class_order(features.usable("training").column("genre").to_pylist())
    settings = Settings(
        model=name,
        model_config=models.family(name).config(**config),
        features=SMALL,
        genres=genres,
        crop_frames=recipe.crop_frames,
        n_crops=recipe.crops,
        training=dataclasses.asdict(recipe),
        metrics={},
    )
    labels = features.usable("training").column("genre").to_pylist()

    def open_split(split):
        places = features.usable(split).select(["part", "row"])
        return lambda inputs: Source(places, settings, inputs, in_memory)

    return Trainer(
        settings,
        recipe,
        open_split("training"),
        open_split("validation"),
        counts=[labels.count(genre) for genre in genres],
        device=torch.device("cpu"),
    )


def run(trainer):
    while not trainer.finished:
        trainer.epoch()
    return trainer.history


def weights(trainer):
    return {name: value.clone() for name, value in trainer.network.state_dict().items()}


FULL = TrainingConfig(
    epochs=4,
    batch_size=8,
    crop_frames=64,
    crops=2,
    schedule="one_cycle",
    clip_norm=1.0,
    label_smoothing=0.1,
    mixup=0.3,
    freq_masks=1,
    freq_mask_bins=4,
    time_masks=1,
    time_mask_frames=8,
    gain=3.0,
    averaging="ema",
    class_weights="sqrt",
)


@pytest.mark.parametrize("recipe", [RECIPE, FULL, dataclasses.replace(FULL, averaging="swa", swa_start=0.25)])
def test_training_goes_on_after_an_epoch_as_if_it_had_not_stopped(features, tmp_path, recipe):
    config = {"filters": (4, 8), "learning_rate": 3e-3}
    whole = trainer(features, recipe=recipe, **config)
    run(whole)
    cut = trainer(features, recipe=recipe, **config)
    cut.epoch()
    cut.epoch()
    cut.save(str(tmp_path / "checkpoint"))
    resumed = trainer(features, recipe=recipe, **config)
    resumed.load(str(tmp_path / "checkpoint"))
    run(resumed)
    for mine, expected in zip(resumed.history, whole.history, strict=True):
        assert {k: v for k, v in mine.items() if k != "seconds"} == {
            k: pytest.approx(v, rel=1e-4, abs=1e-6) for k, v in expected.items() if k != "seconds"
        }
    for name, value in weights(whole).items():
        assert torch.allclose(weights(resumed)[name], value, atol=1e-5)


def test_what_is_saved_is_what_was_scored(features, tmp_path):
    """Averaged weights, their temperature and the loss in the history belong together."""
    trained = trainer(features, recipe=FULL, filters=(4, 8), learning_rate=3e-3)
    entry = run(trained)[-1]
    trained.save(str(tmp_path / "checkpoint"))
    loaded = checkpoint.load(str(tmp_path / "checkpoint"))
    again = trainer(features, recipe=FULL, filters=(4, 8), learning_rate=3e-3)
    again.network.load_state_dict(loaded.model.state_dict())
    logits, labels = again._validation_logits()
    assert calibration.log_loss(logits.double().numpy(), labels.numpy()) == pytest.approx(entry["validation_loss"])
    assert loaded.settings.temperature == pytest.approx(entry["temperature"])
    called = logits.softmax(2).mean(1).argmax(1)
    f1 = sklearn.metrics.f1_score(labels, called, labels=labels.unique(), average="macro", zero_division=0)
    assert entry["validation_macro_f1"] == pytest.approx(f1)
    scaled = logits.double().numpy() / loaded.settings.temperature
    assert calibration.log_loss(scaled, labels.numpy()) == pytest.approx(entry[SCORE])
    assert entry[SCORE] <= entry["validation_loss"] + 1e-9


def test_clips_that_stream_train_as_well(features, monkeypatch):
    monkeypatch.setattr("genreray.source._WINDOW", 20)
    history = run(trainer(features, in_memory=False, filters=(4, 8), learning_rate=3e-3))
    assert history[-1]["training_loss"] < history[0]["training_loss"] < math.log(3) * 1.2


def test_training_stops_where_validation_has_not_got_better(features):
    recipe = dataclasses.replace(RECIPE, epochs=50, patience=2)
    history = run(trainer(features, recipe=recipe, filters=(4,), learning_rate=1e-30))
    assert [epoch["epoch"] for epoch in history] == [1, 2, 3]  # the first is the best of equals


def test_balanced_sampling_evens_out_the_genres_or_says_what_to_do(features):
    recipe = dataclasses.replace(RECIPE, sampling="balanced", epochs=1)
    assert run(trainer(features, recipe=recipe, filters=(4,)))[0]["training_loss"] > 0
    with pytest.raises(UserError, match="do not fit in memory.*--class-weights"):
        trainer(features, recipe=recipe, in_memory=False, filters=(4,)).epoch()


def test_inputs_are_standardised_by_the_training_clips(features):
    trained = trainer(features, "stacked_cnn")
    trained.standardise()
    mel = trained.network.standardise["mel"]
    clips = trained._training.whole()
    valid = torch.cat([x[:, :n] for x, n in zip(clips.inputs["mel"].double(), clips.n_frames, strict=True)], 1)
    assert torch.allclose(mel.mean.double(), valid.mean(1), rtol=1e-4)
    assert torch.allclose(mel.std.double(), valid.std(1, correction=0), rtol=1e-4)


@pytest.mark.parametrize("name", ["mfcc_cnn", "fusion_cnn"])
def test_in_bf16_the_losses_are_nearly_those_of_float32(features, name):
    recipe = dataclasses.replace(RECIPE, epochs=1)
    both = [
        run(trainer(features, name, dataclasses.replace(recipe, precision=precision)))[0]
        for precision in ("float32", "bf16")
    ]
    for key in ("training_loss", "validation_loss"):
        assert both[1][key] == pytest.approx(both[0][key], rel=0.1)
        assert both[1][key] != both[0][key]


@pytest.mark.parametrize("name", ["svm", "prior", "mlp"])
def test_systems_on_statistics_are_trained_alike(features, tmp_path, name):
    recipe = dataclasses.replace(RECIPE, epochs=3 if name == "mlp" else 1)
    trained = trainer(features, name, recipe)
    history = run(trained)
    assert len(history) == recipe.epochs
    trained.save(str(tmp_path / "checkpoint"))
    loaded = checkpoint.load(str(tmp_path / "checkpoint"))
    clips = trained._validation.whole()
    ours = trained.network.eval()(clips.inputs)
    assert torch.allclose(loaded.model(clips.inputs), ours, atol=1e-5)
    assert resume.read_history(str(tmp_path / "checkpoint")) == history


def test_a_loss_that_is_no_number_ends_training(features):
    trained = trainer(features, optimizer="sgd", learning_rate=1e30, filters=(4, 8))
    assert run(trained)[-1] == {"epoch": len(trained.history), "diverged": True}


def test_validation_tracks_of_other_genres_are_not_scored(tmp_path):
    rows = [*feature_rows(), feature_row("odd", "Polka", "validation", 100, SMALL)]
    features = FeatureSet.open(write_features(tmp_path / "features", rows))
    trained = trainer(features, filters=(4,))
    _, labels = trained._validation_logits()
    known = [genre for genre in features.usable("validation").column("genre").to_pylist() if genre in GENRES]
    assert len(labels) == len(known) == len(features.usable("validation")) - 1
