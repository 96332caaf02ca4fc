"""stacked_cnn: the report's network on the log-mel and the MFCC of a crop in one image."""

import dataclasses

import torch
from torch import Tensor, nn

from genreray.dimensions import Choice, LogUniform, Space, Uniform
from genreray.features import FeatureConfig
from genreray.models.base import L2, Family, GenreModel, check_image
from genreray.models.convolutions import Convolutions, ConvolutionsConfig
from genreray.models.standardise import Standardise
from genreray.recipe import SEARCHED_ON_CROPS, TrainingConfig


@dataclasses.dataclass(frozen=True)
class StackedCnnConfig(ConvolutionsConfig):
    """Layers and training of stacked_cnn, with the report's values; it names no learning rate."""


class StackedCnn(GenreModel):
    """Mel over MFCC in one image; convolution, max pool and ReLU for each of `filters`; one linear layer.

    Of mel 128 x 385 over MFCC 20 x 385 and for 16 genres:

        convolutions.0    8 x 148 x 385         80
        convolutions.1    8 x 74 x 192           0
        convolutions.3    16 x 74 x 192      1,168
        convolutions.4    16 x 37 x 96           0
        head              16               909,328
        in all                             910,576

    Every bin of both is standardised first, as grey levels (0..255) and MFCC (-500..200) share no scale.
    """

    inputs = ("mel", "mfcc")

    def __init__(self, config: StackedCnnConfig, features: FeatureConfig, crop_frames: int, n_genres: int) -> None:
        super().__init__()
        self.shapes = {"mel": (features.n_mels, crop_frames), "mfcc": (features.n_mfcc, crop_frames)}
        self.standardise = nn.ModuleDict({name: Standardise(shape[0]) for name, shape in self.shapes.items()})
        self.convolutions = Convolutions(config, (features.n_mels + features.n_mfcc, crop_frames))
        self.embedding_size = self.convolutions.n_values
        self.head = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(self.embedding_size, n_genres))

    def stack(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return each clip's standardised mel over its MFCC, float32 [n, 1, n_mels + n_mfcc, crop_frames]."""
        for name, shape in self.shapes.items():
            check_image(inputs[name], shape)
        return torch.cat([self.standardise[name](inputs[name]) for name in self.inputs], dim=1).unsqueeze(1)

    def embed(self, inputs: dict[str, Tensor]) -> Tensor:
        """Map {"mel": uint8 [n, n_mels, frames], "mfcc": float16 [n, n_mfcc, frames]} to the last maps, flat."""
        maps: Tensor = self.convolutions(self.stack(inputs))
        return maps


SPACE: Space = {
    "filters": Choice(((8, 16), (16, 32), (8, 16, 32), (16, 32, 64), (16, 32, 64, 128))),
    "kernel_size": Choice((3, 5)),
    "learning_rate": LogUniform(1e-4, 1e-2),
    "dropout": Uniform(0.0, 0.6),
    "l2": L2,
    **SEARCHED_ON_CROPS,
}
FAMILY = Family("stacked_cnn", StackedCnnConfig, StackedCnn, TrainingConfig(), SPACE)
