"""mlp: the report's two fully connected layers on the statistics of a clip's MFCC."""

import dataclasses

from torch import Tensor, nn

from genreray.dimensions import Choice, LogUniform, Space, Uniform
from genreray.features import FeatureConfig
from genreray.mfcc_stats import STATISTICS
from genreray.models.base import L2, Family, GenreModel, ModelConfig, check_image, check_layers, check_share
from genreray.models.standardise import Standardise
from genreray.recipe import SEARCHED, TrainingConfig


@dataclasses.dataclass(frozen=True)
class MlpConfig(ModelConfig):
    """Layers and training of mlp."""

    hidden_sizes: tuple[int, ...] = (256,)
    """Units of each layer before the last, first to last."""
    dropout: float = 0.0
    """Share of the units before each layer but the first that are dropped in training."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_layers(self, "hidden_sizes")
        check_share(self, "dropout")


class Mlp(GenreModel):
    """Standardised statistics; a linear layer and ReLU for each of `hidden_sizes`; one more linear layer.

    Of 7 x 20 statistics and for 16 genres:

        hidden.0          256               36,096
        head              16                 4,112
        in all                              40,208
    """

    inputs = ("mfcc_stats",)

    def __init__(self, config: MlpConfig, features: FeatureConfig, crop_frames: int, n_genres: int) -> None:
        super().__init__()
        self.image_shape = (len(STATISTICS), features.n_mfcc)
        self.standardise = nn.ModuleDict({"mfcc_stats": Standardise(*self.image_shape)})
        layers: list[nn.Module] = []
        sizes = (self.image_shape[0] * self.image_shape[1], *config.hidden_sizes)
        for n_in, n_out in zip(sizes, config.hidden_sizes, strict=False):
            layers += [nn.Linear(n_in, n_out), nn.ReLU(), nn.Dropout(config.dropout)]
        self.hidden = nn.Sequential(*layers[:-1])  # the last dropout is the head's
        self.embedding_size = config.hidden_sizes[-1]
        self.head = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(self.embedding_size, n_genres))

    def embed(self, inputs: dict[str, Tensor]) -> Tensor:
        """Map {"mfcc_stats": float32 [n, 7, n_mfcc]} to the last hidden layer, [n, hidden_sizes[-1]]."""
        check_image(inputs["mfcc_stats"], self.image_shape)
        units: Tensor = self.hidden(self.standardise["mfcc_stats"](inputs["mfcc_stats"]).flatten(1))
        return units.float()


SPACE: Space = {
    "hidden_sizes": Choice(((64,), (128,), (256,), (512,), (256, 128), (512, 256))),
    "learning_rate": LogUniform(1e-4, 1e-2),
    "dropout": Uniform(0.0, 0.6),
    "l2": L2,
    **SEARCHED,
}
FAMILY = Family("mlp", MlpConfig, Mlp, TrainingConfig(epochs=30, crops=1), SPACE)  # all crops would be the same
