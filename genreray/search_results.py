"""What a search leaves beside its trials: trials.parquet, best.json and report.html."""

from collections.abc import Callable, Mapping
from typing import Any

from genreray import search_page, selection, storage, trials, winner
from genreray import space as spaces
from genreray.models.base import Family
from genreray.search_report import SearchReport
from genreray.space import Configs
from genreray.trials import Trial
from genreray.winner import Winner


def write_trials(run_uri: str, found: SearchReport) -> None:
    """Write trials.parquet."""
    storage.write_parquet(storage.join(run_uri, trials.FILE_NAME), trials.to_table(found.trials, found.metadata()))


class TrialsFile:
    """Hears of a search, and writes trials.parquet anew with each trial that ends: one that is interrupted has it."""

    def __init__(self, run_uri: str, state: Callable[[], SearchReport]) -> None:
        """Take what tells how the search stands."""
        self._run_uri = run_uri
        self._state = state

    def begin(self, trial: Trial) -> None:
        """Leave a trial that begins to the next one that ends."""

    def epoch(self, trial_id: str, epoch: Mapping[str, Any]) -> None:
        """Leave epochs to the next trial that ends."""

    def end(self, trial: Trial) -> None:
        """Write the table."""
        write_trials(self._run_uri, self._state())


def write(run_uri: str, found: SearchReport, family: Family, base: Configs) -> None:
    """Write all three; `base` holds the settings that were not searched. Without a winner there is no best.json."""
    write_trials(run_uri, found)
    won, configs = found.winner, None
    if won is not None:
        configs = spaces.apply(won.config, family, base)
        labels: Any = found.labels
        about = {"trial_id": won.trial_id, "epoch": (won.kept or {}).get("epoch"), **_scores(won, found.metric)}
        winner.write(
            storage.join(run_uri, winner.FILE_NAME), Winner(found.model, configs, labels, {**about, "test": won.test})
        )
    search_page.write(run_uri, found, configs)


def facts(found: SearchReport) -> dict[str, Any]:
    """Return what the last screen of a search says."""
    told: dict[str, Any] = {
        "model": found.model,
        "labels": found.labels,
        "trials": len(found.trials),
        **found.counts,
        "epochs": found.n_epochs,
    }
    if found.saved is not None:
        told["epochs_saved"] = f"{found.saved:.0%}"
    if found.winner is not None:
        told |= {"best_trial": found.winner.trial_id, "best": _scores(found.winner, found.metric)}
        told["settings"] = {name: _plain(value) for name, value in found.winner.config.items()}
    if found.default is not None:
        told["default"] = _scores(found.default, found.metric)
    if found.median is not None:
        told["median"] = {found.metric: found.median}
    if found.winner is not None and found.winner.test:
        told["test"] = dict(found.winner.test)
    return told


def _scores(trial: Trial, metric: str) -> dict[str, float]:
    names = dict.fromkeys([metric, *selection.METRICS])
    return {name: value for name in names if (value := trial.value(name)) is not None}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
