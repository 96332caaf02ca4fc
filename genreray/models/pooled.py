"""What the networks share that pool over time: how they are trained, and the pools."""

import dataclasses
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import Parameter

from genreray.dimensions import Integer, LogUniform, Space, Uniform
from genreray.models.base import GenreModel, ModelConfig, Optimizer, check_share
from genreray.recipe import SEARCHED_ON_CROPS, TrainingConfig

# How they are trained: augmented until crops of one clip are hardly the same twice, as they are large for their data.
RECIPE = TrainingConfig(
    crops=5,
    schedule="one_cycle",
    clip_norm=5.0,
    label_smoothing=0.1,
    mixup=0.3,
    freq_masks=2,
    time_masks=2,
    equalise=6.0,
    averaging="ema",
)
# What searches vary of both, around what is above: how much, as all of it is on.
SEARCHED: Space = {
    "learning_rate": LogUniform(3e-4, 1e-2),
    "dropout": Uniform(0.0, 0.6),
    "l2": LogUniform(1e-3, 0.3),
    **SEARCHED_ON_CROPS,
    "mixup": Uniform(0.0, 1.0),
    "equalise": Uniform(0.0, 12.0),
    "freq_masks": Integer(0, 4),
    "time_masks": Integer(0, 4),
}


@dataclasses.dataclass(frozen=True)
class PooledConfig(ModelConfig):
    """Training of a network that pools over time."""

    dropout: float = 0.3
    """Share of the pooled values that are dropped in training."""
    optimizer: Optimizer = "adamw"
    """Optimiser; sgd has a momentum of 0.9."""
    learning_rate: float = 2e-3
    """Step size of the optimiser, of the schedule's highest."""
    l2: float = 0.05
    """Weight of the squared norm of kernels and matrices in the loss (decoupled weight decay with adamw)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share(self, "dropout")


class Pooled(GenreModel):
    """A network whose embedding is pooled over time."""

    def regularised(self) -> Iterable[Parameter]:
        """Return kernels and matrices: biases and the scales of a norm have no reason to be small."""
        return [parameter for parameter in self.parameters() if parameter.ndim > 1]


def mean_and_max(maps: Tensor) -> Tensor:
    """Return mean and maximum over time, [n, channels, frames] -> float32 [n, 2 * channels]."""
    maps = maps.float()  # the mean of hundreds of bf16 values is not one
    return torch.cat([maps.mean(2), maps.amax(2)], dim=1)
