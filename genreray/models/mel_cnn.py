"""mel_cnn: the report's four-layer convolutional network on grey log-mel images."""

import dataclasses

from torch import Tensor, nn

from genreray.errors import UserError
from genreray.features import FeatureConfig
from genreray.models.base import Family, GenreModel, ModelConfig, check_crop, check_image, check_layers


@dataclasses.dataclass(frozen=True)
class MelCnnConfig(ModelConfig):
    """Layers and training of mel_cnn, with the report's values."""

    filters: tuple[int, ...] = (8, 16, 64, 128)
    """Filters of each convolution, first to last."""
    kernel_size: int = 3
    """Height and width of the convolutions' kernels, odd."""
    pool_size: int = 2
    """Height and width of the max pool after each convolution."""
    dropout: float = 0.25
    """Share of the values before the linear layer that are dropped in training."""
    learning_rate: float = 1e-4
    """Step size of the optimiser."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_layers(self, "filters", "kernel_size", "pool_size")
        if self.kernel_size % 2 == 0:
            raise UserError(f"kernel size is {self.kernel_size}: give an odd number, so that images keep their size")
        if not 0 <= self.dropout < 1:
            raise UserError(f"dropout is {self.dropout}: give a number from 0 to less than 1")


class MelCnn(GenreModel):
    """Convolution, ReLU and max pool for each of `filters`; dropout; one linear layer over what is left."""

    inputs = ("mel",)

    def __init__(self, config: MelCnnConfig, features: FeatureConfig, crop_frames: int, n_genres: int) -> None:
        super().__init__()
        self.image_shape = (features.n_mels, crop_frames)
        shrink = config.pool_size ** len(config.filters)
        check_crop("mel_cnn", features, crop_frames, (shrink, shrink))
        layers: list[nn.Module] = []
        n_channels = 1
        for n_filters in config.filters:
            layers += [
                nn.Conv2d(n_channels, n_filters, config.kernel_size, padding=config.kernel_size // 2),
                nn.ReLU(),
                nn.MaxPool2d(config.pool_size),
            ]
            n_channels = n_filters
        self.convolutions = nn.Sequential(*layers)
        height, width = features.n_mels, crop_frames
        for _ in config.filters:
            height, width = height // config.pool_size, width // config.pool_size
        self.dropout = nn.Dropout(config.dropout)
        self.linear = nn.Linear(n_channels * height * width, n_genres)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """Map {"mel": uint8 [n, n_mels, crop_frames]} to logits [n, n_genres]."""
        check_image(inputs["mel"], self.image_shape)
        image = inputs["mel"].unsqueeze(1).float() / 255  # [n, 1, n_mels, crop_frames]
        maps = self.convolutions(image)  # [n, filters[-1], n_mels / 16, crop_frames / 16]
        logits: Tensor = self.linear(self.dropout(maps.flatten(1)))
        return logits


FAMILY = Family("mel_cnn", MelCnnConfig, MelCnn)
