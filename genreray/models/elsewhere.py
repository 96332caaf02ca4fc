"""Architectures that others bring: entry points of the group `genreray.models`, and modules named by their path."""

import dataclasses
import importlib
import inspect
from importlib import metadata
from typing import Any

from genreray.dimensions import Choice, Integer, LogUniform, Space, Uniform
from genreray.errors import UserError
from genreray.models.base import COMMON, Family, GenreModel, ModelConfig
from genreray.models.fitted import FittedConfig
from genreray.recipe import TrainingConfig

GROUP = "genreray.models"
INPUTS = ("mel", "mfcc", "mfcc_stats")


def entry_points() -> dict[str, metadata.EntryPoint]:
    """Return the entry points of installed packages by name, none of them loaded."""
    return {point.name: point for point in metadata.entry_points(group=GROUP)}


def find(name: str) -> Family | None:
    """Return the family of the entry point `name`, or of the module `name` (mypackage.mymodel); None if there is none.

    A module holds its family as FAMILY; an entry point names such a module, or the family itself. Code of both runs.
    Raises UserError where there is one that cannot be imported or is not well-formed.
    """
    point = entry_points().get(name)
    module_name = point.module if point else name
    where = f"the entry point {name} ({point.value})" if point else f"the module {name}"
    if not all(part.isidentifier() for part in module_name.split(".")):
        return None
    try:
        found: Any = point.load() if point else importlib.import_module(name)
    except Exception as error:
        if not point and isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            return None  # it is this module that is not there, not one that it imports
        raise UserError(f"{where} cannot be imported ({type(error).__name__}: {_line(error)})") from error
    if inspect.ismodule(found):
        if not hasattr(found, "FAMILY"):
            raise UserError(f"{where} is no model: give it FAMILY = Family(name, config, module)")
        found = found.FAMILY
    _check(found, where)
    family: Family = found
    if family.space is COMMON:
        return family._replace(space=_around(family.config))
    _check_space(family, where)
    return family


def _check(found: Any, where: str) -> None:
    """Raise UserError where what a module calls its family cannot be used as one."""
    if not isinstance(found, Family):
        raise UserError(f"FAMILY of {where} is {type(found).__name__}: give a Family(name, config, module)")
    config = found.config
    if not (inspect.isclass(config) and issubclass(config, ModelConfig) and dataclasses.is_dataclass(config)):
        raise UserError(f"the config in FAMILY of {where} is {config!r}: give a dataclass that extends ModelConfig")
    try:
        config()
    except TypeError as error:
        raise UserError(f"{config.__name__} of {where} cannot be made without values: give each field one") from error
    if not isinstance(found.training, TrainingConfig):
        raise UserError(f"the training in FAMILY of {where} is {found.training!r}: give a TrainingConfig")
    model = found.module
    if not (inspect.isclass(model) and issubclass(model, GenreModel)):
        raise UserError(f"the module in FAMILY of {where} is {model!r}: give a class that extends GenreModel")
    inputs = getattr(model, "inputs", None)
    if not isinstance(inputs, tuple) or not inputs or not set(inputs) <= set(INPUTS):
        raise UserError(f"inputs of {model.__name__} in {where} is {inputs!r}: give a tuple of {', '.join(INPUTS)}")


def _check_space(family: Family, where: str) -> None:
    """Raise UserError where the space in FAMILY of a module cannot be searched."""
    kinds = (Choice, Uniform, LogUniform, Integer)
    if not isinstance(family.space, dict) or not all(isinstance(each, kinds) for each in family.space.values()):
        raise UserError(f"the space in FAMILY of {where} is no dict of Choice, Uniform, LogUniform and Integer")
    from genreray import space  # here, as it reads files: the networks alone need torch and numpy alone

    try:
        space.check(family.space, family)
    except UserError as error:
        raise UserError(f"the space in FAMILY of {where}: {error}") from error


def _around(config: type[ModelConfig]) -> Space:
    """Return what is searched where a family does not say, the learning rate around the configuration's own."""
    if issubclass(config, FittedConfig):
        return {}
    rate = config().learning_rate
    return {**COMMON, "learning_rate": LogUniform(rate / 10, rate * 10)}


def _line(error: Exception) -> str:
    return (str(error).splitlines() or ["no message"])[0]
