"""Searches side by side: a row an architecture, its best configuration beside the one that it has by default."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from genreray.search_report import SearchReport
from genreray.selection import METRICS, direction
from genreray.trials import Trial, TrialStatus

# Of a test score, what a row shows: the first that there is.
TEST = ("accuracy", "mean_average_precision")


@dataclasses.dataclass(frozen=True)
class Tuned:
    """What a search of one architecture came to; scores by name, none where there are none."""

    name: str
    trials: int
    failed: int
    epochs: int  # that all trials trained
    seconds: float  # of the search, from its beginning to its end
    default: Mapping[str, float]  # of the untuned default, on validation
    best: Mapping[str, float]  # of the winner, on validation
    default_test: Mapping[str, float]
    best_test: Mapping[str, float]
    error: str | None = None  # why there is no winner

    @classmethod
    def of(cls, search: SearchReport, seconds: float) -> "Tuned":
        """Return the row of a search that has ended."""
        errors = [trial.error for trial in search.trials if trial.error]
        return cls(
            name=search.model,
            trials=len(search.trials),
            failed=search.counts.get(TrialStatus.FAILED.value, 0),
            epochs=search.n_epochs,
            seconds=seconds,
            default=_scores(search.default),
            best=_scores(search.winner),
            default_test=dict(search.default.test) if search.default else {},
            best_test=dict(search.winner.test) if search.winner else {},
            error=None if search.winner else (errors[-1] if errors else "no trial was scored"),
        )

    @classmethod
    def failed_at_once(cls, name: str, error: str) -> "Tuned":
        """Return the row of an architecture that could not be searched."""
        return cls(name, 0, 0, 0, 0.0, {}, {}, {}, {}, error)


@dataclasses.dataclass(frozen=True)
class TunedModels:
    """All architectures that were searched on the same features by the same metric."""

    features: str  # their URI
    split_method: str
    metric: str
    rows: Sequence[Tuned]
    wanted: Sequence[str]  # every architecture that was asked for, in order

    @property
    def missing(self) -> list[str]:
        """Architectures that are still to come."""
        there = {row.name for row in self.rows}
        return [name for name in self.wanted if name not in there]

    @property
    def ranked(self) -> list[Tuned]:
        """The rows, best on validation first, those without a winner last."""
        sign = 1 if direction(self.metric) == "min" else -1
        scored = sorted((row for row in self.rows if self.metric in row.best), key=lambda r: sign * r.best[self.metric])
        return [*scored, *(row for row in self.rows if self.metric not in row.best)]

    @property
    def test(self) -> str:
        """The test score that is shown."""
        return next((name for name in TEST if any(name in row.best_test for row in self.rows)), TEST[0])

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {**dataclasses.asdict(self), "rows": [dataclasses.asdict(row) for row in self.rows]}


def _scores(trial: Trial | None) -> dict[str, float]:
    if trial is None:
        return {}
    return {name: value for name in METRICS if (value := trial.value(name)) is not None}
