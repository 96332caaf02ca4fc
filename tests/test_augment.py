import dataclasses

import numpy as np
import pytest
import torch
from making import SMALL
from scipy.stats import beta, chisquare, kstest

from genreray import augment, models
from genreray.augment import Augmentation, Mix
from genreray.mfcc_stats import mfcc_stats
from genreray.models.mel_cnn import MelCnnConfig
from genreray.recipe import TrainingConfig

CPU = torch.device("cpu")
N, FRAMES = 6, 64
ALL = {"gain": 3.0, "freq_masks": 2, "freq_mask_bins": 8, "time_masks": 2, "time_mask_frames": 16, "mixup": 0.4}
MORE = {"equalise": 6.0, "mix_styles": 0.5, "freq_shift": 2, "time_stretch": 0.25}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def inputs():
    """Crops of all three inputs, as they are stored."""
    draw = generator(7)
    mfcc = 20 * torch.randn((N, SMALL.n_mfcc, FRAMES), generator=draw) - 100
    return {
        "mel": torch.randint(256, (N, SMALL.n_mels, FRAMES), generator=draw, dtype=torch.uint8),
        "mfcc": mfcc.half(),
        "mfcc_stats": torch.stack([torch.from_numpy(mfcc_stats(clip.half().numpy())) for clip in mfcc]),
    }


def floats(inputs):
    return {name: x.float() for name, x in inputs.items()}


def test_a_recipe_without_augmentation_touches_and_draws_nothing(inputs):
    draw = generator()
    found, mix = Augmentation(TrainingConfig(), SMALL)(inputs, draw)
    assert found is inputs
    assert mix is None
    assert torch.equal(draw.get_state(), generator().get_state())


@pytest.mark.parametrize("names", [["mel"], ["mfcc"], ["mfcc_stats"], ["mel", "mfcc"], ["mel", "mfcc", "mfcc_stats"]])
def test_all_at_once_repeats_itself_and_leaves_what_was_given(inputs, names):
    given = {name: inputs[name] for name in names}
    before = {name: x.clone() for name, x in given.items()}
    apply = Augmentation(TrainingConfig(crop_frames=48, **ALL, **MORE), SMALL)
    first, again, other = (apply(given, generator(seed)) for seed in (1, 1, 2))
    for name in names:
        assert torch.equal(given[name], before[name])
        assert first[0][name].dtype == torch.float32
        assert first[0][name].shape == given[name].shape[:2] + ((48,) if name != "mfcc_stats" else (SMALL.n_mfcc,))
        assert first[0][name].isfinite().all()
        assert torch.equal(first[0][name], again[0][name])
        assert not torch.equal(first[0][name], other[0][name])
    assert torch.equal(first[1].share, again[1].share)


@pytest.mark.parametrize("option", ["gain", "masks", "mixup", *MORE])
def test_float_inputs_that_are_given_are_not_changed(inputs, option):
    every = {**ALL, **MORE}
    chosen = {name: value for name, value in every.items() if name == option or (option == "masks" and "mask" in name)}
    given = floats(inputs)
    before = {name: x.clone() for name, x in given.items()}
    found, _ = Augmentation(TrainingConfig(**chosen), SMALL)(given, generator())
    assert all(torch.equal(x, before[name]) for name, x in given.items())
    assert not torch.equal(found["mel"], before["mel"])


def test_float_crops_in_stored_units_give_what_bytes_give(inputs):
    torch.manual_seed(0)
    network = models.build("mel_cnn", MelCnnConfig(filters=(4, 8)), SMALL, FRAMES, 3).eval()
    assert torch.equal(network({"mel": inputs["mel"]}), network({"mel": inputs["mel"].float()}))


def test_crops_that_may_be_made_faster_come_longer_and_leave_as_the_network_wants_them(inputs):
    config = TrainingConfig(crop_frames=40, time_stretch=0.5)
    apply = Augmentation(config, SMALL)
    assert apply.n_frames == 60  # 39 steps of 1.5 frames, and the first
    assert Augmentation(dataclasses.replace(config, time_stretch=0.0), SMALL).n_frames == 40
    longer = {name: x if name == "mfcc_stats" else x[:, :, :60] for name, x in inputs.items()}
    found, _ = apply(longer, generator())
    assert [found[name].shape[2] for name in ("mel", "mfcc")] == [40, 40]
    assert torch.equal(found["mfcc_stats"], inputs["mfcc_stats"])


def test_a_shift_moves_the_mel_alone(inputs):
    found, _ = Augmentation(TrainingConfig(crop_frames=FRAMES, freq_shift=5), SMALL)(inputs, generator())
    assert not torch.equal(found["mel"], inputs["mel"].float())
    assert all(torch.equal(found[name], inputs[name].float()) for name in ("mfcc", "mfcc_stats"))


def test_gains_are_drawn_for_each_clip_up_to_the_limit():
    mel = torch.full((2000, SMALL.n_mels, 1), 128, dtype=torch.uint8)
    found, _ = Augmentation(TrainingConfig(gain=4.0), SMALL)({"mel": mel}, generator())
    assert torch.equal(found["mel"], found["mel"][:, :1].expand_as(mel))
    decibels = (found["mel"][:, 0, 0].numpy() - 128) * 80 / 255
    assert kstest(decibels, "uniform", (-4, 8)).pvalue > 0.001


