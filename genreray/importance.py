"""Which settings of a search mattered: the share of the differences between its trials that each explains."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from genreray.dimensions import Choice, Dimension, Space
from genreray.selection import direction
from genreray.space import varied
from genreray.trials import Trial

FEWEST = 10  # trials, below which nothing is told


def importance(trials: Sequence[Trial], space: Space, metric: str) -> dict[str, float]:
    """Return the importance of each setting that was varied, the sum of all 1, the most important first.

    That is Optuna's fANOVA (Hutter et al. 2014): the share of the variance that a setting explains by itself in a
    random forest over the space. Not PED-ANOVA, which looks at the best tenth of the trials: two of twenty. The forest
    is of the trials' ranks, so that one trial that was far off is not most of the variance, and sees logarithmic ranges
    by their logarithm, as Optuna's own would weigh a range of 1e-4 to 1e-1 almost by its last decade alone.

    Empty where nothing was varied, or fewer than FEWEST trials may win, or all of these are equal.
    """
    names = varied(space)
    scored = [
        (trial, value)
        for trial in trials
        if trial.is_eligible and (value := trial.value(metric)) is not None and set(names) <= set(trial.config)
    ]
    values = np.array([value for _, value in scored])
    if not names or len(scored) < FEWEST or len(np.unique(values)) == 1:
        return {}
    import optuna  # here, as it takes half a second

    places = np.unique(values if direction(metric) == "min" else -values, return_inverse=True)[1]
    distributions: Mapping[str, Any] = {
        name: optuna.distributions.CategoricalDistribution(dimension.labels)
        if isinstance(dimension, Choice)
        else optuna.distributions.FloatDistribution(0.0, 1.0)
        for name, dimension in space.items()
        if name in names
    }
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study()
        for (trial, _), place in zip(scored, places.tolist(), strict=True):
            params = {name: _coordinate(space[name], trial.config[name]) for name in names}
            study.add_trial(optuna.create_trial(params=params, distributions=dict(distributions), value=float(place)))
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
    finally:
        optuna.logging.set_verbosity(verbosity)


def _coordinate(dimension: Dimension, value: Any) -> Any:
    """Return a value's label where it was chosen, else where it lies in its range, 0 to 1."""
    nearest = dimension.nearest(value)
    if isinstance(dimension, Choice):
        return dimension.labels[dimension.values.index(nearest)]
    return min(max(dimension.share(nearest), 0.0), 1.0)
