import dataclasses
import inspect

import pytest

from genreray.errors import UserError
from genreray.recipe import TrainingConfig


def test_by_default_every_option_is_off():
    config = TrainingConfig()
    numbers = ("warmup", "clip_norm", "label_smoothing", "mixup", "freq_masks", "time_masks", "gain", "patience")
    more = ("equalise", "mix_styles", "freq_shift", "time_stretch", "logit_adjustment")
    assert [getattr(config, name) for name in (*numbers, *more)] == [0] * 13
    chosen = (config.schedule, config.averaging, config.class_weights, config.sampling)
    assert chosen == ("constant", "none", "none", "natural")


@pytest.mark.parametrize("name", ["epochs", "batch_size", "crop_frames", "crops", "freq_mask_bins", "time_mask_frames"])
def test_what_counts_something_is_1_or_more(name):
    with pytest.raises(UserError, match=f"^{name.replace('_', ' ')} is 0: give 1 or more$"):
        TrainingConfig(**{name: 0})


@pytest.mark.parametrize(
    "name",
    [
        *("clip_norm", "mixup", "freq_masks", "time_masks", "gain", "equalise", "freq_shift", "patience"),
        "logit_adjustment",
    ],
)
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
def test_what_is_off_at_0_is_not_negative(name, value):
    with pytest.raises(UserError, match=f"^{name.replace('_', ' ')} is {value}: give 0 or more$"):
        TrainingConfig(**{name: value})


@pytest.mark.parametrize("name", ["warmup", "label_smoothing", "swa_start", "mix_styles", "time_stretch"])
@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan")])
def test_shares_lie_below_1(name, value):
    with pytest.raises(UserError, match=f"^{name.replace('_', ' ')} is {value}: give a share from 0"):
        TrainingConfig(**{name: value})
    assert getattr(TrainingConfig(**{name: 0.99}), name) == 0.99


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_an_average_that_forgets_all_or_nothing_is_refused(value):
    with pytest.raises(UserError, match="ema decay"):
        TrainingConfig(ema_decay=value)


@pytest.mark.parametrize(
    "two",
    [
        {"class_weights": "sqrt", "sampling": "balanced"},
        {"class_weights": "balanced", "logit_adjustment": 1.0},
        {"logit_adjustment": 0.5, "sampling": "balanced"},
    ],
)
def test_one_imbalance_is_not_corrected_twice(two):
    with pytest.raises(UserError, match="correct for the same imbalance: give one of them"):
        TrainingConfig(**two)
    for name, value in two.items():
        TrainingConfig(**{name: value})


def test_each_option_says_what_it_is_in_one_sentence():
    """They become the flags' help."""
    source = inspect.getsource(TrainingConfig)
    for field in dataclasses.fields(TrainingConfig):
        sentence = source.split(f"    {field.name}: ")[1].split('"""')[1]
        assert sentence.endswith(".")
        assert "\n" not in sentence
