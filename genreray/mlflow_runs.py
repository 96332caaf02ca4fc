"""A search's trials as runs of an MLflow experiment: the settings and the curves of each; an extra of the package."""

import importlib
from collections.abc import Mapping
from typing import Any

from genreray import storage
from genreray.errors import UserError
from genreray.trials import Trial, TrialStatus

_STATUS = {TrialStatus.FINISHED: "FINISHED", TrialStatus.STOPPED: "FINISHED", TrialStatus.FAILED: "FAILED"}


class MLflow:
    """Hears of a search, and writes each of its trials as a run of the experiment `name` on the server at `uri`."""

    def __init__(self, uri: str, name: str) -> None:
        """Find or make the experiment; raises UserError where that cannot be done."""
        storage.refuse_password(uri, "--mlflow", "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD")
        try:
            tracking = importlib.import_module("mlflow.tracking")
        except ImportError as error:
            raise UserError("--mlflow needs MLflow: pip install 'genreray[mlflow]', or leave --mlflow out") from error
        try:
            self._client = tracking.MlflowClient(tracking_uri=uri)
            found = self._client.get_experiment_by_name(name)
            self._experiment = found.experiment_id if found is not None else self._client.create_experiment(name)
        except Exception as error:  # of MLflow, or of whatever it reaches its store by
            said = storage.without_secrets(str(error).splitlines()[0])
            raise UserError(f"MLflow cannot write to {uri}: {said}") from error
        self._runs: dict[str, str] = {}
        self._told: set[tuple[str, int]] = set()

    def begin(self, trial: Trial) -> None:
        """Begin a run with the trial's settings; a trial that goes on after its process was lost has one already."""
        if trial.trial_id in self._runs:
            return
        run = self._client.create_run(self._experiment, run_name=f"{trial.model} {trial.trial_id}")
        self._runs[trial.trial_id] = run.info.run_id
        for name, value in {"model": trial.model, **trial.config}.items():
            self._client.log_param(run.info.run_id, name, value)

    def epoch(self, trial_id: str, epoch: Mapping[str, Any]) -> None:
        """Add the numbers of an epoch, each once."""
        if (trial_id, int(epoch["epoch"])) in self._told:
            return
        self._told.add((trial_id, int(epoch["epoch"])))
        for name, value in epoch.items():
            if name != "epoch":
                self._client.log_metric(self._runs[trial_id], name, float(value), step=int(epoch["epoch"]))

    def end(self, trial: Trial) -> None:
        """End the trial's run; of one that failed, with its error as a tag."""
        run_id = self._runs[trial.trial_id]
        self._client.set_tag(run_id, "trial_status", trial.status.value)
        if trial.error is not None:
            self._client.set_tag(run_id, "error", trial.error)
        self._client.set_terminated(run_id, _STATUS[trial.status])
