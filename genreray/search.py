"""The next point of a search: Optuna's TPE, random, or a grid, from what is known of the points tried before."""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from genreray import space as spaces
from genreray.dimensions import Choice, Dimension, Integer, LogUniform, Point, Space
from genreray.search_plan import Method
from genreray.selection import direction
from genreray.trials import Trial, TrialStatus

_STARTUP = 10  # random points before TPE has something to go by, where there are that many trials
_STARTUP_SHARE = 0.3  # of the trials, where there are fewer
_DRAWS = 50  # of a point that was not tried yet: in a small space there may be none
_PROPOSALS = 3  # of which by TPE, which may hold to the best of a few points


def propose(
    space: Space, method: Method, known: Sequence[Trial], metric: str, *, n_trials: int, seed: int
) -> Point | None:
    """Return the point of the next trial, or None where a grid has no other.

    `known` are the trials so far, those that still run with the status interrupted. What is proposed follows from
    these and the seed alone, so that a search which was interrupted goes on as it would have gone.
    """
    tried = {_key(space, trial.config) for trial in known}
    if method == "grid":
        points = grid(space, known[0].config if known else {}, n_trials)
        return next((point for point in points if _key(space, point) not in tried), None)
    for draw in range(_DRAWS):
        mixed = zlib.crc32(f"{seed} {len(known)} {draw}".encode())
        if method == "tpe" and draw < _PROPOSALS:
            point = _tpe(space, known, metric, n_trials, mixed)
        else:
            point = spaces.draw(space, np.random.default_rng(mixed))
        if _key(space, point) not in tried:
            break
    return point


def grid(space: Space, first: Point, n_trials: int) -> list[Point]:
    """Return the points of a grid that, with the point `first`, takes at most `n_trials`; without that.

    Raises UserError where those are too few.
    """
    points = spaces.grid(space, n_trials)
    if len(points) == n_trials and _key(space, first) not in {_key(space, point) for point in points}:
        points = spaces.grid(space, n_trials - 1)
    return [point for point in points if _key(space, point) != _key(space, first)]


def _tpe(space: Space, known: Sequence[Trial], metric: str, n_trials: int, seed: int) -> Point:
    """Return what Optuna's tree-structured Parzen estimator (Bergstra et al. 2011) proposes."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # each study is told of on stderr otherwise
    n_startup = min(_STARTUP, max(1, round(_STARTUP_SHARE * n_trials)))
    study = optuna.create_study(
        direction="minimize" if direction(metric) == "min" else "maximize",
        sampler=optuna.samplers.TPESampler(n_startup_trials=n_startup, multivariate=True, seed=seed),
    )
    distributions = {name: _distribution(dimension) for name, dimension in space.items()}
    for trial in known:
        if (told := _told(space, trial, metric, distributions)) is not None:
            study.add_trial(told)
    asked = study.ask(distributions).params
    return {name: _from_optuna(dimension, asked[name]) for name, dimension in space.items()}


def _told(space: Space, trial: Trial, metric: str, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial | None:
    """Return a trial as Optuna knows it, None where it failed: what may lie at the machine is no lesson."""
    params = {name: _to_optuna(dimension, trial.config.get(name)) for name, dimension in space.items()}
    value = trial.value(metric)
    if trial.status == TrialStatus.INTERRUPTED:
        return create_trial(state=TrialState.RUNNING, params=params, distributions=distributions)
    if trial.status == TrialStatus.FAILED or value is None:
        return None
    if trial.status == TrialStatus.STOPPED:
        course = {int(epoch["epoch"]): float(epoch[metric]) for epoch in trial.epochs}
        return create_trial(
            state=TrialState.PRUNED, params=params, distributions=distributions, intermediate_values=course
        )
    return create_trial(state=TrialState.COMPLETE, value=value, params=params, distributions=distributions)


def _distribution(dimension: Dimension) -> BaseDistribution:
    if isinstance(dimension, Choice):
        return CategoricalDistribution(dimension.labels)
    if isinstance(dimension, Integer):
        return IntDistribution(dimension.low, dimension.high, log=dimension.log)
    return FloatDistribution(dimension.low, dimension.high, log=isinstance(dimension, LogUniform))


def _to_optuna(dimension: Dimension, value: Any) -> Any:
    """Return what stands for a value in the study; of one that the space does not hold, the nearest."""
    nearest = dimension.nearest(value)
    return Choice((nearest,)).labels[0] if isinstance(dimension, Choice) else nearest


def _from_optuna(dimension: Dimension, value: Any) -> Any:
    return dimension.values[dimension.labels.index(value)] if isinstance(dimension, Choice) else value


def _key(space: Space, point: Point) -> tuple[Any, ...]:
    """Return what is the same for equal points, those that the space does not hold taken for the nearest."""
    return tuple(_to_optuna(dimension, point.get(name)) for name, dimension in space.items())
