"""The layers of every network, worked by hand."""

import re

import pytest
import torch
from networks import NETWORKS, inputs_of

from genreray import models
from genreray.features import FeatureConfig

FULL = FeatureConfig()

# Worked by hand: (layer, what it gives for one clip of 128 x 385 and 20 x 385, its parameters), for 16 genres.
# A kernel of k x k from m to n channels has k * k * m * n weights, and n biases where there is no norm after it; a norm
# of n channels 2 * n. A stride or pool halves what it meets: rounding up with padding (385 -> 193), down without.
BLOCK_32_64 = 9 * 32 * 64 + 9 * 64 * 64 + 32 * 64 + 3 * 2 * 64  # two kernels, the shortcut's, three norms
BLOCK_64_128 = 9 * 64 * 128 + 9 * 128 * 128 + 64 * 128 + 3 * 2 * 128
BLOCK_128_256 = 9 * 128 * 256 + 9 * 256 * 256 + 128 * 256 + 3 * 2 * 256
BLOCK_16_32 = 9 * 16 * 32 + 9 * 32 * 32 + 16 * 32 + 3 * 2 * 32
GRU = 2 * (3 * 128 * (128 * 8) // 2 + 3 * 64 * 64 + 2 * 3 * 64)  # each direction: three gates of 64, from 1024 and 64
RECURRENT = [
    ("convolutions.0", (16, 128, 385), 9 * 16),
    ("convolutions.1", (16, 64, 192), 0),
    ("convolutions.2", (16, 64, 192), 2 * 16),
    ("convolutions.4", (32, 64, 192), 9 * 16 * 32),
    ("convolutions.5", (32, 32, 96), 0),
    ("convolutions.6", (32, 32, 96), 2 * 32),
    ("convolutions.8", (64, 32, 96), 9 * 32 * 64),
    ("convolutions.9", (64, 16, 48), 0),
    ("convolutions.10", (64, 16, 48), 2 * 64),
    ("convolutions.12", (128, 16, 48), 9 * 64 * 128),
    ("convolutions.13", (128, 8, 24), 0),
    ("convolutions.14", (128, 8, 24), 2 * 128),
    ("recurrent", (24, 128), GRU),
]
LAYERS = {
    "mlp": [("hidden.0", (256,), 140 * 256 + 256), ("head", (16,), 256 * 16 + 16)],
    "mfcc_stats_cnn": [
        ("convolutions.0", (32, 7, 20), 9 * 32 + 32),
        ("convolutions.2", (32, 3, 10), 0),
        ("convolutions.3", (64, 3, 10), 9 * 32 * 64 + 64),
        ("convolutions.5", (64, 1, 5), 0),
        ("head", (16,), 64 * 5 * 16 + 16),
    ],
    "mel_cnn_shallow": [
        ("convolutions.0", (8, 128, 385), 9 * 8 + 8),
        ("convolutions.1", (8, 64, 192), 0),
        ("convolutions.3", (16, 64, 192), 9 * 8 * 16 + 16),
        ("convolutions.4", (16, 32, 96), 0),
        ("head", (16,), 16 * 32 * 96 * 16 + 16),
    ],
    "mel_cnn": [
        ("convolutions.0", (8, 128, 385), 9 * 8 + 8),
        ("convolutions.1", (8, 64, 192), 0),
        ("convolutions.3", (16, 64, 192), 9 * 8 * 16 + 16),
        ("convolutions.4", (16, 32, 96), 0),
        ("convolutions.6", (64, 32, 96), 9 * 16 * 64 + 64),
        ("convolutions.7", (64, 16, 48), 0),
        ("convolutions.9", (128, 16, 48), 9 * 64 * 128 + 128),
        ("convolutions.10", (128, 8, 24), 0),
        ("head", (16,), 128 * 8 * 24 * 16 + 16),
    ],
    "mfcc_cnn": [
        ("convolutions.0", (2, 19, 384), 4 * 2 + 2),
        ("convolutions.2", (32, 18, 383), 4 * 2 * 32 + 32),
        ("convolutions.4", (48, 17, 382), 4 * 32 * 48 + 48),
        ("convolutions.6", (48, 8, 191), 0),
        ("head", (16,), 48 * 8 * 191 * 16 + 16),
    ],
    "stacked_cnn": [
        ("convolutions.0", (8, 148, 385), 9 * 8 + 8),
        ("convolutions.1", (8, 74, 192), 0),
        ("convolutions.3", (16, 74, 192), 9 * 8 * 16 + 16),
        ("convolutions.4", (16, 37, 96), 0),
        ("head", (16,), 16 * 37 * 96 * 16 + 16),
    ],
    "crnn": [
        *((f"trunk.{layer}", shape, n) for layer, shape, n in RECURRENT),
        ("head", (16,), 4 * 64 * 16 + 16),
    ],
    "fusion_cnn": [
        ("residual.0", (32, 64, 193), 25 * 32),
        ("residual.1", (32, 64, 193), 2 * 32),
        ("residual.3", (64, 32, 97), BLOCK_32_64),
        ("residual.4", (128, 16, 49), BLOCK_64_128),
        ("residual.5", (256, 8, 25), BLOCK_128_256),
        ("residual.6", (256, 1, 25), 8 * 256 * 256),
        ("residual.7", (256, 1, 25), 2 * 256),
        *((f"recurrent.{layer}", shape, n) for layer, shape, n in RECURRENT),
        ("mfcc.0", (64, 385), 5 * 20 * 64),
        ("mfcc.1", (64, 192), 0),
        ("mfcc.2", (64, 192), 2 * 64),
        ("mfcc.4", (128, 192), 5 * 64 * 128),
        ("mfcc.5", (128, 96), 0),
        ("mfcc.6", (128, 96), 2 * 128),
        ("head", (16,), (2 * 256 + 4 * 64 + 2 * 128) * 16 + 3 * 16),  # a layer for each branch
    ],
    "short_chunk_resnet": [
        ("trunk.0", (32, 64, 193), 25 * 32),
        ("trunk.1", (32, 64, 193), 2 * 32),
        ("trunk.3", (64, 32, 97), BLOCK_32_64),
        ("trunk.4", (128, 16, 49), BLOCK_64_128),
        ("trunk.5", (256, 8, 25), BLOCK_128_256),
        ("trunk.6", (256, 1, 25), 8 * 256 * 256),
        ("trunk.7", (256, 1, 25), 2 * 256),
        ("head", (16,), 2 * 256 * 16 + 16),
    ],
    "short_chunk_resnet_small": [
        ("trunk.0", (16, 64, 193), 25 * 16),
        ("trunk.1", (16, 64, 193), 2 * 16),
        ("trunk.3", (32, 32, 97), BLOCK_16_32),
        ("trunk.4", (64, 16, 49), BLOCK_32_64),
        ("trunk.5", (128, 8, 25), BLOCK_64_128),
        ("trunk.6", (128, 1, 25), 8 * 128 * 128),
        ("trunk.7", (128, 1, 25), 2 * 128),
        ("head", (16,), 2 * 128 * 16 + 16),
    ],
}


def documented(name):
    """The table of a network's docstring: rows as in LAYERS, and what it says there are in all."""
    text = models.family(name).module.__doc__
    found = re.findall(r"^ {8}([\w.]+) +(\d+(?: x \d+)*) {2,}([\d,]+)$", text, re.MULTILINE)
    rows = [(layer, tuple(map(int, shape.split(" x "))), int(n.replace(",", ""))) for layer, shape, n in found]
    return rows, int(re.search(r"in all +([\d,]+)$", text, re.MULTILINE).group(1).replace(",", ""))


def test_every_network_is_worked_out():
    assert set(LAYERS) == set(NETWORKS)


@pytest.mark.parametrize("name", LAYERS)
def test_layers_and_parameters_are_the_ones_worked_by_hand_and_documented(name):
    family = models.family(name)
    model = models.build(name, family.config(), FULL, 385, 16).eval()
    shapes = {}

    def note(layer):
        return lambda module, args, output: shapes.update(
            {layer: (output[0] if isinstance(module, torch.nn.GRU) else output).shape}
        )

    layers = dict(model.named_modules())
    for layer, _, _ in LAYERS[name]:
        layers[layer].register_forward_hook(note(layer))
    inputs = inputs_of(model, 2, features=FULL, frames=385)
    with torch.inference_mode():
        embedding = model.embed(inputs)
        assert model(inputs).shape == (2, 16)
    assert embedding.shape == (2, model.embedding_size)
    n_parameters = {layer: sum(p.numel() for p in layers[layer].parameters()) for layer in shapes}
    assert [(layer, tuple(shapes[layer][1:]), n_parameters[layer]) for layer in shapes] == LAYERS[name]
    n_in_all = sum(p.numel() for p in model.parameters())
    assert n_in_all == sum(n for _, _, n in LAYERS[name])
    assert documented(name) == (LAYERS[name], n_in_all)
