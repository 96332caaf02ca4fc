"""What every architecture shares: the fields of its configuration that train it, and its interface."""

import dataclasses
from collections.abc import Iterable
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from genreray.dimensions import Choice, LogUniform, Space
from genreray.errors import UserError
from genreray.recipe import SEARCHED, TrainingConfig

Optimizer = Literal["adam", "adamw", "sgd"]
# Over decades, and none: a logarithmic range does not hold the 0 that most networks begin with.
L2 = Choice((0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2))
# What is searched of a family that does not say.
COMMON: Space = {"learning_rate": LogUniform(1e-4, 1e-2), "l2": L2, **SEARCHED}


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
        if not 0 < self.learning_rate < float("inf"):
            raise UserError(f"learning rate is {self.learning_rate}: give a number above 0")
        if not 0 <= self.l2 < float("inf"):
            raise UserError(f"l2 is {self.l2}: give 0 or more")


class GenreModel(nn.Module):
    """Crops of stored features -> logits. Scaling the stored types is the network's own first step.

    A network sets `embedding_size` and `head`, and defines `embed`. One that standardises inputs holds a Standardise
    for each in `standardise`, an nn.ModuleDict by input, which training fills before its first epoch.
    """

    inputs: ClassVar[tuple[str, ...]]  # what it reads: mel, mfcc, mfcc_stats
    embedding_size: int
    head: nn.Module  # [n, embedding_size] -> [n, n_genres]

    def embed(self, inputs: dict[str, Tensor]) -> Tensor:
        """Map inputs to what the last layer sees of them, [n, embedding_size]: float32, or autocast's type under it."""
        raise NotImplementedError

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """Map {"mel": uint8 [n, n_mels, crop_frames], ...} to logits, float [n, n_genres].

        In training there may be those of several heads, [n, heads, n_genres], the answer first: each has a loss of its
        own, and the sum is what is minimised.
        """
        logits: Tensor = self.head(self.embed(inputs))
        return logits

    def answer(self, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return what `forward` and `embed` do, computed together."""
        embedding = self.embed(inputs)
        return self.head(embedding), embedding

    def regularised(self) -> Iterable[Parameter]:
        """Return the parameters that the configuration's l2 is for: all, unless a network says otherwise."""
        return self.parameters()


class Family(NamedTuple):
    """One architecture of the registry."""

    name: str
    config: type[ModelConfig]
    module: Any  # (config, FeatureConfig, crop_frames, n_genres) -> GenreModel
    training: TrainingConfig = TrainingConfig()  # its defaults: what suits this architecture
    space: Space = COMMON  # what `tune` varies, by the names of fields of both; it holds their defaults


def make_optimizer(model: nn.Module, config: ModelConfig) -> torch.optim.Optimizer:
    """Return the optimiser that the configuration names, over all parameters of `model`.

    l2 holds for those that a GenreModel's `regularised` names. It is torch's fused one, a single pass over all of them.
    """
    # Adam and SGD add weight_decay * w to the gradient; that of l2 * w^2 in the loss is 2 * l2 * w.
    decay = config.l2 if config.optimizer == "adamw" else 2 * config.l2
    chosen = model.regularised() if isinstance(model, GenreModel) else model.parameters()
    regularised = {id(parameter) for parameter in chosen}
    groups = [
        {"params": [p for p in model.parameters() if (id(p) in regularised) == inside], "weight_decay": weight_decay}
        for inside, weight_decay in ((True, decay), (False, 0.0))
    ]
    groups = [group for group in groups if group["params"]]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=0.9, fused=True)
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=config.learning_rate, fused=True)


def check_layers(config: ModelConfig, *names: str) -> None:
    """Raise UserError where a field that counts something (or a tuple of them) holds less than 1."""
    for name in names:
        value = getattr(config, name)
        numbers = value if isinstance(value, tuple) else (value,)
        if not numbers or min(numbers) < 1:
            shown = " ".join(map(str, numbers)) or "empty"
            raise UserError(f"{name.replace('_', ' ')} is {shown}: give whole numbers of 1 or more")


def check_odd(config: ModelConfig, name: str) -> None:
    """Raise UserError where a kernel's size is even, which would change the size of images."""
    value = getattr(config, name)
    if value % 2 == 0:
        raise UserError(f"{name.replace('_', ' ')} is {value}: give an odd number, so that images keep their size")


def check_share(config: ModelConfig, *names: str) -> None:
    """Raise UserError where a field that is dropped out's share is not from 0 to less than 1."""
    for name in names:
        value = getattr(config, name)
        if not 0 <= value < 1:
            raise UserError(f"{name.replace('_', ' ')} is {value}: give a number from 0 to less than 1")


def check_crop(shape: tuple[int, int], smallest: tuple[int, int]) -> None:
    """Raise UserError where crops of shape (bins, frames) have fewer of either than `smallest`."""
    if shape[0] < smallest[0] or shape[1] < smallest[1]:
        raise UserError(
            "the layers need crops of at least {} x {}, not {} x {}:".format(*smallest, *shape)
            + " give longer crops (--crop-frames), features with more bins, or fewer layers"
        )


def check_image(image: Tensor, shape: tuple[int, int]) -> None:
    """Raise ValueError where images, [n, bins, frames], are not of `shape`: some layers would take them transposed."""
    if tuple(image.shape[-2:]) != shape:
        raise ValueError("images must be {} x {}, not {} x {}".format(*shape, *image.shape[-2:]))
