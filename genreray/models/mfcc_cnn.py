"""mfcc_cnn: the report's convolutional network on MFCC, with L2 on its kernels and biases."""

import dataclasses
from collections.abc import Iterable

from torch import Tensor, nn
from torch.nn import Parameter

from genreray.dimensions import Choice, LogUniform, Space, Uniform
from genreray.features import FeatureConfig
from genreray.models.base import Family, GenreModel, ModelConfig, check_crop, check_image, check_layers, check_share
from genreray.models.max_pool import MaxPool
from genreray.models.standardise import Standardise
from genreray.recipe import SEARCHED_ON_CROPS, TrainingConfig


@dataclasses.dataclass(frozen=True)
class MfccCnnConfig(ModelConfig):
    """Layers and training of mfcc_cnn, with the report's values."""

    filters: tuple[int, ...] = (2, 32, 48)
    """Filters of each convolution, first to last."""
    kernel_size: int = 2
    """Height and width of the convolutions' kernels."""
    pool_size: int = 2
    """Height and width of the one max pool, after the last convolution; 1 is none."""
    dropout: float = 0.0
    """Share of the values before the linear layer that are dropped in training."""
    l2: float = 0.01
    """Weight in the loss of the squared norm of the convolutions' kernels and biases (weight decay with adamw)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_layers(self, "filters", "kernel_size", "pool_size")
        check_share(self, "dropout")


class MfccCnn(GenreModel):
    """Standardised MFCC; convolution and ReLU for each of `filters`; one max pool; one linear layer.

    Of MFCC 20 x 385 and for 16 genres:

        convolutions.0    2 x 19 x 384          10
        convolutions.2    32 x 18 x 383        288
        convolutions.4    48 x 17 x 382      6,192
        convolutions.6    48 x 8 x 191           0
        head              16             1,173,520
        in all                           1,180,010

    The convolutions do not pad, as a kernel of even size cannot on both sides alike, and l2 is not for the linear
    layer. Each coefficient is standardised: the first is a hundred times as large as the last.
    """

    inputs = ("mfcc",)

    def __init__(self, config: MfccCnnConfig, features: FeatureConfig, crop_frames: int, n_genres: int) -> None:
        super().__init__()
        self.image_shape = (features.n_mfcc, crop_frames)
        lost = len(config.filters) * (config.kernel_size - 1)
        check_crop(self.image_shape, (lost + config.pool_size, lost + config.pool_size))
        self.standardise = nn.ModuleDict({"mfcc": Standardise(features.n_mfcc)})
        layers: list[nn.Module] = []
        for n_in, n_out in zip((1, *config.filters), config.filters, strict=False):
            layers += [nn.Conv2d(n_in, n_out, config.kernel_size), nn.ReLU()]
        self.convolutions = nn.Sequential(*layers, MaxPool(config.pool_size))
        height, width = ((size - lost) // config.pool_size for size in self.image_shape)
        self.embedding_size = config.filters[-1] * height * width
        self.head = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(self.embedding_size, n_genres))

    def embed(self, inputs: dict[str, Tensor]) -> Tensor:
        """Map {"mfcc": float16 [n, n_mfcc, crop_frames]} to the pooled maps, flat."""
        check_image(inputs["mfcc"], self.image_shape)
        image = self.standardise["mfcc"](inputs["mfcc"]).unsqueeze(1)  # [n, 1, n_mfcc, crop_frames]
        maps: Tensor = self.convolutions(image)
        return maps.flatten(1)

    def regularised(self) -> Iterable[Parameter]:
        """Return the convolutions' kernels and biases."""
        return self.convolutions.parameters()


# Without padding, 13 MFCC are left enough by all of them.
SPACE: Space = {
    "filters": Choice(((2, 32, 48), (16, 32), (16, 32, 48), (32, 64, 96), (16, 32, 64, 96))),
    "kernel_size": Choice((2, 3)),
    "pool_size": Choice((2, 4)),
    "learning_rate": LogUniform(1e-4, 1e-2),
    "dropout": Uniform(0.0, 0.6),
    "l2": LogUniform(1e-5, 1e-1),
    **SEARCHED_ON_CROPS,
}
FAMILY = Family("mfcc_cnn", MfccCnnConfig, MfccCnn, TrainingConfig(), SPACE)
