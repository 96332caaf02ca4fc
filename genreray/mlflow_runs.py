"""A search's trials as runs of an MLflow experiment: the settings and the curves of each; an extra of the package."""

import contextlib
import importlib
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from genreray import storage
from genreray.errors import UserError
from genreray.trials import Trial, TrialStatus

_STATUS = {TrialStatus.FINISHED: "FINISHED", TrialStatus.STOPPED: "FINISHED", TrialStatus.FAILED: "FAILED"}
_SEARCH = "genreray.search"  # the tag that says which search a run is of
_RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"


class MLflow:
    """Hears of a search, and writes each of its trials as a run of the experiment `name` on the server at `uri`.

    Where that fails in the middle of a search, `say` is told once, and the search goes on without: what it found is in
    its own folder.
    """

    def __init__(self, uri: str, name: str, search: str, say: Callable[[str], None]) -> None:
        """Find or make the experiment, for the search in the folder `search`.

        Raises UserError where that cannot be done.
        """
        storage.refuse_password(uri, "--mlflow", "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD")
        try:
            tracking = importlib.import_module("mlflow.tracking")
        except ImportError as error:
            raise UserError("--mlflow needs MLflow: pip install 'genreray[mlflow]', or leave --mlflow out") from error
        self._uri, self._search, self._say = uri, search, say
        try:
            with _few_retries():
                self._client = tracking.MlflowClient(tracking_uri=uri)
                found = self._client.get_experiment_by_name(name)
                self._experiment = found.experiment_id if found is not None else self._client.create_experiment(name)
        except Exception as error:  # of MLflow, or of whatever it reaches its store by
            raise UserError(f"MLflow cannot write to {uri}: {_line(error)}") from error
        self._runs: dict[str, str] = {}
        self._told: set[tuple[str, int]] = set()
        self._is_lost = False

    def begin(self, trial: Trial) -> None:
        """Begin a run with the trial's settings; a trial that goes on after it was lost or interrupted has one."""
        with self._unless_lost():
            if trial.trial_id not in self._runs and not self._is_lost:
                self._runs[trial.trial_id] = self._earlier(trial) or self._new(trial)

    def epoch(self, trial_id: str, epoch: Mapping[str, Any]) -> None:
        """Add the numbers of an epoch, each once."""
        number = int(epoch["epoch"])
        if self._is_lost or (trial_id, number) in self._told:
            return
        self._told.add((trial_id, number))
        with self._unless_lost():
            for name, value in epoch.items():
                if name != "epoch":
                    self._client.log_metric(self._runs[trial_id], name, float(value), step=number)

    def end(self, trial: Trial) -> None:
        """End the trial's run; of one that failed, with its error as a tag."""
        if self._is_lost:
            return
        run_id = self._runs[trial.trial_id]
        with self._unless_lost():
            self._client.set_tag(run_id, "trial_status", trial.status.value)
            if trial.error is not None:
                self._client.set_tag(run_id, "error", trial.error)
            self._client.set_terminated(run_id, _STATUS[trial.status])

    def _new(self, trial: Trial) -> str:
        run = self._client.create_run(self._experiment, run_name=_name(trial), tags={_SEARCH: self._search})
        for name, value in {"model": trial.model, **trial.config}.items():
            self._client.log_param(run.info.run_id, name, value)
        return str(run.info.run_id)

    def _earlier(self, trial: Trial) -> str | None:
        """Return the run that an interrupted search left of a trial, whose epochs are known from then on."""
        running = f"attributes.status = 'RUNNING' and attributes.run_name = '{_name(trial)}'"
        for run in self._client.search_runs([self._experiment], filter_string=running):
            same = {name: str(value) for name, value in trial.config.items()}.items() <= run.data.params.items()
            if same and run.data.tags.get(_SEARCH) == self._search:
                curve = self._client.get_metric_history(run.info.run_id, "seconds")  # the last that an epoch has
                self._told |= {(trial.trial_id, point.step) for point in curve}
                return str(run.info.run_id)
        return None

    @contextlib.contextmanager
    def _unless_lost(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # as in __init__
            self._is_lost = True
            self._say(f"MLflow can no longer write to {self._uri}, the search goes on without: {_line(error)}")


def _name(trial: Trial) -> str:
    return f"{trial.model} {trial.trial_id}"


def _line(error: Exception) -> str:
    return storage.without_secrets(next(iter(str(error).splitlines()), type(error).__name__))


@contextlib.contextmanager
def _few_retries() -> Iterator[None]:
    """Let MLflow find out in seconds that there is no server, for which it takes minutes in the middle of a search."""
    if _RETRIES in os.environ:
        yield
        return
    os.environ[_RETRIES] = "1"
    try:
        yield
    finally:
        del os.environ[_RETRIES]
