import dataclasses
import json
import pickle
from importlib import metadata

import pytest
import torch
from making import SMALL

from genreray import checkpoint, models, resume
from genreray.checkpoint import Settings
from genreray.errors import UserError
from genreray.models.base import make_optimizer
from genreray.models.mel_cnn import MelCnnConfig

SETTINGS = Settings(
    model="mel_cnn",
    model_config=MelCnnConfig(filters=(4, 8), learning_rate=3e-3),
    features=SMALL,
    genres=["Hip-Hop", "Old-Time / Historic", "Rock"],
    crop_frames=64,
    n_crops=3,
    training={"epochs": 2},
    metrics={"epoch": 1, "validation_loss": 0.5},
    temperature=1.5,
)


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    checkpoint.save(str(tmp_path), SETTINGS.build(), SETTINGS)
    return tmp_path


def test_a_checkpoint_comes_back_as_it_was(folder):
    torch.manual_seed(0)
    model = SETTINGS.build().eval()
    loaded = checkpoint.load(str(folder))
    inputs = {"mel": torch.randint(0, 256, (5, 32, 64), dtype=torch.uint8)}
    assert torch.equal(loaded.model(inputs), model(inputs))
    assert loaded.settings == SETTINGS
    assert not loaded.model.training
    kernels = [parameter for parameter in loaded.model.parameters() if parameter.ndim == 4]
    assert kernels
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)


def test_settings_are_plain_json_with_versions(folder):
    config = json.loads((folder / "config.json").read_text())
    assert config["features"] == SMALL.to_json()
    assert config["genres"][1] == "Old-Time / Historic"
    assert config["versions"]["torch"] == metadata.version("torch")


def test_one_genre_a_track_leaves_no_word_of_several(folder):
    """So that the fingerprints of earlier checkpoints and the settings of earlier runs stay theirs."""
    assert "labels" not in json.loads((folder / "config.json").read_text())
    assert checkpoint.load_settings(str(folder)).hierarchy() is None


def test_a_tree_and_thresholds_come_back(folder):
    tree, limits = {"Rock": "Hip-Hop"}, {"Hip-Hop": 0.2, "Old-Time / Historic": 0.5, "Rock": 0.7}
    several = dataclasses.replace(SETTINGS, tree=tree, thresholds=limits)
    checkpoint.save(str(folder), SETTINGS.build(), several)
    assert checkpoint.load_settings(str(folder)) == several
    assert several.hierarchy().parents == (-1, -1, 0)
    checkpoint.save(str(folder), SETTINGS.build(), dataclasses.replace(several, tree={}))
    assert checkpoint.load_settings(str(folder)).hierarchy().parents == (-1, -1, -1)
    checkpoint.save(str(folder), SETTINGS.build(), dataclasses.replace(several, thresholds={"Rock": 0.7}))
    with pytest.raises(UserError, match="is damaged .*Hip-Hop"):
        checkpoint.load_settings(str(folder))


def test_the_fingerprint_changes_with_the_weights(folder):
    before = checkpoint.fingerprint(str(folder))
    torch.manual_seed(1)
    checkpoint.save(str(folder), SETTINGS.build(), SETTINGS)
    assert checkpoint.fingerprint(str(folder)) != before


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(UserError, match=f"has no {name}"):
        checkpoint.load(str(folder))


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match="there is no checkpoint .*nowhere"):
        checkpoint.load(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"not json", b'{"format": 99}', b'{"format": 1}'])
def test_a_damaged_config_is_one_clear_error(folder, content):
    (folder / "config.json").write_bytes(content)
    with pytest.raises(UserError, match=r"config\.json"):
        checkpoint.load(str(folder))


def test_damaged_weights_are_one_clear_error(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"model\.safetensors is damaged"):
        checkpoint.load(str(folder))


def test_weights_of_another_network_are_refused(folder):
    other = dataclasses.replace(SETTINGS, model_config=MelCnnConfig(filters=(4, 16)))
    checkpoint.save(str(folder / "other"), other.build(), other)
    (folder / "other" / "model.safetensors").rename(folder / "model.safetensors")
    with pytest.raises(UserError, match="other layers"):
        checkpoint.load(str(folder))


def test_a_pickle_in_place_of_weights_is_never_run(folder):
    class Bomb:
        def __reduce__(self):
            return (open, (str(folder / "exploded"), "w"))

    (folder / "model.safetensors").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UserError, match="is damaged"):
        checkpoint.load(str(folder))
    assert not (folder / "exploded").exists()


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_a_resumed_optimiser_takes_the_steps_that_it_would_have_taken(tmp_path, optimizer):
    config = MelCnnConfig(filters=(4,), optimizer=optimizer, learning_rate=0.01, l2=0.01, dropout=0.0)
    inputs = {"mel": torch.randint(0, 256, (5, 32, 64), dtype=torch.uint8)}
    labels = torch.tensor([0, 1, 2, 0, 1])

    def steps(model, opt, n):
        for _ in range(n):
            opt.zero_grad()
            torch.nn.functional.cross_entropy(model(inputs), labels).backward()
            opt.step()

    model = models.build("mel_cnn", config, SMALL, 64, 3)
    opt = make_optimizer(model, config)
    steps(model, opt, 3)
    resume.save(str(tmp_path), opt, {"mean/a": torch.ones(2)}, [{"epoch": 1}])
    again = models.build("mel_cnn", config, SMALL, 64, 3)
    again.load_state_dict(model.state_dict())
    opt_again = make_optimizer(again, config)
    history, average = resume.load(str(tmp_path), opt_again)
    assert (history, average["mean/a"].tolist()) == ([{"epoch": 1}], [1.0, 1.0])
    steps(model, opt, 3)
    steps(again, opt_again, 3)
    for ours, theirs in zip(again.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
