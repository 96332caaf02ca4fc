"""What a search may vary a setting over: values to choose from, or a range of numbers, plain or logarithmic."""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

from genreray.errors import UserError


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of some values, in no order; of a single one, the setting is fixed."""

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise UserError("there is nothing to choose from: give one value or more")
        if len(set(self.labels)) < len(self.values):
            raise UserError(f"the choice {', '.join(self.labels)} has a value twice: give each once")

    def __str__(self) -> str:
        """Return it in words: 8 16, 16 32 are two lists."""
        return ", ".join(map(shown, self.values))

    @property
    def labels(self) -> tuple[str, ...]:
        """Each value as JSON, for whatever takes no tuples."""
        return tuple(json.dumps(value) for value in self.values)

    def holds(self, value: Any) -> bool:
        """Return whether `value` is one of them."""
        return json.dumps(value) in self.labels

    def nearest(self, value: Any) -> Any:
        """Return `value` where it is one of them, of numbers the nearest, else the first."""
        if self.holds(value):
            return value
        if all(map(_is_number, (value, *self.values))):
            return min(self.values, key=lambda other: abs(other - value))
        return self.values[0]

    def at(self, share: float) -> Any:
        """Return the value at a share, 0 to 1, of the way from the first to the last, each of the same width."""
        return self.values[min(int(share * len(self.values)), len(self.values) - 1)]

    def levels(self, n: int) -> tuple[Any, ...]:
        """Return all values, however many are asked for: they cannot stand for one another."""
        return self.values

    def to_json(self) -> dict[str, Any]:
        """Return what a file of a space says for it."""
        return {"choice": json.loads(f"[{', '.join(self.labels)}]")}


@dataclasses.dataclass(frozen=True)
class _Range:
    """Numbers from `low` to `high`, both included."""

    low: float
    high: float

    def __post_init__(self) -> None:
        ends = (self.low, self.high)
        if not all(_is_number(end) and math.isfinite(end) for end in ends):
            raise UserError(f"the range {self.low} to {self.high} has an end that is no number: give two numbers")
        if not self.low < self.high:
            raise UserError(f"the range {self.low} to {self.high} is empty: give the lower number first")
        if self.is_log and self.low <= 0:
            raise UserError(f"a logarithmic range cannot begin at {self.low}: give a number above 0")

    def __str__(self) -> str:
        """Return it in words."""
        return f"{self.low:g} to {self.high:g}{' (log)' if self.is_log else ''}"

    @property
    def is_log(self) -> bool:
        """Whether it is the logarithm that is spread evenly."""
        return False

    def holds(self, value: Any) -> bool:
        """Return whether `value` is a number in the range."""
        return _is_number(value) and self.low <= value <= self.high

    def nearest(self, value: Any) -> Any:
        """Return the number of the range that is nearest to `value`; of what is no number, the middle."""
        return min(max(value, self.low), self.high) if _is_number(value) else self.at(0.5)

    def at(self, share: float) -> Any:
        """Return the number at a share, 0 to 1, of the way from low to high; evenly drawn shares sample the range."""
        return _between(self.low, self.high, share, self.is_log)

    def share(self, value: float) -> float:
        """Return at which share of the way from low to high a number of the range is."""
        low, high, value = (math.log(x) if self.is_log else x for x in (self.low, self.high, value))
        return (value - low) / (high - low)

    def levels(self, n: int) -> tuple[Any, ...]:
        """Return at most `n` numbers, evenly spread and with both ends; of one, the middle."""
        if n == 1:
            return (self.at(0.5),)
        return tuple(dict.fromkeys(self.at(i / (n - 1)) for i in range(n)))

    def to_json(self) -> dict[str, Any]:
        """Return what a file of a space says for it."""
        return {KEYS[type(self), self.is_log]: [self.low, self.high]}


@dataclasses.dataclass(frozen=True)
class Uniform(_Range):
    """Any number from `low` to `high`."""


@dataclasses.dataclass(frozen=True)
class LogUniform(_Range):
    """Any number from `low` to `high`, whose logarithm is spread evenly."""

    @property
    def is_log(self) -> bool:
        """Whether it is the logarithm that is spread evenly."""
        return True


@dataclasses.dataclass(frozen=True)
class Integer(_Range):
    """Any whole number from `low` to `high`."""

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(not isinstance(end, int) for end in (self.low, self.high)):
            raise UserError(f"the range {self.low} to {self.high} is of whole numbers: give two of them")

    @property
    def is_log(self) -> bool:
        """Whether it is the logarithm that is spread evenly."""
        return self.log

    def holds(self, value: Any) -> bool:
        """Return whether `value` is a whole number in the range."""
        return isinstance(value, int) and super().holds(value)

    def nearest(self, value: Any) -> int:
        """Return the whole number of the range that is nearest to `value`; of what is no number, the middle."""
        nearest: float = super().nearest(value)
        return round(nearest)

    def at(self, share: float) -> int:
        """Return the whole number at a share, 0 to 1, of the way: each stands for half a number on both sides."""
        found = _between(self.low - 0.5, self.high + 0.5, share, self.log)
        return min(max(round(found), self.low), self.high)


Dimension = Choice | Uniform | LogUniform | Integer
Space = Mapping[str, Dimension]  # by the name of a field of the model's configuration, or of the recipe
Point = Mapping[str, Any]  # a value of each

# As files of a space name the ranges.
KEYS: Mapping[tuple[type, bool], str] = {
    (Uniform, False): "uniform",
    (LogUniform, True): "log_uniform",
    (Integer, False): "integer",
    (Integer, True): "log_integer",
}


def shown(value: Any) -> str:
    """Return a value of a setting as people read it and flags take it: lists with spaces, numbers to four digits."""
    if isinstance(value, tuple | list):
        return " ".join(map(shown, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _between(low: float, high: float, share: float, log: bool) -> float:
    if log:
        return float(low ** (1 - share) * high**share)
    return float(low * (1 - share) + high * share)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
