"""mel_cnn_shallow: the report's two-layer network on log-mels, which overfits at a learning rate of 0.01."""

import dataclasses

from genreray.dimensions import Choice, LogUniform, Space, Uniform
from genreray.models.base import L2, Family
from genreray.models.convolutions import ConvolutionsConfig
from genreray.models.mel_cnn import MelCnn
from genreray.recipe import SEARCHED_ON_CROPS, TrainingConfig


@dataclasses.dataclass(frozen=True)
class MelCnnShallowConfig(ConvolutionsConfig):
    """Layers and training of mel_cnn_shallow, with the report's values."""

    learning_rate: float = 1e-2
    """Step size of the optimiser."""


class MelCnnShallow(MelCnn):
    """mel_cnn with two convolutions and without dropout.

    Of mel 128 x 385 and for 16 genres:

        convolutions.0    8 x 128 x 385         80
        convolutions.1    8 x 64 x 192           0
        convolutions.3    16 x 64 x 192      1,168
        convolutions.4    16 x 32 x 96           0
        head              16               786,448
        in all                             787,696

    The report names no pool here; there is one after each convolution, as in its deeper network. `--pool-size 1` leaves
    them out, and makes the linear layer 12.6 million parameters large.
    """


# Larger pools leave the linear layer, which overfits, fewer inputs.
SPACE: Space = {
    "filters": Choice(((8, 16), (16, 32), (32, 64))),
    "kernel_size": Choice((3, 5)),
    "pool_size": Choice((2, 3, 4)),
    "learning_rate": LogUniform(1e-4, 3e-2),
    "dropout": Uniform(0.0, 0.6),
    "l2": L2,
    **SEARCHED_ON_CROPS,
}
FAMILY = Family("mel_cnn_shallow", MelCnnShallowConfig, MelCnnShallow, TrainingConfig(epochs=10), SPACE)
