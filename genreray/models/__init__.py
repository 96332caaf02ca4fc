"""The registry: every architecture by the name that `--model` takes, one file a family, and those that others bring."""

import dataclasses
from typing import Any

from genreray.errors import UserError
from genreray.features import FeatureConfig
from genreray.models import (
    chance,
    crnn,
    elsewhere,
    forest,
    fusion_cnn,
    mel_cnn,
    mel_cnn_shallow,
    mfcc_cnn,
    mfcc_stats_cnn,
    mlp,
    short_chunk_resnet,
    stacked_cnn,
    svm,
)
from genreray.models.base import Family, GenreModel, ModelConfig

__all__ = ["MODELS", "Family", "GenreModel", "ModelConfig", "build", "config_from_json", "family", "is_known"]

_FAMILIES = (
    chance.RANDOM,
    chance.PRIOR,
    mlp.FAMILY,
    mfcc_stats_cnn.FAMILY,
    mel_cnn_shallow.FAMILY,
    mel_cnn.FAMILY,
    mfcc_cnn.FAMILY,
    stacked_cnn.FAMILY,
    svm.FAMILY,
    forest.FAMILY,
    crnn.FAMILY,
    fusion_cnn.FAMILY,
    short_chunk_resnet.FAMILY,
    short_chunk_resnet.SMALL,
)
MODELS: dict[str, Family] = {f.name: f for f in _FAMILIES}


def family(name: str) -> Family:
    """Return the family registered as `name`, else that of an entry point, else that of an importable module.

    Raises UserError where there is none of that name, or it cannot be used.
    """
    found = MODELS.get(name) or elsewhere.find(name)
    if found is None:
        names = ", ".join(sorted({*MODELS, *elsewhere.entry_points()}))
        raise UserError(
            f"there is no model {name!r}: choose one of {names}; or give a module that Python finds (PYTHONPATH)"
        )
    return found


def is_known(name: str) -> bool:
    """Return whether `name` is in the registry or an entry point of an installed package: no module by its path."""
    return isinstance(name, str) and (name in MODELS or name in elsewhere.entry_points())


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
