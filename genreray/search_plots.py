"""The curves of a search's report: its course, what each setting gave, and how each trial learnt."""

import math
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from genreray import selection, trials
from genreray.dimensions import Choice, Dimension, Integer, shown
from genreray.plots import ACCENT, GREY, INK, SOFT, STYLE, WARM, finite, legend, percent_axis, svg
from genreray.search_report import SearchReport
from genreray.trials import Trial, TrialStatus
from genreray.tuned import TunedModels

_WIDE = (9.0, 3.6)
_SMALL = (4.2, 2.9)
_FAR = 3.0  # quartile distances beyond the worse quartile from which on a value is drawn at the plot's edge
_MARGIN = 0.06
_ENOUGH = 4  # trials that were run out, from which on they alone make the axis: stopped ones are often far worse
_MOST_TICKS = 8  # values of a choice that have names below the axis
_FEW = 8  # whole numbers beyond the first, up to which equal ones stand side by side
_LINE = 7  # letters of a name below the axis


def words(metric: str) -> str:
    """Return the name of a metric as people read it."""
    return metric.removeprefix("validation_").replace("_", " ").replace("f1", "F1")


def is_share(metric: str) -> bool:
    """Return whether a metric is a share, which is shown in percent."""
    return selection.direction(metric) == "max"


def course(search: SearchReport) -> str:
    """Plot each trial's value in the order in which they began, and the best that was known by then."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=_WIDE, layout="constrained")
        axes = figure.subplots()
        numbers = {trial.trial_id: i for i, trial in enumerate(search.trials, start=1)}
        _points(axes, search, search.trials, lambda trial: numbers[trial.trial_id])
        best = [finite(value) for value in trials.best_so_far(search.trials, search.metric)]
        axes.step([*numbers.values()], best, where="post", color=ACCENT, label="best so far")
        default = search.value(search.default) if search.default else None
        if default is not None:
            axes.axhline(default, color=INK, linewidth=1.1, linestyle=(0, (4, 3)), label="default")
        axes.set(xlabel="trial", ylabel=words(search.metric))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        legend(axes, 7)
        return svg(figure, "course", f"{words(search.metric)} of each trial, and the best so far")


def setting(search: SearchReport, name: str) -> str:
    """Plot each trial's value against its value of one setting, on a logarithmic axis where the range is one."""
    dimension = search.space[name]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=_SMALL, layout="constrained")
        axes = figure.subplots()
        there = [trial for trial in search.trials if name in trial.config]
        place = _places(there, dimension, name)
        _points(axes, search, there, lambda trial: place[trial.trial_id])
        _setting_axis(axes, dimension)
        axes.set_ylabel(words(search.metric))
        number = list(search.space).index(name)  # not the name, which may be anything
        return svg(figure, f"setting-{number}", f"{words(search.metric)} of each trial against {name}")


def learning_curves(search: SearchReport) -> str:
    """Plot the metric of every trial by epoch: the winner and the default marked, those that were stopped faint."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=_WIDE, layout="constrained")
        axes = figure.subplots()
        limits = _limits(
            [float(e[search.metric]) for t in search.trials for e in t.epochs if search.metric in e], search
        )
        winner = search.winner
        for trial in search.trials:
            if trial is winner or trial is search.default:
                continue
            stopped = trial.status is not TrialStatus.FINISHED
            _curve(axes, search, trial, GREY, alpha=0.35 if stopped else 0.9, linewidth=0.9 if stopped else 1.2)
        if search.default and search.default is not winner:
            _curve(axes, search, search.default, INK, linestyle=(0, (4, 3)), linewidth=1.4, label="default")
        if winner:
            name = "the best, which is the default" if winner is search.default else "the best"
            _curve(axes, search, winner, ACCENT, linewidth=2.2, label=name)
        axes.plot([], [], color=GREY, linewidth=1.2, label="run out")
        axes.plot([], [], color=GREY, alpha=0.35, linewidth=0.9, label="stopped or failed")
        axes.set(xlabel="epoch", ylabel=words(search.metric), ylim=limits)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        _share_axis(axes, search)
        legend(axes, 7)
        return svg(figure, "learning", f"{words(search.metric)} of each trial by epoch")


def tuned_plot(tuned: TunedModels) -> str:
    """Plot each architecture's default and tuned score on validation, and beside it on test, the best at the top."""
    rows = [row for row in tuned.ranked if tuned.metric in row.best]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(_WIDE[0], 1.3 + 0.34 * len(rows)), layout="constrained")
        panels: Sequence[Axes] = figure.subplots(1, 2, sharey=True)
        for axes, split, metric in zip(panels, ("validation", "test"), (tuned.metric, tuned.test), strict=True):
            on_test = split == "test"
            before = [finite((row.default_test if on_test else row.default).get(metric)) for row in rows]
            after = [finite((row.best_test if on_test else row.best).get(metric)) for row in rows]
            axes.hlines(range(len(rows)), before, after, color=GREY, linewidth=1.2)
            axes.plot(before, range(len(rows)), "s", color=INK, fillstyle="none", markersize=8, label="default")
            axes.plot(after, range(len(rows)), "o", color=ACCENT, markersize=6, label="tuned")
            axes.set_xlabel(f"{words(metric)} on {split}")
        panels[0].set_yticks(range(len(rows)), [row.name for row in rows])
        panels[0].set_ylim(len(rows) - 0.5, -0.5)
        if is_share(tuned.metric):
            percent_axis(panels[0], "x")
        percent_axis(panels[1], "x")
        legend(panels[0])
        return svg(figure, "tuned", f"{words(tuned.metric)} of each architecture, its default beside the best trial")


