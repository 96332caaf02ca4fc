"""What holds for every network of the registry."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from golden import make_loss_curves as golden
from networks import (
    FRAMES,
    NETWORKS,
    SMALL,
    dropouts,
    inputs_of,
    loss_of,
    made_up,
    network,
    standardised,
    without_dropout,
)

from genreray import checkpoint, models
from genreray.checkpoint import Settings
from genreray.errors import UserError
from genreray.features import FeatureConfig
from genreray.models.base import check_layers, make_optimizer
from genreray.models.fusion_cnn import LateFusion
from genreray.models.max_pool import MaxPool
from genreray.models.pooled import mean_and_max

FULL = FeatureConfig()
GENRES = ["Folk", "Jazz", "Pop", "Rock"]
LABELS = torch.arange(8) % 4


@pytest.mark.parametrize("name", NETWORKS)
def test_eight_clips_are_learnt_by_heart(name):
    config = without_dropout(name, learning_rate=3e-3, optimizer="adam", l2=0.0)
    model = network(name, config).train()
    optimizer = make_optimizer(model, config)
    inputs = inputs_of(model)
    for _ in range(60):
        loss = loss_of(model, inputs, LABELS)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss < 0.01:
            return
    raise AssertionError(f"the loss is {loss.item():.3f} after 60 steps")


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_seed_gives_the_same_losses(name):
    """Where this fails, look at why; `golden/make_loss_curves.py` says how to write the new ones."""
    losses = golden.curve(name)
    assert losses == pytest.approx(golden.read()[name], rel=5e-3, abs=5e-4)
    assert losses == golden.curve(name)


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_reach_every_parameter(name):
    model = network(name).train()
    loss_of(model, inputs_of(model), LABELS).backward()
    assert [key for key, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def last_layer(head):
    """The one linear layer that a head is once it is trained: of several branches, with weights of their own."""
    if not isinstance(head, LateFusion):
        return head[-1].weight, head[-1].bias
    layers = [(share, branch[-1]) for share, branch in zip(head.weights, head.branches, strict=True)]
    weight = torch.cat([share * layer.weight for share, layer in layers], dim=1)
    return weight, torch.stack([share * layer.bias for share, layer in layers]).sum(0)


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_the_last_layers_of_the_embedding(name):
    model = network(name).eval()
    inputs = inputs_of(model)
    embedding = model.embed(inputs)
    assert embedding.dtype == torch.float32
    assert embedding.shape == (8, model.embedding_size)
    weight, bias = last_layer(model.head)
    torch.testing.assert_close(model(inputs), embedding @ weight.T + bias, rtol=1e-4, atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        half = model.embed(inputs).float()
    torch.testing.assert_close(half, embedding, rtol=0.1, atol=0.1 * embedding.abs().max().item())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_clip_is_scored_alike_alone_and_in_either_order_of_memory(name):
    model = network(name).eval()
    inputs = inputs_of(model)
    logits = model(inputs)
    assert logits.std(0).min() > 0
    model.to(memory_format=torch.channels_last)
    for i in (0, 7):
        alone = model({key: x[i : i + 1] for key, x in inputs.items()})
        torch.testing.assert_close(alone[0], logits[i], rtol=1e-4, atol=1e-4)
    model.train()
    loss_of(model, inputs, LABELS).backward()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_checkpoint_gives_the_same_logits(name, tmp_path):
    model = network(name).eval()
    settings = Settings(
        model=name,
        model_config=models.family(name).config(),
        features=SMALL,
        genres=GENRES,
        crop_frames=FRAMES,
        n_crops=1,
        training={},
        metrics={},
    )
    checkpoint.save(str(tmp_path), model, settings)
    loaded = checkpoint.load(str(tmp_path))
    model.to(memory_format=torch.channels_last)  # as checkpoints are loaded: sums are in another order there
    inputs = inputs_of(model, seed=1)
    assert torch.equal(loaded.model(inputs), model(inputs))
    assert loaded.settings == settings


@pytest.mark.parametrize("name", NETWORKS)
def test_transposed_and_exchanged_inputs_are_refused(name):
    model = network(name)
    inputs = inputs_of(model)
    for key in model.inputs:
        with pytest.raises(ValueError, match="images must be"):
            model({**inputs, key: inputs[key].transpose(1, 2).contiguous()})
        with pytest.raises(ValueError, match="images must be"):
            model({**inputs, key: made_up()["mfcc" if key == "mel" else "mel"]})


@pytest.mark.parametrize(
    ("name", "layer", "shown"),
    [
        ("mel_cnn_shallow", "convolutions", ["mel"]),
        ("mel_cnn", "convolutions", ["mel"]),
        ("mfcc_cnn", "convolutions", ["mfcc"]),
        ("stacked_cnn", "convolutions", ["mel", "mfcc"]),
        ("crnn", "trunk", ["mel"]),
        ("fusion_cnn", "residual", ["mel"]),
        ("fusion_cnn", "recurrent", ["mel"]),
        ("fusion_cnn", "mfcc", ["mfcc"]),
        ("short_chunk_resnet", "trunk", ["mel"]),
        ("short_chunk_resnet_small", "trunk", ["mel"]),
    ],
)
def test_each_layer_sees_its_own_input_with_bins_down_and_frames_across(name, layer, shown):
    """Of squares, 32 x 32 both: their shape could not tell that they are transposed or exchanged."""
    square = FeatureConfig(n_mels=32, n_mfcc=32)
    model = models.build(name, models.family(name).config(), square, 32, 4).eval()
    seen = []
    model.get_submodule(layer).register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    bins = torch.arange(32.0)[None, :, None]
    frames = 0.125 * torch.arange(32)[None, None, :]
    clips = {"mel": (bins * 4 + frames * 8).to(torch.uint8), "mfcc": (-bins - frames).half()}
    for key, standardise in getattr(model, "standardise", {}).items():
        standardise.fit(
            {"mel": 4 * bins, "mfcc": -bins}[key].flatten(), torch.full((32,), {"mel": 8.0, "mfcc": 1.0}[key])
        )
    model({key: clips[key] for key in model.inputs})
    scaled = {"mel": frames, "mfcc": -frames}
    if not hasattr(model, "standardise"):
        scaled = {"mel": (bins * 4 + frames * 8) / 255}
    image = torch.cat([scaled[key].expand(1, 32, 32) for key in shown], dim=1)
    torch.testing.assert_close(seen[0].reshape(image.shape), image)


def test_two_tracks_never_share_a_stacked_image():
    inputs = made_up(6)
    model = standardised(models.build("stacked_cnn", models.family("stacked_cnn").config(), SMALL, FRAMES, 4))
    images = model.stack(inputs).numpy()
    assert images.shape == (6, 1, 32 + 13, FRAMES)
    means = {key: model.standardise[key].mean.numpy() for key in inputs if key in model.standardise}
    stds = {key: model.standardise[key].std.numpy() for key in means}
    for i in range(6):
        own = [
            (inputs[key][i].numpy().astype(np.float64) - means[key][:, None]) / stds[key][:, None]
            for key in ("mel", "mfcc")
        ]
        np.testing.assert_allclose(images[i, 0, :32], own[0], atol=1e-4)
        np.testing.assert_allclose(images[i, 0, 32:], own[1], atol=1e-4)
        assert all(np.abs(images[i] - images[j]).mean() > 0.5 for j in range(i))
    assert np.abs(images.mean((0, 1, 3))).max() < 0.25  # both on one scale, row by row
    assert 0.7 < images.std((0, 1, 3)).min() < images.std((0, 1, 3)).max() < 1.3


@pytest.mark.parametrize(
    ("name", "features", "frames", "smallest"),
    [
        ("mel_cnn_shallow", FULL, 3, "4 x 4, not 128 x 3"),
        ("mel_cnn", FULL, 15, "16 x 16, not 128 x 15"),
        ("mel_cnn", FeatureConfig(n_mels=8, n_mfcc=8), 385, "16 x 16, not 8 x 385"),
        ("mfcc_cnn", FeatureConfig(n_mfcc=4), 385, "5 x 5, not 4 x 385"),
        ("mfcc_cnn", FULL, 4, "5 x 5, not 20 x 4"),
        ("stacked_cnn", FULL, 3, "4 x 4, not 148 x 3"),
        ("crnn", FULL, 31, "16 x 32, not 128 x 31"),
        ("fusion_cnn", FULL, 31, "16 x 32, not 128 x 31"),
        ("short_chunk_resnet", FULL, 31, "16 x 32, not 128 x 31"),
        ("short_chunk_resnet_small", FeatureConfig(n_mels=8, n_mfcc=8), 385, "16 x 32, not 8 x 385"),
    ],
)
def test_crops_too_small_for_the_layers_are_named(name, features, frames, smallest):
    with pytest.raises(UserError, match=f"at least {smallest}") as refused:
        models.build(name, models.family(name).config(), features, frames, 4)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", NETWORKS)
def test_one_small_crop_can_be_trained_on(name):
    """The last batch of an epoch may be a single clip."""
    smallest = FeatureConfig(n_mels=16, n_mfcc=13)
    model = models.build(name, models.family(name).config(), smallest, 32, 4)
    inputs = inputs_of(model, 1, features=smallest, frames=32)
    assert model.train()(inputs).isfinite().all()
    assert model.eval()(inputs).isfinite().all()


@pytest.mark.parametrize("name", NETWORKS)
def test_impossible_settings_are_named(name):
    config = models.family(name).config
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    for field, value in defaults.items():
        if field == "optimizer":
            continue
        wrong = {tuple: (8, 0), int: 0, float: -0.5}[type(value)]
        with pytest.raises(UserError, match=rf"^{field.replace('_', ' ')} is .*: give ") as refused:
            config(**{field: wrong})
        assert "\n" not in str(refused.value)
        if isinstance(value, tuple):
            with pytest.raises(UserError, match="is empty"):
                config(**{field: ()})


def test_a_weight_beyond_all_numbers_is_named():
    with pytest.raises(UserError, match=r"^mfcc weight is inf: give 0 or more$"):
        models.family("fusion_cnn").config(mfcc_weight=float("inf"))


def test_layers_are_whole_numbers():
    config = models.family("mel_cnn").config()
    check_layers(config, "filters", "kernel_size")
    with pytest.raises(UserError, match="kernel size is 4: give an odd number"):
        dataclasses.replace(config, kernel_size=4)


@pytest.mark.parametrize(
    ("number", "branch", "system"),
    [(0, "residual", "short_chunk_resnet"), (1, "recurrent", "crnn"), (2, "mfcc", "benchmarks.mfcc_branch")],
)
def test_each_branch_learns_as_if_it_were_alone(number, branch, system):
    model = network("fusion_cnn", without_dropout("fusion_cnn")).train()
    alone = models.build(system, without_dropout(system), SMALL, FRAMES, 4)
    for name, standardise in alone.standardise.items():
        standardise.load_state_dict(model.standardise[name].state_dict())
    trunk, head = model.get_submodule(branch), model.head.branches[number]
    alone.trunk.load_state_dict(trunk.state_dict())
    alone.head.load_state_dict(head.state_dict())
    inputs = inputs_of(model)
    loss_of(model, inputs, LABELS).backward()
    loss_of(alone.train(), {name: inputs[name] for name in alone.inputs}, LABELS).backward()
    for ours, theirs in zip(trunk.parameters(), alone.trunk.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
    torch.testing.assert_close(head[-1].weight.grad, alone.head[-1].weight.grad)


def test_the_answer_is_the_weighted_mean_of_the_branches_in_training_and_after_it():
    model = network("fusion_cnn", without_dropout("fusion_cnn", mfcc_weight=0.5)).train()
    inputs = inputs_of(model)
    joint, residual, recurrent, mfcc = model(inputs).unbind(1)
    torch.testing.assert_close(joint, 0.4 * residual + 0.4 * recurrent + 0.2 * mfcc)
    residual, recurrent, mfcc = model.eval().head.own(model.embed(inputs)).unbind(1)
    torch.testing.assert_close(model(inputs), 0.4 * residual + 0.4 * recurrent + 0.2 * mfcc)


def test_maps_are_pooled_to_their_mean_and_maximum_over_time():
    maps = torch.from_numpy(np.random.default_rng(0).normal(0, 1, (3, 5, 9)).astype(np.float32))
    expected = np.concatenate([maps.numpy().mean(2), maps.numpy().max(2)], axis=1)
    np.testing.assert_allclose(mean_and_max(maps).numpy(), expected, atol=1e-6)
    series = torch.full((1, 1, 1000), 1.0078125, dtype=torch.bfloat16)  # sums in bf16 would stop at 256
    assert mean_and_max(series).tolist() == [[1.0078125, 1.0078125]]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_last_layer_has_the_configurations_dropout(name):
    config = models.family(name).config
    model = network(name, config(**dict.fromkeys(dropouts(config), 0.4)))
    assert {layer.p for layer in model.head.modules() if isinstance(layer, torch.nn.Dropout)} == {0.4}


@pytest.mark.parametrize("shape", [(2, 8, 12, 20), (3, 5, 7, 11), (1, 1, 3, 4)])
@pytest.mark.parametrize("order", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_max_pools_are_those_of_torch_with_and_without_gradients(shape, order, size):
    maps = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(memory_format=order)
    maps[0, 0, 0, 0] = torch.nan
    pool = MaxPool(size)
    expected = F.max_pool2d(maps, size)
    with torch.inference_mode():
        torch.testing.assert_close(pool(maps), expected, rtol=0, atol=0, equal_nan=True)
    found = pool(maps.requires_grad_())
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    found.nansum().backward()
    assert maps.grad.count_nonzero() == expected.isfinite().sum()
