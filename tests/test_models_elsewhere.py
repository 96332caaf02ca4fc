"""Architectures of others: modules named by their path, and entry points."""

import dataclasses
import importlib
import sys

import pytest
import torch

from genreray import checkpoint, models, parsing, space
from genreray.checkpoint import Settings
from genreray.dimensions import Choice
from genreray.errors import UserError
from genreray.features import FeatureConfig

MODEL = '''
"""A network of one layer over the mean of the log-mel."""

import dataclasses

from torch import nn

from genreray.models import Family, GenreModel, ModelConfig
from genreray.models.base import COMMON


@dataclasses.dataclass(frozen=True)
class MeanConfig(ModelConfig):
    """Layers and training of mean."""

    widths: tuple[int, ...] = (8, 4)
    """Units of each layer."""


class Mean(GenreModel):
    """The mean over time; a linear layer and ReLU for each of `widths`; one linear layer."""

    inputs = ("mel",)

    def __init__(self, config, features, crop_frames, n_genres):
        super().__init__()
        sizes = (features.n_mels, *config.widths)
        self.layers = nn.Sequential(*[nn.Linear(a, b) for a, b in zip(sizes, sizes[1:])])
        self.embedding_size = sizes[-1]
        self.head = nn.Linear(sizes[-1], n_genres)

    def embed(self, inputs):
        return self.layers(inputs["mel"].float().mean(2) / 255)


FAMILY = Family("mean", MeanConfig, Mean)
'''
SMALL = FeatureConfig(n_mels=16, n_mfcc=8)


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes modules where Python finds them, and forgets them afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def write(path, text):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        importlib.invalidate_caches()

    yield write
    for name in set(sys.modules) - before:
        if name.split(".")[0] in {path.stem for path in tmp_path.iterdir()}:
            del sys.modules[name]


def settings(name, config):
    return Settings(
        model=name,
        model_config=config,
        features=SMALL,
        genres=["Jazz", "Rock"],
        crop_frames=20,
        n_crops=1,
        training={},
        metrics={},
    )


@pytest.mark.parametrize("name", ["theirs.mean", "mean_alone"])
def test_a_module_is_a_model_by_its_path(write, name, tmp_path):
    write(name.replace(".", "/") + ".py", MODEL)
    config = models.family(name).config(widths=(6,))
    torch.manual_seed(0)
    model = models.build(name, config, SMALL, 20, 2).eval()
    assert models.config_from_json(name, {"widths": [6], "learning_rate": 0.001}, "here") == config
    with pytest.raises(UserError, match=rf"here sets 'width', which {name} does not have"):
        models.config_from_json(name, {"width": 6}, "here")
    checkpoint.save(str(tmp_path / "run"), model, settings(name, config))
    loaded = checkpoint.load(str(tmp_path / "run"), name)
    inputs = {"mel": torch.randint(0, 256, (3, 16, 20), dtype=torch.uint8)}
    assert torch.equal(loaded.model(inputs), model(inputs))
    assert loaded.settings == settings(name, config)


def test_its_space_is_searched_or_one_around_its_learning_rate(write):
    own = MODEL.replace("MeanConfig, Mean)", "MeanConfig, Mean, space={'widths': Choice(((8, 4), (16,)))})")
    own = own.replace("import dataclasses", "import dataclasses\nfrom genreray.dimensions import Choice")
    write("theirs/own.py", own)
    assert models.family("theirs.own").space == {"widths": Choice(((8, 4), (16,)))}
    write("theirs/mean.py", MODEL.replace('of each layer."""', 'of each layer."""\n    learning_rate: float = 0.2'))
    family = models.family("theirs.mean")
    assert family.space["learning_rate"].low == pytest.approx(0.02)
    assert family.space["learning_rate"].high == pytest.approx(2)
    assert space.apply(space.defaults(family, family.space), family).model == family.config()
    fitted = MODEL.replace("ModelConfig\n", "ModelConfig\nfrom genreray.models.fitted import FittedConfig\n", 1)
    write("theirs/fitted.py", fitted.replace("MeanConfig(ModelConfig)", "MeanConfig(FittedConfig)"))
    assert models.family("theirs.fitted").space == {}


