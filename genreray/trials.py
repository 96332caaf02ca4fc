"""TRIALS: what a search has tried, a row a trial, and what the rows say: the best, the course, what mattered."""

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import pyarrow as pa

from genreray import tables
from genreray.dimensions import Point
from genreray.resume import History
from genreray.selection import METRICS, SCORE, direction
from genreray.space import point_from_json

FILE_NAME = "trials.parquet"


class TrialStatus(StrEnum):
    """How a trial ended."""

    FINISHED = "finished"  # trained to its last epoch, or to where its own patience ended
    STOPPED = "stopped"  # by the scheduler, which gave its time to better ones
    FAILED = "failed"
    INTERRUPTED = "interrupted"  # with the whole search: the same command goes on with it


_OF_EPOCHS = ("training_loss", "training_accuracy", *METRICS)
_OF_BEST = (*_OF_EPOCHS, "temperature", "calibration_error_before", "calibration_error_after")
_OF_TEST = ("accuracy", "macro_f1", "log_loss", "mean_average_precision")

_CURVE = pa.list_(
    pa.struct([("epoch", pa.int32()), *((name, pa.float64()) for name in _OF_EPOCHS), ("seconds", pa.float64())])
)
TRIALS = pa.schema(
    [
        pa.field("trial_id", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("config", pa.string(), nullable=False),  # the point, as JSON
        pa.field("status", pa.string(), nullable=False),
        pa.field("error", pa.string()),
        pa.field("epochs", pa.int32(), nullable=False),
        pa.field("best_epoch", pa.int32()),
        *(pa.field(name, pa.float64()) for name in _OF_BEST),
        *(pa.field(f"test_{name}", pa.float64()) for name in _OF_TEST),
        pa.field("seconds", pa.float64(), nullable=False),
        pa.field("curve", _CURVE, nullable=False),
    ]
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """One configuration that was tried, and how far it came."""

    trial_id: str
    model: str
    config: Point
    status: TrialStatus
    history: History = dataclasses.field(default_factory=list)  # as train's
    seconds: float = 0.0  # all of them, those before an interruption included
    error: str | None = None
    test: Mapping[str, float] = dataclasses.field(default_factory=dict)  # of the winner: accuracy, macro_f1, ...

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """The epochs that were scored: all, but for one in which the loss left the finite numbers."""
        return [epoch for epoch in self.history if not epoch.get("diverged")]

    @functools.cached_property
    def kept(self) -> dict[str, Any] | None:
        """The epoch whose weights are kept, the first of the lowest selection.SCORE; None where none was scored."""
        return min(self.epochs, key=lambda epoch: float(epoch[SCORE]), default=None)

    @property
    def is_eligible(self) -> bool:
        """Whether it may be the winner: stopped ones may, while what failed or is to go on may not."""
        return self.status in (TrialStatus.FINISHED, TrialStatus.STOPPED) and self.kept is not None

    def value(self, metric: str) -> float | None:
        """Return the metric of the epoch that is kept; None where there is none."""
        found = (self.kept or {}).get(metric)
        return None if found is None else float(found)


def best(trials: Sequence[Trial], metric: str) -> Trial | None:
    """Return the best trial by a metric, the first of equals; None where no trial may win."""
    found = [(value, trial) for trial in trials if trial.is_eligible and (value := trial.value(metric)) is not None]
    sign = 1 if direction(metric) == "min" else -1
    return min(found, key=lambda pair: sign * pair[0])[1] if found else None


def best_so_far(trials: Sequence[Trial], metric: str) -> list[float | None]:
    """Return the best value that was known after each trial, in their order; None before there is one."""
    better = min if direction(metric) == "min" else max
    known: list[float | None] = []
    for trial in trials:
        there = [known[-1]] if known else []
        there.append(trial.value(metric) if trial.is_eligible else None)
        known.append(better((value for value in there if value is not None), default=None))
    return known


def to_table(trials: Sequence[Trial], metadata: Mapping[str, Any]) -> pa.Table:
    """Return the rows of TRIALS, with `metadata` (see docs/tables.md) in the schema's."""
    schema = tables.with_metadata(TRIALS, {**metadata, "table": "trials"})
    return pa.Table.from_pylist([_row(trial) for trial in trials], schema=schema)


def from_table(table: pa.Table) -> list[Trial]:
    """Return the trials of a table that `to_table` gave; of their histories, what the learning curves hold."""
    return [_trial(row) for row in table.to_pylist()]


def _row(trial: Trial) -> dict[str, Any]:
    kept = trial.kept or {}
    names = [field.name for field in _CURVE.value_type]
    return {
        "trial_id": trial.trial_id,
        "model": trial.model,
        "config": json.dumps(trial.config),
        "status": trial.status.value,
        "error": trial.error,
        "epochs": len(trial.epochs),
        "best_epoch": kept.get("epoch"),
        **{name: kept.get(name) for name in _OF_BEST},
        **{f"test_{name}": trial.test.get(name) for name in _OF_TEST},
        "seconds": trial.seconds,
        "curve": [{name: epoch.get(name) for name in names} for epoch in trial.epochs],
    }


def _trial(row: Mapping[str, Any]) -> Trial:
    history = [{name: value for name, value in epoch.items() if value is not None} for epoch in row["curve"]]
    for epoch in history:
        if epoch["epoch"] == row["best_epoch"]:
            epoch |= {name: row[name] for name in _OF_BEST if row[name] is not None}
    test = {name: row[f"test_{name}"] for name in _OF_TEST}
    return Trial(
        trial_id=row["trial_id"],
        model=row["model"],
        config=point_from_json(json.loads(row["config"])),
        status=TrialStatus(row["status"]),
        history=history,
        seconds=row["seconds"],
        error=row["error"],
        test={name: value for name, value in test.items() if value is not None},
    )