def _curve(axes: Axes, search: SearchReport, trial: Trial, colour: str, **style: Any) -> None:
    epochs = [epoch for epoch in trial.epochs if search.metric in epoch]
    values = [finite(epoch[search.metric]) for epoch in epochs]
    marker = "o" if len(values) == 1 else None
    axes.plot([epoch["epoch"] for epoch in epochs], values, color=colour, marker=marker, markersize=3, **style)


def _points(axes: Axes, search: SearchReport, shown: Sequence[Trial], place: Callable[[Trial], float]) -> None:
    """Draw trials at (place, value), by what became of them; what is far off at the edge, what failed at the axis."""
    values = {trial.trial_id: value for trial in shown if (value := search.value(trial)) is not None}
    run_out = [values[t.trial_id] for t in shown if t.status is TrialStatus.FINISHED and t.trial_id in values]
    low, high = _limits(run_out if len(run_out) >= _ENOUGH else list(values.values()), search)
    axes.set_ylim(low, high)
    winner, default = search.winner, search.default
    kinds: list[tuple[str, list[Trial], dict[str, Any]]] = [
        ("stopped", [], {"marker": "o", "markerfacecolor": "none", "markeredgecolor": GREY, "markersize": 4.5}),
        ("run out", [], {"marker": "o", "color": GREY, "markersize": 4.5}),
        ("default", [], {"marker": "s", "markerfacecolor": "none", "markeredgecolor": INK, "markersize": 6.5}),
        ("the best", [], {"marker": "D", "color": WARM, "markersize": 6.5}),
    ]
    of = {name: members for name, members, _ in kinds}
    for trial in shown:
        if trial.trial_id in values:
            of["run out" if trial.status is TrialStatus.FINISHED else "stopped"].append(trial)
    of["default"] += [trial for trial in shown if trial is default]
    of["the best"] += [trial for trial in shown if trial is winner]
    for name, members, style in kinds:
        if members:
            heights = [min(max(values[trial.trial_id], low), high) for trial in members]
            axes.plot(
                [place(trial) for trial in members], heights, linestyle="none", clip_on=False, label=name, **style
            )
    failed = [place(trial) for trial in shown if trial.status is TrialStatus.FAILED]
    if failed:
        worst = high if selection.direction(search.metric) == "min" else low
        axes.plot(failed, [worst] * len(failed), "x", color=SOFT, markersize=5, clip_on=False, label="failed")
    _share_axis(axes, search)


def _limits(values: Sequence[float], search: SearchReport) -> tuple[float, float]:
    """Return the ends of the axis of values: a few far worse than the others do not make it, but the default does."""
    known = np.array([value for value in values if math.isfinite(value)])
    if not len(known):
        return 0.0, 1.0
    low, high = float(known.min()), float(known.max())
    lower, upper = np.quantile(known, [0.25, 0.75])
    far = _FAR * float(upper - lower)
    if far and selection.direction(search.metric) == "min":
        high = min(high, float(upper) + far)
    elif far:
        low = max(low, float(lower) - far)
    default = finite(search.value(search.default)) if search.default else math.nan
    low, high = np.nanmin([low, default]), np.nanmax([high, default])
    margin = _MARGIN * (high - low) or 0.01
    return low - margin, high + margin


def _share_axis(axes: Axes, search: SearchReport) -> None:
    if is_share(search.metric):
        percent_axis(axes, "y")


def _places(shown: Sequence[Trial], dimension: Dimension, name: str) -> dict[str, float]:
    """Return where each trial is on the axis of a setting, side by side where there are few values."""
    if isinstance(dimension, Choice):
        at = {trial.trial_id: dimension.values.index(dimension.nearest(trial.config[name])) for trial in shown}
    elif isinstance(dimension, Integer) and not dimension.is_log and dimension.high - dimension.low <= _FEW:
        at = {trial.trial_id: trial.config[name] for trial in shown}
    else:
        return {trial.trial_id: float(trial.config[name]) for trial in shown}
    found: dict[str, float] = {}
    for number in set(at.values()):
        same = [trial for trial in shown if at[trial.trial_id] == number]
        width = min(0.5, 0.05 * len(same))
        offsets = np.linspace(-width / 2, width / 2, len(same)) if len(same) > 1 else [0.0]
        found |= {trial.trial_id: number + float(offset) for trial, offset in zip(same, offsets, strict=True)}
    return found


def _setting_axis(axes: Axes, dimension: Dimension) -> None:
    if isinstance(dimension, Choice):
        names = [textwrap.fill(shown(value), _LINE, break_long_words=False) for value in dimension.values]
        numbers = range(0, len(names), math.ceil(len(names) / _MOST_TICKS))
        axes.set_xticks(list(numbers), [names[i] for i in numbers])
        axes.set_xlim(-0.6, len(names) - 0.4)
        axes.grid(False, axis="x")
        return
    if dimension.is_log:
        axes.set_xscale("log")
        decades = math.log10(dimension.high / dimension.low)
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if decades >= 2 else (1.0, 2.0, 5.0)))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        spread = (dimension.high / dimension.low) ** 0.04
        axes.set_xlim(dimension.low / spread, dimension.high * spread)
        return
    whole = isinstance(dimension, Integer)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=whole))
    spread = max(0.04 * (dimension.high - dimension.low), 0.3 if whole else 0.0)
    axes.set_xlim(dimension.low - spread, dimension.high + spread)
