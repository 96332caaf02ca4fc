"""A search of one architecture as a whole: what was asked for, its trials, and what they come to."""

import dataclasses
import functools
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from genreray import selection, trials
from genreray.dimensions import Space
from genreray.space import space_to_json
from genreray.trials import Trial, TrialStatus


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchReport:
    """Trials in the order in which they began, and what they have in common."""

    model: str
    features: str  # their URI
    split_method: str
    metric: str  # by which the winner was chosen, on validation
    space: Space
    trials: Sequence[Trial]
    epochs: int  # of a trial that runs out
    labels: str = "genre"
    algorithm: str = ""  # how points were chosen and trials stopped, in words
    default_id: str | None = None  # the trial of the configuration that was not searched for, if there is one
    created: str = ""  # a date to print
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def winner(self) -> Trial | None:
        """The best trial; None where none may win."""
        return trials.best(self.trials, self.metric)

    @functools.cached_property
    def default(self) -> Trial | None:
        """The trial of the default configuration, if there is one and it was scored."""
        return next((trial for trial in self.scored if trial.trial_id == self.default_id), None)

    @functools.cached_property
    def scored(self) -> list[Trial]:
        """The trials that may win, best first, equals in their order."""
        sign = 1 if selection.direction(self.metric) == "min" else -1
        found = [(value, trial) for trial in self.trials if (value := self.value(trial)) is not None]
        return [trial for _, trial in sorted(found, key=lambda pair: sign * pair[0])]

    @property
    def median(self) -> float | None:
        """The median of the trials that may win."""
        values = [value for trial in self.trials if (value := self.value(trial)) is not None]
        return statistics.median(values) if values else None

    @property
    def counts(self) -> dict[str, int]:
        """How many trials there are of each status that occurs."""
        found = {status.value: sum(trial.status is status for trial in self.trials) for status in TrialStatus}
        return {status: n for status, n in found.items() if n}

    @property
    def n_epochs(self) -> int:
        """The epochs that all trials trained together."""
        return sum(len(trial.epochs) for trial in self.trials)

    @property
    def saved(self) -> float | None:
        """The share of the epochs that stopping saved, of those that the trials which may win would have had."""
        full = self.epochs * len(self.scored)
        return 1 - sum(len(trial.epochs) for trial in self.scored) / full if full else None

    @property
    def seconds(self) -> float:
        """The time of all trials, added up: several at once take less."""
        return sum(trial.seconds for trial in self.trials)

    def value(self, trial: Trial) -> float | None:
        """Return what a trial is judged by; None where it cannot win."""
        return trial.value(self.metric) if trial.is_eligible else None

    def metadata(self) -> dict[str, Any]:
        """Return what the metadata of trials.parquet says of it."""
        return {
            "model": self.model,
            "features": self.features,
            "split_method": self.split_method,
            "labels": self.labels,
            "metric": self.metric,
            "algorithm": self.algorithm,
            "epochs": self.epochs,
            "default": self.default_id,
            "space": space_to_json(self.space),
        }
