"""mfcc_stats_cnn: the report's simple convolutional network on the statistics of a clip's MFCC, 7 x 20."""

import dataclasses

from torch import Tensor, nn

from genreray.dimensions import Choice, LogUniform, Space, Uniform
from genreray.errors import UserError
from genreray.features import FeatureConfig
from genreray.mfcc_stats import STATISTICS
from genreray.models.base import L2, Family, GenreModel, Optimizer, check_image
from genreray.models.convolutions import Convolutions, ConvolutionsConfig
from genreray.models.standardise import Standardise
from genreray.recipe import SEARCHED, TrainingConfig


@dataclasses.dataclass(frozen=True)
class MfccStatsCnnConfig(ConvolutionsConfig):
    """Layers and training of mfcc_stats_cnn."""

    filters: tuple[int, ...] = (32, 64)
    """Filters of each convolution, first to last."""
    optimizer: Optimizer = "sgd"
    """Optimiser; sgd has a momentum of 0.9."""
    learning_rate: float = 1e-2
    """Step size of the optimiser."""


class MfccStatsCnn(GenreModel):
    """Standardised statistics; convolution, ReLU and max pool for each of `filters`; one linear layer.

    Of 7 x 20 statistics and for 16 genres:

        convolutions.0    32 x 7 x 20          320
        convolutions.2    32 x 3 x 10            0
        convolutions.3    64 x 3 x 10       18,496
        convolutions.5    64 x 1 x 5             0
        head              16                 5,136
        in all                              23,952
    """

    inputs = ("mfcc_stats",)

    def __init__(self, config: MfccStatsCnnConfig, features: FeatureConfig, crop_frames: int, n_genres: int) -> None:
        super().__init__()
        self.image_shape = (len(STATISTICS), features.n_mfcc)
        shrink = config.pool_size ** len(config.filters)
        if min(self.image_shape) < shrink:
            raise UserError(
                "max pools by {} leave nothing of statistics of {} x {}".format(shrink, *self.image_shape)
                + ": give fewer filters or a smaller pool size"
            )
        self.standardise = nn.ModuleDict({"mfcc_stats": Standardise(*self.image_shape)})
        self.convolutions = Convolutions(config, self.image_shape)
        self.embedding_size = self.convolutions.n_values
        self.head = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(self.embedding_size, n_genres))

    def embed(self, inputs: dict[str, Tensor]) -> Tensor:
        """Map {"mfcc_stats": float32 [n, 7, n_mfcc]} to the last maps, [n, filters[-1] * 7/4 * n_mfcc/4].

        The 4 is of two pools by 2, each rounding down.
        """
        check_image(inputs["mfcc_stats"], self.image_shape)
        image = self.standardise["mfcc_stats"](inputs["mfcc_stats"]).unsqueeze(1)  # [n, 1, 7, n_mfcc]
        maps: Tensor = self.convolutions(image)
        return maps


SPACE: Space = {
    "filters": Choice(((32,), (64,), (16, 32), (32, 64), (64, 128))),
    "kernel_size": Choice((3, 5)),
    "pool_size": Choice((1, 2)),
    "learning_rate": LogUniform(1e-3, 1e-1),
    "dropout": Uniform(0.0, 0.6),
    "l2": L2,
    **SEARCHED,
}
FAMILY = Family("mfcc_stats_cnn", MfccStatsCnnConfig, MfccStatsCnn, TrainingConfig(epochs=30, crops=1), SPACE)