def test_each_span_has_any_width_up_to_the_longest_and_any_place():
    spans = augment.draw_spans(20000, 1, 4, 10, generator())
    widths = spans.sum(1)
    assert chisquare(torch.bincount(widths).numpy()).pvalue > 0.001
    assert len(torch.bincount(widths)) == 5
    ends = (spans[:, 1:] != spans[:, :-1]).sum(1)
    assert (ends <= 2).all()  # one run
    starts = spans.int().argmax(1)
    for width in range(1, 5):
        places = torch.bincount(starts[widths == width])
        assert len(places) == 10 - width + 1
        assert chisquare(places.numpy()).pvalue > 0.001


def test_several_spans_lie_where_they_like_and_none_hides_nothing():
    assert augment.draw_spans(500, 3, 5, 40, generator()).sum(1).max() > 10
    assert not augment.draw_spans(5, 0, 5, 40, generator()).any()
    assert augment.draw_spans(500, 1, 99, 8, generator()).sum(1).max() == 8


def test_what_is_masked_takes_the_mean_and_the_rest_stays(inputs):
    bands = torch.zeros((N, SMALL.n_mels), dtype=torch.bool)
    stretches = torch.zeros((N, FRAMES), dtype=torch.bool)
    bands[1, 5:9] = True
    stretches[1, 10:20] = True
    stretches[2, 0:3] = True
    given = floats(inputs)
    found = augment.mask(given, bands, stretches)
    mel, mfcc = given["mel"].clone(), given["mfcc"].clone()
    for clip, frames in ((1, slice(10, 20)), (2, slice(0, 3))):
        mel[clip, :, frames] = given["mel"][clip].mean()
        mfcc[clip, :, frames] = given["mfcc"][clip].mean(1, keepdim=True)
    mel[1, 5:9] = given["mel"][1].mean()
    assert torch.allclose(found["mel"], mel)
    assert torch.allclose(found["mfcc"], mfcc)
    assert torch.equal(found["mfcc_stats"], given["mfcc_stats"])


def test_masks_differ_between_clips_and_agree_between_inputs():
    config = TrainingConfig(freq_masks=1, freq_mask_bins=6, time_masks=2, time_mask_frames=16)
    draw = generator(1)
    given = {"mel": torch.rand((50, SMALL.n_mels, FRAMES), generator=draw)}
    given["mfcc"] = torch.rand((50, SMALL.n_mfcc, FRAMES), generator=draw)
    found, _ = Augmentation(config, SMALL)(given, draw)
    hidden = found["mel"] != given["mel"]
    in_time, in_frequency = hidden.all(1), hidden.all(2)
    assert len(in_time.unique(dim=0)) > 30
    assert len(in_frequency.unique(dim=0)) > 30
    assert in_frequency.sum(1).max() == 6
    assert torch.equal(hidden, in_time[:, None, :] | in_frequency[:, :, None])
    assert torch.equal((found["mfcc"] != given["mfcc"]).all(1), in_time)


def test_mixup_by_hand():
    mix = Mix(torch.tensor([1, 2, 0]), torch.tensor([0.75, 1.0, 0.5]))
    assert mix.of(torch.tensor([[4.0], [8.0], [2.0]])).tolist() == [[5.0], [8.0], [3.0]]
    assert mix.of(torch.tensor([[[4.0]], [[8.0]], [[2.0]]])).flatten().tolist() == [5.0, 8.0, 3.0]
    labels = torch.eye(3)
    assert mix.of(labels).tolist() == [[0.75, 0.25, 0], [0, 1, 0], [0.5, 0, 0.5]]


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_shares_are_the_larger_parts_of_a_beta_draw(alpha):
    mix = augment.draw_mix(5000, alpha, generator(), CPU)
    assert sorted(mix.partner.tolist()) == list(range(5000))
    assert mix.share.min() >= 0.5
    # Folded at a half, both halves of the density lie on one another; ten intervals of equal probability.
    edges = beta(alpha, alpha).ppf(np.linspace(0.5, 1, 11))
    assert chisquare(np.histogram(mix.share.numpy(), edges)[0]).pvalue > 0.001


def test_all_inputs_of_a_clip_are_mixed_alike(inputs):
    found, mix = Augmentation(TrainingConfig(mixup=1.0), SMALL)(inputs, generator())
    for name, x in floats(inputs).items():
        share = mix.share.view(-1, 1, 1)
        assert torch.allclose(found[name], share * x + (1 - share) * x[mix.partner], atol=1e-4, rtol=1e-4)


def test_a_batch_of_one_clip_is_left_as_it_is(inputs):
    one = {name: x[:1] for name, x in inputs.items()}
    found, _ = Augmentation(TrainingConfig(mixup=1.0), SMALL)(one, generator())
    assert all(torch.allclose(found[name], x.float()) for name, x in one.items())
