"""Systems side by side: one row each, from the scores of its seeds on the same tracks."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from genreray import metrics
from genreray.metrics import Scores

_RESAMPLES = 2000


@dataclasses.dataclass(frozen=True)
class Reported:
    """A number of the report, on FMA-medium with a random split: not to be compared with another data set's."""

    accuracy: float
    note: str = ""


# "Music Genre Classification with CNN Evaluation on Mel Spectrograms and MFCCs"; docs/models.md explains the odd ones.
REPORTED: Mapping[str, Reported] = {
    "random": Reported(0.06),
    "prior": Reported(0.17),
    "mlp": Reported(0.54),
    "mfcc_stats_cnn": Reported(0.50),
    "mel_cnn_shallow": Reported(0.48),
    "mel_cnn": Reported(0.56, "0.60 in its abstract"),
    "mfcc_cnn": Reported(0.831, "on validation; 0.54 in its abstract"),
    "stacked_cnn": Reported(0.28, "the share of the largest genre"),
}


@dataclasses.dataclass(frozen=True)
class Trial:
    """One seed of a system, scored."""

    probabilities: npt.NDArray[np.float64]  # [n, n_genres], the tracks in the same order for every trial
    labels: npt.NDArray[np.int64]  # [n]
    validation_accuracy: float
    seconds: float  # of training


@dataclasses.dataclass(frozen=True)
class System:
    """One row: means over the seeds; the interval is over tracks, the deviation over seeds."""

    name: str
    input: str
    parameters: int
    seeds: int
    accuracy: float
    accuracy_interval: tuple[float, float]  # 95 %, the tracks resampled and each one's mean over the seeds kept
    accuracy_deviation: float | None  # standard deviation over the seeds; None for a single one
    macro_f1: float
    log_loss: float
    top3_accuracy: float | None
    calibration_error: float
    validation_accuracy: float
    seconds: float  # of training, one seed

    @property
    def reported(self) -> Reported | None:
        """What the report has for the system of this name."""
        return REPORTED.get(self.name)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        reported = dataclasses.asdict(self.reported) if self.reported else None
        return {**dataclasses.asdict(self), "reported": reported}


@dataclasses.dataclass(frozen=True)
class Failure:
    """A system that could not be trained or scored, and why."""

    name: str
    error: str


@dataclasses.dataclass(frozen=True)
class Comparison:
    """All systems that were trained on the same features and scored on the same tracks."""

    features: str  # their URI
    split: str
    split_method: str
    genres: list[str]
    n: int  # tracks scored
    majority_genre: str
    majority_share: float
    systems: list[System]
    failures: list[Failure]
    wanted: list[str]  # every system that was asked for, in order

    @property
    def missing(self) -> list[str]:
        """Systems that are still to come."""
        there = {system.name for system in self.systems} | {failure.name for failure in self.failures}
        return [name for name in self.wanted if name not in there]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        systems = [system.to_json() for system in self.systems]
        return {**dataclasses.asdict(self), "systems": systems}


def of_trials(name: str, input: str, parameters: int, trials: Sequence[Trial], genres: Sequence[str]) -> System:
    """Return the row of a system from its trials, of which there is at least one.

    Raises ValueError where the trials are not of the same tracks.
    """
    if any(not np.array_equal(trial.labels, trials[0].labels) for trial in trials):
        raise ValueError(f"the trials of {name} were scored on different tracks")
    scores = [metrics.evaluate(trial.probabilities, trial.labels, genres, resamples=1) for trial in trials]
    right = np.mean([trial.probabilities.argmax(1) == trial.labels for trial in trials], axis=0)
    top3 = [score.top3_accuracy for score in scores if score.top3_accuracy is not None]
    accuracies = [score.accuracy for score in scores]
    return System(
        name=name,
        input=input,
        parameters=parameters,
        seeds=len(trials),
        accuracy=statistics.mean(accuracies),
        accuracy_interval=_interval(right),
        accuracy_deviation=statistics.stdev(accuracies) if len(trials) > 1 else None,
        macro_f1=_mean(scores, "macro_f1"),
        log_loss=_mean(scores, "log_loss"),
        top3_accuracy=statistics.mean(top3) if top3 else None,
        calibration_error=_mean(scores, "calibration_error"),
        validation_accuracy=statistics.mean(trial.validation_accuracy for trial in trials),
        seconds=statistics.mean(trial.seconds for trial in trials),
    )


def ensemble(system: System, trials: Sequence[Trial], genres: Sequence[str]) -> System:
    """Return the row of one system's seeds together: their probabilities averaged, their training times added."""
    together = Trial(
        np.mean([trial.probabilities for trial in trials], axis=0),
        trials[0].labels,
        system.validation_accuracy,
        sum(trial.seconds for trial in trials),
    )
    name = f"{system.name}, {len(trials)} seeds averaged"
    return of_trials(name, system.input, system.parameters * len(trials), [together], genres)


def _mean(scores: Sequence[Scores], name: str) -> float:
    return statistics.mean(float(getattr(score, name)) for score in scores)


def _interval(right: npt.NDArray[np.floating[Any]]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean of `right`, [n]: tracks are drawn, seeds are not."""
    values, counts = np.unique(right, return_counts=True)
    # n of n tracks drawn with replacement are a draw of the counts of equal values.
    drawn = np.random.default_rng(0).multinomial(len(right), counts / len(right), size=_RESAMPLES)
    low, high = np.quantile(drawn @ values / len(right), [0.025, 0.975])
    return float(low), float(high)
