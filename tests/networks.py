"""What tests of every network share: its inputs, made up and small, and the network itself, ready to be trained."""

import dataclasses

import torch
from torch.nn import functional as F

from genreray import loop, models, moments
from genreray.dataset import Clips
from genreray.features import FeatureConfig
from genreray.models import GenreModel, ModelConfig
from genreray.models.fitted import Fitted

NETWORKS = [name for name, family in models.MODELS.items() if not issubclass(family.module, Fitted)]
SMALL = FeatureConfig(n_mels=32, n_mfcc=13)
FRAMES = 64


def made_up(
    n: int = 8, features: FeatureConfig = SMALL, frames: int = FRAMES, seed: int = 0
) -> dict[str, torch.Tensor]:
    """Noise in the types and about the range of each input."""
    generator = torch.Generator().manual_seed(seed)
    mel = torch.randint(0, 256, (n, features.n_mels, frames), dtype=torch.uint8, generator=generator)
    mfcc = torch.randn(n, features.n_mfcc, frames, generator=generator) * 50 - 20
    stats = torch.randn(n, 7, features.n_mfcc, generator=generator) * 50 - 20
    return {"mel": mel, "mfcc": mfcc.half(), "mfcc_stats": stats}


def inputs_of(model: GenreModel, n: int = 8, **where: object) -> dict[str, torch.Tensor]:
    """Noise for the inputs that a network reads."""
    everything = made_up(n, **where)  # type: ignore[arg-type]
    return {name: everything[name] for name in model.inputs}


def dropouts(config: type[ModelConfig]) -> list[str]:
    """The fields of a configuration that say how much is dropped."""
    return [field.name for field in dataclasses.fields(config) if field.name.endswith("dropout")]


def without_dropout(name: str, **values: object) -> ModelConfig:
    """A family's configuration with nothing left to chance but the first weights."""
    config = models.family(name).config
    return config(**dict.fromkeys(dropouts(config), 0.0), **values)


def loss_of(model: GenreModel, inputs: dict[str, torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
    """The cross entropy that a network minimises in training, of all its heads."""
    losses = [F.cross_entropy(logits, labels) for logits in loop.heads(model(inputs))]
    return torch.stack(losses).sum()


def network(name: str, config: ModelConfig | None = None, n_genres: int = 4) -> GenreModel:
    """A small network with weights of seed 0, its inputs standardised by those of `made_up`."""
    torch.manual_seed(0)
    config = config or models.family(name).config()
    return standardised(models.build(name, config, SMALL, FRAMES, n_genres))


def standardised(model: GenreModel, **where: object) -> GenreModel:
    """A network after what training does before its first epoch."""
    inputs = inputs_of(model, **where)
    n, frames = len(next(iter(inputs.values()))), FRAMES
    clips = Clips([str(i) for i in range(n)], inputs, torch.full((n,), frames), torch.zeros(n, dtype=torch.int64))
    for name, standardise in getattr(model, "standardise", {}).items():
        found = moments.of(clips, name)
        standardise.fit(found.mean, found.std)
    return model
