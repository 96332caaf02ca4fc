import dataclasses

import numpy as np
import pytest
import torch
from networks import network

from genreray import models
from genreray.errors import UserError
from genreray.models.base import make_optimizer
from genreray.models.mel_cnn import MelCnnConfig
from genreray.models.standardise import Standardise


def test_mel_is_scaled_to_one():
    model = network("mel_cnn").eval()
    seen = []
    model.convolutions.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model({"mel": torch.full((1, 32, 64), 255, dtype=torch.uint8)})
    assert seen[0].shape == (1, 1, 32, 64)
    assert seen[0].min() == seen[0].max() == 1.0


# The report's own: layers, optimiser, learning rate, L2, epochs (30 where it names none).
@pytest.mark.parametrize(
    ("name", "values", "epochs"),
    [
        ("mel_cnn_shallow", {"filters": (8, 16), "optimizer": "adam", "learning_rate": 1e-2, "l2": 0.0}, 10),
        ("mel_cnn", {"filters": (8, 16, 64, 128), "optimizer": "adam", "learning_rate": 1e-4, "l2": 0.0}, 30),
        ("mfcc_cnn", {"filters": (2, 32, 48), "kernel_size": 2, "learning_rate": 1e-3, "l2": 0.01}, 30),
        ("stacked_cnn", {"filters": (8, 16), "optimizer": "adam", "l2": 0.0}, 30),
    ],
)
def test_the_reports_settings_are_the_defaults(name, values, epochs):
    family = models.family(name)
    assert {field: getattr(family.config(), field) for field in values} == values
    assert (family.training.epochs, family.training.crop_frames, family.training.schedule) == (epochs, 385, "constant")


def test_an_unknown_model_says_which_there_are():
    with pytest.raises(UserError, match=r"no model 'mel_cmm'.*mel_cnn"):
        models.family("mel_cmm")


def test_a_configuration_comes_back_from_json():
    config = MelCnnConfig(filters=(4, 8), dropout=0.1)
    plain = {**dataclasses.asdict(config), "filters": [4, 8]}
    assert models.config_from_json("mel_cnn", plain, "here") == config


def test_a_field_that_the_model_lacks_is_named():
    with pytest.raises(UserError, match="here sets 'depth', which mel_cnn does not have"):
        models.config_from_json("mel_cnn", {"depth": 3}, "here")


@pytest.mark.parametrize("l2", [float("nan"), float("inf"), -1.0])
def test_l2_is_a_number(l2):
    with pytest.raises(UserError, match="l2 is"):
        MelCnnConfig(l2=l2)


def test_optimisers_are_the_ones_named():
    model = torch.nn.Linear(2, 2)
    for name, kind in (("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)):
        optimizer = make_optimizer(model, MelCnnConfig(optimizer=name, learning_rate=0.3, l2=0.01))
        assert type(optimizer) is kind
        assert optimizer.param_groups[0]["lr"] == 0.3
        assert len(optimizer.param_groups) == 1


def test_l2_is_the_weight_of_the_squared_norm_in_the_loss():
    def after(n_steps, penalty=0.0, **values):
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 2)
        optimizer = make_optimizer(model, MelCnnConfig(learning_rate=0.02, **values))
        for _ in range(n_steps):
            optimizer.zero_grad()
            loss = (model(torch.ones(1, 3)) - 1).square().sum()
            (loss + penalty * sum(p.square().sum() for p in model.parameters())).backward()
            optimizer.step()
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    for optimizer in ("sgd", "adam"):
        ours = after(30, optimizer=optimizer, l2=0.3)
        torch.testing.assert_close(ours, after(30, penalty=0.3, optimizer=optimizer))
        assert not torch.allclose(ours, after(30, optimizer=optimizer), atol=1e-2)
    # Decoupled: a step of Adam without it, less learning_rate * l2 of where the step began.
    one_step = after(1, optimizer="adamw") - 0.02 * 0.3 * after(0)
    torch.testing.assert_close(after(1, optimizer="adamw", l2=0.3), one_step)


def test_l2_is_for_the_convolutions_of_mfcc_cnn_alone():
    model = network("mfcc_cnn")
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = make_optimizer(model, models.family("mfcc_cnn").config(optimizer="sgd", learning_rate=1.0))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        kept = 1 - 2 * 0.01 if name.startswith("convolutions") else 1.0
        torch.testing.assert_close(parameter.detach(), kept * before[name])


@pytest.mark.parametrize("name", ["crnn", "fusion_cnn", "short_chunk_resnet"])
def test_decay_spares_biases_and_norms(name):
    model = network(name)
    optimizer = make_optimizer(model, models.family(name).config())
    decayed, spared = optimizer.param_groups
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.05, 0.0)
    assert {p.ndim for p in spared["params"]} == {1}
    assert min(p.ndim for p in decayed["params"]) == 2
    assert len(decayed["params"]) + len(spared["params"]) == len(list(model.parameters()))


def test_standardise_is_the_formula_for_each_shape():
    rng = np.random.default_rng(0)
    for shape, dtype, bins in (
        ((5, 4, 9), np.uint8, (4,)),
        ((5, 4, 9), np.float16, (4,)),
        ((5, 7, 4), np.float32, (7, 4)),
    ):
        x = (rng.normal(100, 20, shape)).astype(dtype)
        mean, std = rng.normal(90, 3, bins).astype(np.float32), rng.uniform(1, 9, bins).astype(np.float32)
        layer = Standardise(*bins)
        assert torch.equal(layer(torch.from_numpy(x)), torch.from_numpy(x.astype(np.float32)))
        layer.fit(torch.from_numpy(mean), torch.from_numpy(std))
        columns = (slice(None),) * len(bins) + (None,) * (3 - 1 - len(bins))
        expected = (x.astype(np.float64) - mean[columns]) / std[columns]
        found = layer(torch.from_numpy(x))
        assert found.dtype == torch.float32
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-5)
        assert set(layer.state_dict()) == {"mean", "std"}
        assert not list(layer.parameters())
