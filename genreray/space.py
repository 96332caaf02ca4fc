"""A model's search space: which of its settings a search varies, over what, and the points in it."""

import dataclasses
import difflib
import functools
import itertools
import math
import typing
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import yaml

from genreray import storage
from genreray.dimensions import KEYS, Choice, Dimension, Integer, LogUniform, Point, Space, Uniform
from genreray.errors import UserError
from genreray.models.base import Family, ModelConfig
from genreray.recipe import TrainingConfig

__all__ = [
    "Choice",
    "Configs",
    "Dimension",
    "Integer",
    "LogUniform",
    "Point",
    "Space",
    "Uniform",
    "apply",
    "check",
    "default_configs",
    "defaults",
    "draw",
    "for_several_genres",
    "grid",
    "point_from_json",
    "read_space",
    "space_from_json",
    "space_to_json",
    "varied",
]

_KINDS: Mapping[str, tuple[Any, bool]] = {key: kind for kind, key in KEYS.items()}
_NEAREST = 3  # names shown for one that is not there
_OF_ONE_GENRE = ("class_weights", "logit_adjustment", "sampling")  # see labels.check_recipe


class Configs(NamedTuple):
    """What a trial trains by."""

    model: ModelConfig
    training: TrainingConfig


def default_configs(family: Family) -> Configs:
    """Return what `train` takes for a family without any flag."""
    return Configs(family.config(), family.training)


def apply(point: Point, family: Family, base: Configs | None = None) -> Configs:
    """Return the configurations of a point; what it does not name is as in `base`, by default the family's own.

    Raises UserError for a name that is no field, and for values that the configurations refuse.
    """
    base = base or default_configs(family)
    types = _fields(family)
    values = {name: _value(name, value, _type(name, types, family)) for name, value in point.items()}
    mine = {field.name for field in dataclasses.fields(family.config)}
    model = dataclasses.replace(base.model, **{name: value for name, value in values.items() if name in mine})
    training = dataclasses.replace(base.training, **{name: v for name, v in values.items() if name not in mine})
    return Configs(model, training)


def defaults(family: Family, space: Space, base: Configs | None = None) -> Point:
    """Return the point of a configuration that was not searched for, to begin a search with.

    Where the space does not hold a default, it is the nearest value that it holds.
    """
    base = base or default_configs(family)
    return {name: dimension.nearest(_of(base, name)) for name, dimension in space.items()}


def check(space: Space, family: Family, base: Configs | None = None) -> None:
    """Raise UserError where a space does not fit a family.

    That is a name that is no field, a range where the field takes no numbers, and a value that its type does not
    take or the configuration refuses: of ranges both ends are tried, of choices each value, and the defaults together.
    """
    types = _fields(family)
    for name, dimension in space.items():
        kind = _type(name, types, family)
        if name == "epochs":
            raise UserError("epochs is the length of every trial, not a setting to search: give --epochs")
        ends = dimension.values if isinstance(dimension, Choice) else (dimension.low, dimension.high)
        if not isinstance(dimension, Choice):
            _check_range(name, dimension, kind)
        for value in ends:
            apply({name: value}, family, base)
    apply(defaults(family, space, base), family, base)


def varied(space: Space) -> list[str]:
    """Return the names of what a space does not fix to a single value."""
    return [name for name, dimension in space.items() if len(dimension.levels(2)) > 1]


def for_several_genres(space: Space) -> Space:
    """Return a space without what corrects for imbalance, which supposes one genre a track."""
    return {name: dimension for name, dimension in space.items() if name not in _OF_ONE_GENRE}


def draw(space: Space, generator: np.random.Generator) -> Point:
    """Return a random point: each value drawn by itself, evenly or, where its range is logarithmic, log-evenly."""
    return {name: dimension.at(float(generator.random())) for name, dimension in space.items()}


def grid(space: Space, n: int) -> list[Point]:
    """Return the points of the finest grid of at most `n`: all values of choices, as many of each range as that allows.

    Ranges have two values at least, and one has one more than another at most. Raises UserError where `n` is too few.
    """
    sizes = {name: len(dimension.levels(2)) for name, dimension in space.items()}
    smallest = math.prod(sizes.values())
    if smallest > n:
        raise UserError(
            f"a grid of this space has {smallest:,} points at least: give --trials {smallest} or more, "
            "or by --space fewer settings to vary"
        )
    wanted = dict.fromkeys(space, 2)
    for level in itertools.count(3):
        grew = False
        for name, dimension in space.items():
            size = len(dimension.levels(level))
            if size > sizes[name] and math.prod({**sizes, name: size}.values()) <= n:
                sizes[name], wanted[name], grew = size, level, True
        if not grew:
            break
    levels = [dimension.levels(wanted[name]) for name, dimension in space.items()]
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*levels)]


