"""What a benchmark found: lines of a table, the claims that they bear out or do not, and where it was run."""

import dataclasses
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RATIO = "x"  # the unit of how many times as fast


@dataclasses.dataclass(frozen=True)
class Line:
    """One quantity, measured once a round."""

    name: str
    values: list[float]  # none where it was not run, which the note explains
    unit: str
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Claim:
    """A quantity, mostly a ratio of two lines, and the value it is wanted to reach or to stay under."""

    name: str
    wanted: float
    values: list[float]  # one a round
    unit: str = RATIO
    at_least: bool = True

    @property
    def is_met(self) -> bool:
        """Say whether the median is as wanted."""
        return bool(self.values) and self._holds(statistics.median(self.values))

    @property
    def rounds_met(self) -> int:
        """Count the rounds that are as wanted."""
        return sum(map(self._holds, self.values))

    def _holds(self, value: float) -> bool:
        return value >= self.wanted if self.at_least else value <= self.wanted


@dataclasses.dataclass(frozen=True)
class Section:
    """One benchmark's part of the page."""

    name: str  # of the script
    title: str
    method: str  # what was measured and how, in Markdown
    lines: list[Line]
    claims: list[Claim]
    command: str = ""
    date: str = ""  # ISO
    machine: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def was_run(self) -> bool:
        """Say whether anything was measured."""
        return any(line.values for line in self.lines)

    def to_json(self) -> dict[str, Any]:
        """Return the section as plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Section":
        """Return the section that `to_json` gave."""
        lines = [Line(**line) for line in value["lines"]]
        claims = [Claim(**claim) for claim in value["claims"]]
        return cls(**{**value, "lines": lines, "claims": claims})


def write(path: Path, sections: Sequence[Section]) -> None:
    """Write the sections as JSON."""
    path.write_text(json.dumps([section.to_json() for section in sections], indent=1, ensure_ascii=False) + "\n")


def read(path: Path) -> list[Section]:
    """Return the sections that `write` wrote; none where there is no file."""
    if not path.exists():
        return []
    return [Section.from_json(value) for value in json.loads(path.read_text())]
