"""crnn: convolutions that sum up a crop in a few dozen steps, and a recurrent layer that reads them in order."""

import dataclasses

from torch import Tensor, nn

from genreray.dimensions import Choice, Space
from genreray.features import FeatureConfig
from genreray.models.base import Family, check_image, check_layers, check_odd
from genreray.models.pooled import RECIPE, SEARCHED, Pooled, PooledConfig, mean_and_max
from genreray.models.recurrent import RecurrentTrunk
from genreray.models.standardise import Standardise


@dataclasses.dataclass(frozen=True)
class CrnnConfig(PooledConfig):
    """Layers and training of crnn."""

    filters: tuple[int, ...] = (16, 32, 64, 128)
    """Filters of each convolution, first to last."""
    kernel_size: int = 3
    """Height and width of the convolutions' kernels, odd."""
    pool_size: int = 2
    """Height and width of the max pool after each convolution; 1 is none."""
    recurrent: int = 64
    """Units of the recurrent layer (GRU) in each direction."""
    dropout: float = 0.3
    """Share of the values before the recurrent layer, and of the pooled ones, that are dropped in training."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_layers(self, "filters", "kernel_size", "pool_size", "recurrent")
        check_odd(self, "kernel_size")


class Crnn(Pooled):
    """Standardised log-mel; convolution, max pool, norm and ReLU for each of `filters`; GRU; pools; linear.

    Of mel 128 x 385 and for 16 genres:

        trunk.convolutions.0  16 x 128 x 385         144
        trunk.convolutions.1  16 x 64 x 192            0
        trunk.convolutions.2  16 x 64 x 192           32
        trunk.convolutions.4  32 x 64 x 192        4,608
        trunk.convolutions.5  32 x 32 x 96             0
        trunk.convolutions.6  32 x 32 x 96            64
        trunk.convolutions.8  64 x 32 x 96        18,432
        trunk.convolutions.9  64 x 16 x 48             0
        trunk.convolutions.10 64 x 16 x 48           128
        trunk.convolutions.12 128 x 16 x 48       73,728
        trunk.convolutions.13 128 x 8 x 24             0
        trunk.convolutions.14 128 x 8 x 24           256
        trunk.recurrent       24 x 128           418,560
        head                  16                   4,112
        in all                                   520,064

    The GRU reads in both directions; what is pooled, mean and maximum over time, are its states. After Choi et al.
    2017, "Convolutional recurrent neural networks for music classification".
    """

    inputs = ("mel",)

    def __init__(self, config: CrnnConfig, features: FeatureConfig, crop_frames: int, n_genres: int) -> None:
        super().__init__()
        self.image_shape = (features.n_mels, crop_frames)
        self.standardise = nn.ModuleDict({"mel": Standardise(features.n_mels)})
        self.trunk = RecurrentTrunk(
            config.filters,
            config.recurrent,
            self.image_shape,
            kernel_size=config.kernel_size,
            pool_size=config.pool_size,
            dropout=config.dropout,
        )
        self.embedding_size = 2 * 2 * config.recurrent  # two directions, mean and maximum
        self.head = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(self.embedding_size, n_genres))

    def embed(self, inputs: dict[str, Tensor]) -> Tensor:
        """Map {"mel": uint8 [n, n_mels, crop_frames]} to the pooled states, [n, 4 * recurrent]."""
        check_image(inputs["mel"], self.image_shape)
        return mean_and_max(self.trunk(self.standardise["mel"](inputs["mel"]).unsqueeze(1)))


SPACE: Space = {
    "filters": Choice(((16, 32, 64), (16, 32, 64, 128), (32, 64, 128, 128), (32, 64, 128, 256))),
    "kernel_size": Choice((3, 5)),
    "recurrent": Choice((32, 64, 128)),
    **SEARCHED,
}
FAMILY = Family("crnn", CrnnConfig, Crnn, RECIPE, SPACE)
