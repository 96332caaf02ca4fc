"""What every architecture shares: the fields of its configuration that train it, and its interface."""

import dataclasses
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from genreray.errors import UserError
from genreray.features import FeatureConfig
from genreray.recipe import TrainingConfig

Optimizer = Literal["adam", "adamw", "sgd"]


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """How a network is trained; each family's configuration adds its layers and gives its own defaults."""

    optimizer: Optimizer = "adam"
    """Optimiser; sgd has a momentum of 0.9."""
    learning_rate: float = 1e-3
    """Step size of the optimiser."""
    l2: float = 0.0
    """Weight of the squared norm of the parameters in the loss (decoupled weight decay with adamw)."""

    def __post_init__(self) -> None:
        if self.learning_rate <= 0:
            raise UserError(f"learning rate is {self.learning_rate}: give a number above 0")
        if self.l2 < 0:
            raise UserError(f"l2 is {self.l2}: give 0 or more")


class GenreModel(nn.Module):
    """Crops of stored features -> logits. Scaling the stored types is the network's own first step."""

    inputs: ClassVar[tuple[str, ...]]  # the columns of FEATURES it reads

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """Map {"mel": uint8 [n, n_mels, crop_frames], ...} to logits, float [n, n_genres]."""
        raise NotImplementedError


class Family(NamedTuple):
    """One architecture of the registry."""

    name: str
    config: type[ModelConfig]
    module: Any  # (config, FeatureConfig, crop_frames, n_genres) -> GenreModel
    training: TrainingConfig = TrainingConfig()  # its defaults: what suits this architecture


def make_optimizer(model: nn.Module, config: ModelConfig) -> torch.optim.Optimizer:
    """Return the optimiser that the configuration names, over all parameters of `model`."""
    if config.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), lr=config.learning_rate, momentum=0.9, weight_decay=config.l2)
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return kind(model.parameters(), lr=config.learning_rate, weight_decay=config.l2)


def check_layers(config: ModelConfig, *names: str) -> None:
    """Raise UserError where a field that counts something (or a tuple of them) holds less than 1."""
    for name in names:
        value = getattr(config, name)
        numbers = value if isinstance(value, tuple) else (value,)
        if not numbers or min(numbers) < 1:
            shown = " ".join(map(str, numbers)) or "empty"
            raise UserError(f"{name.replace('_', ' ')} is {shown}: give whole numbers of 1 or more")


def check_crop(model: str, features: FeatureConfig, crop_frames: int, smallest: tuple[int, int]) -> None:
    """Raise UserError where a crop has fewer (mel bands, frames) than `smallest`."""
    if features.n_mels < smallest[0] or crop_frames < smallest[1]:
        raise UserError(
            f"{model} needs crops of at least {smallest[0]} x {smallest[1]}, not {features.n_mels} x {crop_frames}:"
            " give longer crops (--crop-frames) or fewer layers"
        )


def check_image(image: Tensor, shape: tuple[int, int]) -> None:
    """Raise ValueError where images, [n, bins, frames], are not of `shape`: some layers would take them transposed."""
    if tuple(image.shape[-2:]) != shape:
        raise ValueError("images must be {} x {}, not {} x {}".format(*shape, *image.shape[-2:]))
