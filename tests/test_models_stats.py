"""What the networks on the MFCC statistics have of their own; test_models_networks.py holds what all networks share."""

import numpy as np
import pytest
import torch
from making import SMALL
from networks import inputs_of, network

from genreray import models
from genreray.errors import UserError
from genreray.features import FeatureConfig
from genreray.models.mfcc_stats_cnn import MfccStatsCnnConfig
from genreray.models.mlp import MlpConfig

NAMES = ["mlp", "mfcc_stats_cnn"]


def build(name, config=None, features=SMALL):
    torch.manual_seed(0)
    return models.build(name, config or models.family(name).config(), features, 64, 4)


def test_the_reports_settings_are_the_defaults():
    mlp, cnn = (models.family(name) for name in NAMES)
    assert (mlp.config().optimizer, len(mlp.config().hidden_sizes)) == ("adam", 1)  # and the last layer
    assert cnn.config().optimizer == "sgd"
    assert (mlp.training.crops, cnn.training.crops) == (1, 1)


@pytest.mark.parametrize("name", NAMES)
def test_each_statistic_of_each_coefficient_has_its_own_scale(name):
    inputs = inputs_of(network(name))
    expected = network(name).eval()(inputs)
    rng = np.random.default_rng(0)
    offset = torch.from_numpy(rng.normal(0, 50, (7, 13)).astype(np.float32))
    factor = torch.from_numpy(rng.uniform(1, 9, (7, 13)).astype(np.float32))
    other = network(name).eval()
    other.standardise["mfcc_stats"].fit(
        other.standardise["mfcc_stats"].mean * factor + offset, other.standardise["mfcc_stats"].std * factor
    )
    found = other({"mfcc_stats": inputs["mfcc_stats"] * factor + offset})
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_mlp_is_its_layers_multiplied_out():
    model = build("mlp", MlpConfig(hidden_sizes=(5, 3), dropout=0.4)).eval()
    inputs = inputs_of(model)
    units = inputs["mfcc_stats"].flatten(1).double()
    layers = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    assert [layer.out_features for layer in layers] == [5, 3, 4]
    for i, layer in enumerate(layers):
        units = units @ layer.weight.double().T + layer.bias.double()
        units = units.clamp(min=0) if i < 2 else units
    torch.testing.assert_close(model(inputs).double(), units, rtol=1e-4, atol=1e-4)


def test_dropout_comes_before_every_layer_of_mlp_but_the_first():
    model = build("mlp", MlpConfig(hidden_sizes=(400, 300), dropout=0.25)).train()
    inputs = []
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            module.bias.data.fill_(1.0)
            module.weight.data.zero_()
            module.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    model({"mfcc_stats": torch.ones(50, 7, 13)})
    dropped = [(x == 0).float().mean().item() for x in inputs]
    assert dropped == [0.0, pytest.approx(0.25, abs=0.02), pytest.approx(0.25, abs=0.02)]


def test_a_pool_of_one_keeps_the_size_of_the_statistics():
    model = build("mfcc_stats_cnn", MfccStatsCnnConfig(filters=(4, 4, 4, 5), pool_size=1))
    assert model.embedding_size == 5 * 7 * 13


@pytest.mark.parametrize(
    ("config", "features", "message"),
    [
        (MfccStatsCnnConfig(filters=(4, 4, 4)), FeatureConfig(), "by 8 leave nothing of statistics of 7 x 20"),
        (MfccStatsCnnConfig(), FeatureConfig(n_mfcc=3), "by 4 leave nothing of statistics of 7 x 3"),
    ],
)
def test_too_many_pools_are_named(config, features, message):
    with pytest.raises(UserError, match=message):
        build("mfcc_stats_cnn", config, features)
