"""mel_cnn: the report's four-layer convolutional network on grey log-mel images."""

import dataclasses

from torch import Tensor, nn

from genreray.dimensions import Choice, LogUniform, Space, Uniform
from genreray.features import FeatureConfig
from genreray.models.base import L2, Family, GenreModel, check_image
from genreray.models.convolutions import Convolutions, ConvolutionsConfig
from genreray.recipe import SEARCHED_ON_CROPS, TrainingConfig


@dataclasses.dataclass(frozen=True)
class MelCnnConfig(ConvolutionsConfig):
    """Layers and training of mel_cnn, with the report's values."""

    filters: tuple[int, ...] = (8, 16, 64, 128)
    """Filters of each convolution, first to last."""
    dropout: float = 0.25
    """Share of the values before the linear layer that are dropped in training."""
    learning_rate: float = 1e-4
    """Step size of the optimiser."""


class MelCnn(GenreModel):
    """Convolution, max pool and ReLU for each of `filters`; dropout; one linear layer over what is left.

    Of mel 128 x 385 and for 16 genres:

        convolutions.0    8 x 128 x 385         80
        convolutions.1    8 x 64 x 192           0
        convolutions.3    16 x 64 x 192      1,168
        convolutions.4    16 x 32 x 96           0
        convolutions.6    64 x 32 x 96       9,280
        convolutions.7    64 x 16 x 48           0
        convolutions.9    128 x 16 x 48     73,856
        convolutions.10   128 x 8 x 24           0
        head              16               393,232
        in all                             477,616

    The grey levels are scaled to 0..1. Random crops, as everywhere here; the report trains on each clip's first
    (`--first-crop`).
    """

    inputs = ("mel",)

    def __init__(self, config: ConvolutionsConfig, features: FeatureConfig, crop_frames: int, n_genres: int) -> None:
        super().__init__()
        self.image_shape = (features.n_mels, crop_frames)
        self.convolutions = Convolutions(config, self.image_shape)
        self.embedding_size = self.convolutions.n_values
        self.head = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(self.embedding_size, n_genres))

    def embed(self, inputs: dict[str, Tensor]) -> Tensor:
        """Map {"mel": uint8 [n, n_mels, crop_frames]} to the last maps, [n, filters[-1] * n_mels/16 * crop_frames/16].

        The 16 is of four pools by 2.
        """
        check_image(inputs["mel"], self.image_shape)
        image = inputs["mel"].unsqueeze(1).float() / 255  # [n, 1, n_mels, crop_frames]
        maps: Tensor = self.convolutions(image)
        return maps


SPACE: Space = {
    "filters": Choice(((8, 16, 64), (8, 16, 64, 128), (16, 32, 64, 128), (32, 64, 128, 256), (16, 32, 64, 128, 256))),
    "kernel_size": Choice((3, 5)),
    "learning_rate": LogUniform(3e-5, 3e-3),
    "dropout": Uniform(0.0, 0.6),
    "l2": L2,
    **SEARCHED_ON_CROPS,
}
FAMILY = Family("mel_cnn", MelCnnConfig, MelCnn, TrainingConfig(), SPACE)
