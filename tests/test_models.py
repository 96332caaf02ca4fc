import dataclasses

import pytest
import torch

from genreray import models
from genreray.errors import UserError
from genreray.features import FeatureConfig
from genreray.models.base import make_optimizer
from genreray.models.mel_cnn import MelCnnConfig

FULL = FeatureConfig()


def crops(n=8, bins=128, frames=385, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {"mel": torch.randint(0, 256, (n, bins, frames), dtype=torch.uint8, generator=generator)}


def test_mel_cnn_has_the_reports_layers():
    model = models.build("mel_cnn", MelCnnConfig(), FULL, 385, 16)
    convolutions = [(8 * 9 + 8), (16 * 8 * 9 + 16), (64 * 16 * 9 + 64), (128 * 64 * 9 + 128)]
    linear = 128 * 8 * 24 * 16 + 16  # 128 x 385 halved four times is 8 x 24
    assert sum(p.numel() for p in model.parameters()) == sum(convolutions) + linear
    assert model(crops(2)).shape == (2, 16)


def test_mel_is_scaled_to_one():
    model = models.build("mel_cnn", MelCnnConfig(), FULL, 385, 4).eval()
    seen = []
    model.convolutions.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model({"mel": torch.full((1, 128, 385), 255, dtype=torch.uint8)})
    assert seen[0].shape == (1, 1, 128, 385)
    assert seen[0].min() == seen[0].max() == 1.0


def test_time_and_frequency_are_not_exchanged():
    model = models.build("mel_cnn", MelCnnConfig(), FULL, 385, 4)
    with pytest.raises(ValueError, match="128 x 385, not 385 x 128"):
        model({"mel": crops(1)["mel"].transpose(1, 2).contiguous()})


def test_mel_cnn_overfits_eight_clips():
    torch.manual_seed(0)
    config = MelCnnConfig(learning_rate=2e-3, dropout=0.0)
    small = FeatureConfig(n_mels=32)
    model = models.build("mel_cnn", config, small, 64, 4)
    optimizer = make_optimizer(model, config)
    inputs, labels = crops(8, 32, 64), torch.arange(8) % 4
    for _ in range(120):
        loss = torch.nn.functional.cross_entropy(model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.01


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"filters": ()}, "filters is empty"),
        ({"filters": (8, 0)}, "filters is 8 0"),
        ({"kernel_size": 4}, "kernel size is 4: give an odd number"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"learning_rate": 0.0}, "learning rate is 0.0"),
        ({"l2": -1.0}, "l2 is -1.0"),
    ],
)
def test_impossible_settings_are_named(change, message):
    with pytest.raises(UserError, match=message):
        MelCnnConfig(**change)


def test_a_crop_too_small_for_the_layers_is_named():
    with pytest.raises(UserError, match="at least 16 x 16, not 128 x 15"):
        models.build("mel_cnn", MelCnnConfig(), FULL, 15, 4)


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


def test_optimisers_are_the_ones_named():
    model = torch.nn.Linear(2, 2)
    for name, kind in (("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)):
        optimizer = make_optimizer(model, MelCnnConfig(optimizer=name, learning_rate=0.3, l2=0.01))
        assert type(optimizer) is kind
        assert (optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["weight_decay"]) == (0.3, 0.01)