def test_its_settings_are_flags(write):
    write("theirs/mean.py", MODEL)
    job = parsing.parse(["train", "a", "b", "--model", "theirs.mean", "--widths", "3", "5", "--l2", "0.1"])
    assert dataclasses.asdict(job.architecture) == {
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "l2": 0.1,
        "widths": (3, 5),
    }


@pytest.mark.parametrize("value", ["theirs.mean", "theirs.mean:FAMILY"])
def test_an_entry_point_is_a_model_by_its_name(write, value):
    write("theirs/mean.py", MODEL)
    write("theirs-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    write("theirs-1.0.dist-info/entry_points.txt", f"[genreray.models]\nmean-net = {value}\n")
    assert models.family("mean-net").name == "mean"
    with pytest.raises(UserError, match=r"choose one of .*mean-net"):
        models.family("mean_net")


def test_the_registry_goes_before_modules_of_the_same_name(write):
    write("mel_cnn.py", MODEL)
    assert models.family("mel_cnn") is models.MODELS["mel_cnn"]


@pytest.mark.parametrize(
    "name", ["theirs.maen", "nowhere.mean", "nowhere", "", "a b", "theirs..mean", ".mean", "theirs."]
)
def test_a_module_that_is_not_there_is_no_model(write, name):
    write("theirs/mean.py", MODEL)
    with pytest.raises(UserError, match=r"there is no model .*PYTHONPATH") as refused:
        models.family(name)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("import dataclasses", "import nowhere_to_be_found"), "cannot be imported .*nowhere_to_be_found"),
        (("import dataclasses", "import dataclasses; 1 / 0"), "cannot be imported .*ZeroDivisionError"),
        (("import dataclasses", "import ("), "cannot be imported .*SyntaxError"),
        (("FAMILY =", "family ="), "is no model: give it FAMILY"),
        (('Family("mean", MeanConfig, Mean)', "Mean"), "FAMILY of the module theirs.mean is type: give a Family"),
        (('"mean", MeanConfig, Mean', '"mean", Mean, MeanConfig'), "give a dataclass that extends ModelConfig"),
        (("MeanConfig, Mean)", "MeanConfig, lambda: 1)"), "give a class that extends GenreModel"),
        (("MeanConfig, Mean)", "MeanConfig, Mean, 3)"), "the training .* is 3: give a TrainingConfig"),
        (("MeanConfig, Mean)", "MeanConfig, Mean, space=[3])"), "space .* is no dict of Choice, Uniform"),
        (("MeanConfig, Mean)", "MeanConfig, Mean, space={'l2': 3})"), "space .* is no dict of Choice, Uniform"),
        (
            ("MeanConfig, Mean)", "MeanConfig, Mean, space={'width': COMMON['l2']})\n"),
            "space .*mean has no setting 'width': the nearest names are widths",
        ),
        (('inputs = ("mel",)', 'inputs = ("sound",)'), "inputs of Mean .*: give a tuple of mel, mfcc, mfcc_stats"),
        (('inputs = ("mel",)', 'inputs = "mel"'), "inputs of Mean"),
        (('inputs = ("mel",)', ""), "inputs of Mean"),
        (
            ("    widths: tuple[int, ...] = (8, 4)", "    _: dataclasses.KW_ONLY\n    widths: int"),
            "cannot be made without",
        ),
    ],
)
def test_what_is_wrong_with_a_module_is_one_line(write, change, message):
    assert change[0] in MODEL
    write("theirs/mean.py", MODEL.replace(*change))
    with pytest.raises(UserError, match=message) as refused:
        models.family("theirs.mean")
    assert "theirs.mean" in str(refused.value)
    assert "\n" not in str(refused.value)