def read_space(uri: str, family: Family, base: Configs | None = None) -> Space:
    """Return the space in a YAML file, which is all of it: settings that it does not name are not searched.

    Raises UserError where it cannot be read, is not of the form in docs/models.md, or does not fit the family.
    """
    with storage.open_file(uri) as file:
        content = file.read()
    try:
        value = yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{uri} is not valid YAML: {' '.join(str(error).split())}") from error
    return space_from_json(value, family, uri, base)


def space_to_json(space: Space) -> dict[str, Any]:
    """Return a space as plain values, as a file of it has them."""
    return {name: dimension.to_json() for name, dimension in space.items()}


def space_from_json(value: Any, family: Family, where: str, base: Configs | None = None) -> Space:
    """Return the space that `space_to_json` gave, or that a file has; `where` names the file in the error.

    Raises UserError where it is of another form, or does not fit the family.
    """
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise UserError(f"{where} names no setting: give a line for each, such as `dropout: {{uniform: [0, 0.5]}}`")
    types = _fields(family)
    try:
        space = {name: _dimension(name, said, _type(name, types, family)) for name, said in value.items()}
        check(space, family, base)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    return space


def point_from_json(value: Mapping[str, Any]) -> Point:
    """Return a point from plain values, whose lists are tuples."""
    return {name: tuple(v) if isinstance(v, list) else v for name, v in value.items()}


def _fields(family: Family) -> dict[str, Any]:
    """Return the type of each field that a point may name; Any where it cannot be told."""
    found: dict[str, Any] = {}
    for owner in (TrainingConfig, family.config):
        try:
            types = typing.get_type_hints(owner)
        except Exception:  # annotations of others may be anything
            types = {}
        found |= {field.name: types.get(field.name, Any) for field in dataclasses.fields(owner)}
    return found


def _type(name: str, types: Mapping[str, Any], family: Family) -> Any:
    if name not in types:
        nearest = difflib.get_close_matches(name, types, n=_NEAREST, cutoff=0)
        raise UserError(f"{family.name} has no setting {name!r}: the nearest names are {', '.join(nearest)}")
    return types[name]


def _of(base: Configs, name: str) -> Any:
    return getattr(base.model if hasattr(base.model, name) else base.training, name)


def _dimension(name: str, said: Any, kind: Any) -> Dimension:
    """Return what a file says of one setting: a choice, a range, or one value."""
    read = functools.partial(_value, name, kind=kind, from_text=True)
    if not isinstance(said, dict):
        return Choice((read(said),))
    key, values = next(iter(said.items())) if len(said) == 1 else (None, None)
    if key not in ("choice", *_KINDS):
        raise UserError(f"{name} has neither a value nor one of choice, {', '.join(_KINDS)}")
    if not isinstance(values, list) or (key != "choice" and len(values) != 2):
        form = "a list of values" if key == "choice" else "a list of two numbers, [low, high]"
        raise UserError(f"{key} of {name} is {values!r}: give {form}")
    try:
        if key == "choice":
            return Choice(tuple(map(read, values)))
        of_whole, log = _KINDS[key][0] is Integer, _KINDS[key][1]
        if kind in (int, float):
            values = [_value(name, value, int if of_whole else float, from_text=True) for value in values]
        low, high = values
        return Integer(low, high, log) if of_whole else (LogUniform if log else Uniform)(low, high)
    except UserError as error:
        raise UserError(str(error) if str(error).startswith(name) else f"{name}: {error}") from error


def _check_range(name: str, dimension: Dimension, kind: Any) -> None:
    """Raise UserError where a field takes no numbers, or none with a fraction."""
    if kind in (float, Any) or (kind is int and isinstance(dimension, Integer)):
        return
    if kind is int:
        raise UserError(f"{name} takes whole numbers: give integer or log_integer for its range")
    raise UserError(f"{name} takes {_words(kind)}, which have no range: give a choice")


def _value(name: str, value: Any, kind: Any, from_text: bool = False) -> Any:
    """Return `value` as a field of a type takes it; raises UserError where it does not.

    With `from_text` texts may be numbers: YAML 1.1 takes 1e-4, without a point, for one.
    """
    if typing.get_origin(kind) is tuple and isinstance(value, list | tuple):
        (inner, *_) = typing.get_args(kind)
        return tuple(_value(name, item, inner, from_text) for item in value)
    if kind is float and isinstance(value, str) and from_text:
        try:
            return float(value)
        except ValueError:
            pass
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not _takes(kind, value):
        raise UserError(f"{name} takes {_words(kind)}, not {value!r}")
    return value


def _takes(kind: Any, value: Any) -> bool:
    if typing.get_origin(kind) is Literal:
        return value in typing.get_args(kind)
    if kind in (int, float, str, bool):
        return type(value) is kind
    return typing.get_origin(kind) is not tuple


def _words(kind: Any) -> str:
    names: dict[Any, str] = {int: "whole numbers", float: "numbers", str: "texts", bool: "true or false"}
    if typing.get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, typing.get_args(kind)))
    if typing.get_origin(kind) is tuple:
        return f"lists of {_words(typing.get_args(kind)[0])}"
    return names.get(kind, "other values")
