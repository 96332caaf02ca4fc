"""The report of a search as people read it: report.html, which needs no other file."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from genreray import pages, report, search_plots, storage
from genreray.dimensions import shown
from genreray.importance import FEWEST, importance
from genreray.search_report import SearchReport
from genreray.selection import METRICS
from genreray.space import Configs, varied
from genreray.trials import Trial, TrialStatus

HTML_NAME = "report.html"
_OF_TEST = {"accuracy": "accuracy", "mean_average_precision": "mean average precision", "macro_f1": "macro F1"}


def write(folder_uri: str, search: SearchReport, winner: Configs | None) -> None:
    """Write report.html into the folder; raises UserError where it cannot be written."""
    storage.write_text(storage.join(folder_uri, HTML_NAME), html(search, winner))


def html(search: SearchReport, winner: Configs | None = None) -> str:
    """Return the page; `winner` holds all settings of the best trial, searched or not."""
    told = importance(search.trials, search.space, search.metric)
    names = [*told, *(name for name in varied(search.space) if name not in told)]
    return pages.render(
        "search.html",
        s=search,
        metric=search_plots.words(search.metric),
        better="lower" if METRICS[search.metric] == "min" else "higher",
        value=lambda value: _number(search.metric, value),
        importance=[(name, share, share / max(told.values())) for name, share in told.items()],
        fewest=FEWEST,
        course=Markup(search_plots.course(search)) if search.trials else "",
        settings_plots=[(name, Markup(search_plots.setting(search, name))) for name in names if search.scored],
        learning=Markup(search_plots.learning_curves(search)) if any(t.epochs for t in search.trials) else "",
        beside=_beside(search),
        columns=[name for name in METRICS if name != search.metric and _has(search.trials, name)],
        words=search_plots.words,
        number=_number,
        rows=[*search.scored, *(trial for trial in search.trials if search.value(trial) is None)],
        varied=varied(search.space),
        shown=shown,
        test=_test(search),
        failures=[trial for trial in search.trials if trial.status is TrialStatus.FAILED],
        c=search,
        settings=_settings(search, winner),
    )


def _number(metric: str, value: float | None) -> str:
    return pages.percent(value) if search_plots.is_share(metric) else pages.number(value)


def _has(trials: Sequence[Trial], metric: str) -> bool:
    return any(trial.value(metric) is not None for trial in trials)


def _test(search: SearchReport) -> list[tuple[str, float, float | None]]:
    """Return each score on test by its name: of the winner, and of the default where it was scored too."""
    winner = search.winner.test if search.winner else {}
    default = search.default.test if search.default and search.default is not search.winner else {}
    return [(name, winner[key], default.get(key)) for key, name in _OF_TEST.items() if key in winner]


def _beside(search: SearchReport) -> list[dict[str, Any]]:
    """Return each setting of the space with its value in the winner and in the default."""
    if search.winner is None:
        return []
    default = next((trial.config for trial in search.trials if trial.trial_id == search.default_id), None)
    rows = []
    for name, dimension in search.space.items():
        before = None if default is None or name not in default else shown(default[name])
        after = shown(search.winner.config.get(name))
        rows.append({"name": name, "range": str(dimension), "default": before, "winner": after, "new": after != before})
    return rows


def _settings(search: SearchReport, winner: Configs | None) -> dict[str, list[tuple[str, str]]]:
    """Return every setting of the winner by owner, for settings.html."""
    if winner is None:
        return {}
    return {
        f"{search.model}, the best trial": report.flat(dataclasses.asdict(winner.model)),
        "training, the best trial": report.flat(dataclasses.asdict(winner.training)),
    }
