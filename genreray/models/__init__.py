"""The registry: every architecture by the name that `--model` takes, one file a family."""

import dataclasses
from typing import Any

from genreray.errors import UserError
from genreray.features import FeatureConfig
from genreray.models import mel_cnn
from genreray.models.base import Family, GenreModel, ModelConfig

__all__ = ["MODELS", "Family", "GenreModel", "ModelConfig", "build", "config_from_json", "family"]

MODELS: dict[str, Family] = {f.name: f for f in (mel_cnn.FAMILY,)}


def family(name: str) -> Family:
    """Return the family registered as `name`.

    Raises UserError for a name that is not registered.
    """
    if name not in MODELS:
        raise UserError(f"there is no model {name!r}: choose one of {', '.join(sorted(MODELS))}")
    return MODELS[name]


def build(name: str, config: ModelConfig, features: FeatureConfig, crop_frames: int, n_genres: int) -> GenreModel:
    """Return a freshly initialised network for crops of `crop_frames` frames.

    Raises UserError where the crop is too small for the architecture.
    """
    model: GenreModel = family(name).module(config, features, crop_frames, n_genres)
    return model


def config_from_json(name: str, value: dict[str, Any], where: str) -> ModelConfig:
    """Return the configuration of the model `name` from plain values; `where` names their file in the error.

    Raises UserError for fields that the model does not have.
    """
    config_type = family(name).config
    fields = {field.name for field in dataclasses.fields(config_type)}
    unknown = sorted(set(value) - fields)
    if unknown:
        raise UserError(f"{where} sets {unknown[0]!r}, which {name} does not have: it has {', '.join(sorted(fields))}")
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in value.items()}
    return config_type(**values)
