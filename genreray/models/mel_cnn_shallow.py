"""mel_cnn_shallow: the report's two-layer network on log-mels, which overfits at a learning rate of 0.01."""

import dataclasses

from genreray.models.base import Family
from genreray.models.convolutions import ConvolutionsConfig
from genreray.models.mel_cnn import MelCnn
from genreray.recipe import TrainingConfig


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


FAMILY = Family("mel_cnn_shallow", MelCnnShallowConfig, MelCnnShallow, TrainingConfig(epochs=10))
