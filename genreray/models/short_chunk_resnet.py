"""short_chunk_resnet: a residual network on short log-mel crops, and its preset for small data sets."""

import dataclasses

from torch import Tensor, nn

from genreray.dimensions import Choice, Space, Uniform
from genreray.features import FeatureConfig
from genreray.models.base import Family, check_image, check_layers
from genreray.models.pooled import RECIPE, SEARCHED, Pooled, PooledConfig, mean_and_max
from genreray.models.residual import ResidualTrunk
from genreray.models.standardise import Standardise


@dataclasses.dataclass(frozen=True)
class ShortChunkResnetConfig(PooledConfig):
    """Layers and training of short_chunk_resnet."""

    stem: int = 32
    """Filters of the first convolution."""
    filters: tuple[int, ...] = (64, 128, 256)
    """Filters of each residual block, first to last."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_layers(self, "stem", "filters")


@dataclasses.dataclass(frozen=True)
class ShortChunkResnetSmallConfig(ShortChunkResnetConfig):
    """Layers and training of short_chunk_resnet_small: for hundreds of training clips rather than thousands."""

    stem: int = 16
    """Filters of the first convolution."""
    filters: tuple[int, ...] = (32, 64, 128)
    """Filters of each residual block, first to last."""
    dropout: float = 0.5
    """Share of the pooled values that are dropped in training."""


class ShortChunkResnet(Pooled):
    """Standardised log-mel; residual blocks; mean and maximum over time; one linear layer.

    Of mel 128 x 385 and for 16 genres:

        trunk.0           32 x 64 x 193        800
        trunk.1           32 x 64 x 193         64
        trunk.3           64 x 32 x 97      57,728
        trunk.4           128 x 16 x 49    230,144
        trunk.5           256 x 8 x 25     919,040
        trunk.6           256 x 1 x 25     524,288
        trunk.7           256 x 1 x 25         512
        head              16                 8,208
        in all                           1,740,784

    After the network of this name in Won et al. 2020, "Evaluation of CNN-based automatic music tagging models", with
    strides where that pools, and one convolution over the bins that are left.
    """

    inputs = ("mel",)

    def __init__(
        self, config: ShortChunkResnetConfig, features: FeatureConfig, crop_frames: int, n_genres: int
    ) -> None:
        super().__init__()
        self.image_shape = (features.n_mels, crop_frames)
        self.standardise = nn.ModuleDict({"mel": Standardise(features.n_mels)})
        self.trunk = ResidualTrunk(config.stem, config.filters, self.image_shape)
        self.embedding_size = 2 * config.filters[-1]
        self.head = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(self.embedding_size, n_genres))

    def embed(self, inputs: dict[str, Tensor]) -> Tensor:
        """Map {"mel": uint8 [n, n_mels, crop_frames]} to the pooled maps, [n, 2 * filters[-1]]."""
        check_image(inputs["mel"], self.image_shape)
        image = self.standardise["mel"](inputs["mel"]).unsqueeze(1)  # [n, 1, n_mels, crop_frames]
        return mean_and_max(self.trunk(image))  # of [n, filters[-1], crop_frames / 16]


class ShortChunkResnetSmall(ShortChunkResnet):
    """short_chunk_resnet with half the filters.

    Of mel 128 x 385 and for 16 genres:

        trunk.0           16 x 64 x 193        400
        trunk.1           16 x 64 x 193         32
        trunk.3           32 x 32 x 97      14,528
        trunk.4           64 x 16 x 49      57,728
        trunk.5           128 x 8 x 25     230,144
        trunk.6           128 x 1 x 25     131,072
        trunk.7           128 x 1 x 25         256
        head              16                 4,112
        in all                             438,272
    """


SPACE: Space = {
    "stem": Choice((16, 32, 64)),
    "filters": Choice(((32, 64, 128), (64, 128, 256), (64, 128, 256, 256), (128, 128, 256))),
    **SEARCHED,
}
FAMILY = Family(
    "short_chunk_resnet",
    ShortChunkResnetConfig,
    ShortChunkResnet,
    dataclasses.replace(RECIPE, compile="auto"),  # a tenth less time a step, as docs/benchmarks.md has it
    SPACE,
)
SMALL = Family(
    "short_chunk_resnet_small",
    ShortChunkResnetSmallConfig,
    ShortChunkResnetSmall,
    dataclasses.replace(RECIPE, epochs=60),  # of few steps each
    {
        "stem": Choice((8, 16, 32)),
        "filters": Choice(((16, 32, 64), (32, 64, 128), (32, 64, 128, 128), (64, 64, 128))),
        **SEARCHED,
        "dropout": Uniform(0.0, 0.7),
    },
)
