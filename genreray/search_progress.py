"""How far a search is: a table of its trials on a terminal, a line for each that ends in a log."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from rich.console import RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from genreray import trials as rows
from genreray.dimensions import Point
from genreray.progress import Progress
from genreray.trials import Trial, TrialStatus

_SHOWN = 12  # trials in the table: those that run, and the best of the others
_REFRESHES = 4  # a second


class SearchProgress:
    """Tells a person on the console of `progress` which trials run, how far each is, and which is the best so far."""

    def __init__(
        self, progress: Progress, metric: str, n_trials: int, n_epochs: int, ended: Sequence[Trial] = ()
    ) -> None:
        """Take the trials that `ended` before for done."""
        self._progress = progress
        self._metric = metric
        self._n_trials = n_trials
        self._n_epochs = n_epochs
        self._running: dict[str, Trial] = {}
        self._epochs: dict[str, Mapping[str, Any]] = {}
        self._ended = list(ended)
        self._live: Live | None = None

    def __enter__(self) -> "SearchProgress":
        if self._progress.console.is_terminal:
            self._live = Live(
                console=self._progress.console,
                refresh_per_second=_REFRESHES,
                transient=True,
                get_renderable=self.table,
                vertical_overflow="crop",
            )
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def begin(self, trial: Trial) -> None:
        """Hear that a trial has begun, or goes on."""
        self._running[trial.trial_id] = trial

    def epoch(self, trial_id: str, epoch: Mapping[str, Any]) -> None:
        """Hear of an epoch of a trial that runs."""
        self._epochs[trial_id] = epoch

    def end(self, trial: Trial) -> None:
        """Hear that a trial has ended, and print a line of it."""
        self._running.pop(trial.trial_id, None)
        self._epochs.pop(trial.trial_id, None)
        self._ended.append(trial)
        self._progress.line(self.line(trial))

    def line(self, trial: Trial) -> str:
        """Return what a log says of a trial that has ended."""
        head = f"trial {int(trial.trial_id):>3}/{self._n_trials}  {trial.status.value:<8}  epoch {len(trial.epochs):>3}"
        best = rows.best(self._ended, self._metric)
        parts = [head]
        if trial.error is not None:
            parts.append(trial.error)
        else:
            parts.append(f"{_words(self._metric)} {_number(trial.value(self._metric))}")
        if best is not None:
            parts.append(f"best so far {_number(best.value(self._metric))} (trial {int(best.trial_id)})")
        return "  ".join([*parts, text(trial.config)])

    def table(self) -> RenderableType:
        """Return the trials that run, and the best of those that ended, as a table."""
        best = rows.best(self._ended, self._metric)
        title = f"{len(self._ended)} of {self._n_trials} trials"
        if best is not None:
            title += f", best so far {_words(self._metric)} {_number(best.value(self._metric))} (trial {best.trial_id})"
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, title=title, title_justify="left")
        for name in ("trial", "status", "epoch", _words(self._metric)):
            table.add_column(name, justify="left" if name == "status" else "right", no_wrap=True)
        table.add_column("parameters")  # alone without no_wrap: it is what is shortened, and not all columns alike
        for trial in self._running.values():
            epoch = self._epochs.get(trial.trial_id, {})
            done = f"{epoch.get('epoch', len(trial.epochs))}/{self._n_epochs}"
            self._row(table, trial, "running" if epoch else "starting", done, epoch.get(self._metric))
        for trial in self._best_first()[: max(0, _SHOWN - len(self._running))]:
            self._row(table, trial, trial.status.value, str(len(trial.epochs)), trial.value(self._metric))
        return table

    def _row(self, table: Table, trial: Trial, status: str, done: str, value: float | None) -> None:
        table.add_row(
            trial.trial_id, status, done, _number(value), Text(text(trial.config), no_wrap=True, overflow="ellipsis")
        )

    def _best_first(self) -> list[Trial]:
        found, left = [], list(self._ended)
        while (best := rows.best(left, self._metric)) is not None:
            found.append(best)
            left.remove(best)
        return [*found, *(trial for trial in left if trial.status == TrialStatus.FAILED)]


def text(point: Point) -> str:
    """Return a point in one line."""
    return ", ".join(f"{name} {_value(value)}" for name, value in point.items())


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return "-".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _words(name: str) -> str:
    return name.replace("_", " ")
