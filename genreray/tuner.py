"""A search as Ray Tune runs it: what proposes trials, what stops them, what hears of them."""

import contextlib
import os
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import ray
import ray.tune
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.util.placement_group import remove_placement_group

from genreray import space as spaces
from genreray import storage, trial_folder
from genreray.desk import open_desk
from genreray.dimensions import Point, Space
from genreray.errors import reason
from genreray.models.base import Family
from genreray.search import grid, propose
from genreray.search_plan import Method
from genreray.selection import METRICS, direction
from genreray.space import Configs
from genreray.trial import CPUS, Common, run_trial
from genreray.trial_folder import FIRST
from genreray.trials import Trial, TrialStatus
from genreray.tune_folder import STATE

_MAX_LOSSES = 3  # of the process that a trial's function runs in, with its node
_TUNE = {
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is the command's
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # result.json, progress.csv and events beside our own files
    "RAY_AIR_NEW_OUTPUT": "0",  # which cannot be silenced
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial that fails has none
}


EPOCH = ("epoch", "training_loss", "training_accuracy", *METRICS, "temperature", "seconds")  # what followers hear


class Follower(Protocol):
    """Who hears of a search as it goes."""

    def begin(self, trial: Trial) -> None:
        """Hear that a trial has begun, or goes on."""

    def epoch(self, trial_id: str, epoch: Mapping[str, Any]) -> None:
        """Hear of an epoch of a trial."""

    def end(self, trial: Trial) -> None:
        """Hear that a trial has ended."""


class Ledger:
    """The trials of a search as the driver knows them: what is tried next, what came of the others."""

    def __init__(
        self,
        run_uri: str,
        family: Family,
        space: Space,
        method: Method,
        metric: str,
        *,
        base: Configs,
        n_trials: int,
        seed: int,
    ) -> None:
        """Take up what earlier runs of the same search left in `run_uri`."""
        self.run_uri = run_uri
        self.family = family
        self.space = space
        self.method: Method = method
        self.metric = metric
        self.first = spaces.defaults(family, space, base)
        self.n_trials = n_trials if method != "grid" else 1 + len(grid(space, self.first, n_trials))
        self.seed = seed
        self.trials = {trial.trial_id: trial for trial in trial_folder.read_all(run_uri)}
        self._open = [trial for trial in self.all if trial.status == TrialStatus.INTERRUPTED]

    @property
    def all(self) -> list[Trial]:
        """The trials, in the order in which they were begun."""
        return list(self.trials.values())

    @property
    def ended(self) -> list[Trial]:
        """Those that are done, in whatever way."""
        return [trial for trial in self.all if trial.status != TrialStatus.INTERRUPTED]

    @property
    def n_left(self) -> int:
        """How many trials are to be gone on with or begun, at most."""
        return len(self._open) + max(0, self.n_trials - len(self.trials))

    def next(self) -> Trial | None:
        """Return the trial to run next, written down in its folder; None where there is no other."""
        if self._open:
            return self._open.pop(0)
        point = self._propose() if len(self.trials) < self.n_trials else None
        if point is None:
            return None
        trial_id = trial_folder.next_id(self.all)
        trial_folder.begin(self.run_uri, trial_id, self.family.name, point)
        self.trials[trial_id] = trial_folder.read(self.run_uri, trial_id)
        return self.trials[trial_id]

    def end(self, trial_id: str) -> Trial:
        """Take in how a trial ended."""
        self.trials[trial_id] = trial_folder.read(self.run_uri, trial_id)
        return self.trials[trial_id]

    def _propose(self) -> Point | None:
        if not self.trials:
            return self.first
        return propose(self.space, self.method, self.all, self.metric, n_trials=self.n_trials, seed=self.seed)


class _Unsaved:
    """What Tune need not keep: it pickles itself, to be restored from, while here the trials' folders say all."""

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Unsaved":
        return self


class _Proposals(_Unsaved, Searcher):  # type: ignore[misc]
    def __init__(self, ledger: Ledger) -> None:
        super().__init__(metric=ledger.metric, mode=direction(ledger.metric))
        self._ledger = ledger

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        trial = self._ledger.next()
        return Searcher.FINISHED if trial is None else {"trial_id": trial.trial_id, "point": dict(trial.config)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Leave it to the ledger, which reads it."""

    def save(self, checkpoint_path: str) -> None:
        """Save nothing."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing."""


class _Halving(_Unsaved, ASHAScheduler):  # type: ignore[misc]
    """Asynchronous successive halving (Li et al. 2020), which asks trials to end instead of having them killed.

    The first trial, of the defaults, runs out: it is what the others are compared with.
    """

    def __init__(self, ledger: Ledger, desk: Any, epochs: int, grace: int, reduction: float) -> None:
        super().__init__(
            time_attr="epoch",
            metric=ledger.metric,
            mode=direction(ledger.metric),
            max_t=epochs,
            grace_period=grace,
            reduction_factor=reduction,
            stop_last_trials=False,
        )
        self._desk = desk
        for trial in ledger.ended:  # of an earlier run: what they reached is what others are measured by
            stub = types.SimpleNamespace(trial_id=trial.trial_id)
            self.on_trial_add(None, stub)
            for epoch in trial.epochs:
                if super().on_trial_result(None, stub, epoch) == TrialScheduler.STOP:
                    break
            self.on_trial_remove(None, stub)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        decision, trial_id = super().on_trial_result(tune_controller, trial, result), trial.config["trial_id"]
        if decision == TrialScheduler.STOP and result["epoch"] < self._max_t and trial_id != FIRST:
            ray.get(self._desk.stop.remote(trial_id))
        return str(TrialScheduler.CONTINUE)


class _Hearer(_Unsaved, TrialProgressCallback):  # type: ignore[misc]
    """Keeps the ledger and whoever follows the search informed, and gives back what a lost trial held.

    It takes the place of Tune's own, which prints even where it is told to be silent.
    """

    def __init__(self, ledger: Ledger, desk: Any, followers: Sequence[Follower]) -> None:
        self._ledger = ledger
        self._desk = desk
        self._followers = followers
        self._error: Exception | None = None

    @contextlib.contextmanager
    def _until_the_step_ends(self) -> Iterator[None]:
        """Keep an error, such as that of a full disk, for `on_step_end`: Tune would take it for one of the trial."""
        try:
            yield
        except Exception as error:
            self._error = self._error or error

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if self._error is not None:
            raise self._error

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        with self._until_the_step_ends():
            for follower in self._followers:
                follower.begin(self._ledger.trials[trial.config["trial_id"]])

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        epoch = {name: value for name, value in result.items() if name in EPOCH}
        with self._until_the_step_ends():
            for follower in self._followers if epoch else ():
                follower.epoch(trial.config["trial_id"], epoch)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._end(trial)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._give_back(trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._give_back(trial)
        trial_id = trial.config["trial_id"]
        if self._ledger.end(trial_id).status == TrialStatus.INTERRUPTED:
            error = trial.get_error() or RuntimeError("its process was lost")
            seconds = self._ledger.trials[trial_id].seconds
            trial_folder.end(self._ledger.run_uri, trial_id, TrialStatus.FAILED, seconds, reason(error))
        self._end(trial)

    def _end(self, trial: Any) -> None:
        with self._until_the_step_ends():
            ended = self._ledger.end(trial.config["trial_id"])
            for follower in self._followers:
                follower.end(ended)

    def _give_back(self, trial: Any) -> None:
        """Free the resources of the workers of a trial whose process was lost, and the workers with it."""
        group = ray.get(self._desk.group.remote(trial.config["trial_id"]))
        if group is not None:
            remove_placement_group(group)


def run(
    ledger: Ledger,
    common: Common,
    *,
    concurrent: int,
    grace: int,
    reduction: float,
    followers: Sequence[Follower],
) -> None:
    """Run the trials that are left, and tell the followers of each."""
    if not ledger.n_left:
        return
    os.environ.update(_TUNE)
    desk = open_desk()

    storage.delete(storage.join(ledger.run_uri, STATE))
    fs, path = storage.output_filesystem(ledger.run_uri)
    trainable = ray.tune.with_parameters(run_trial, common=common, desk=desk)
    tuner = ray.tune.Tuner(
        ray.tune.with_resources(trainable, {"CPU": CPUS}),
        tune_config=ray.tune.TuneConfig(
            search_alg=_Proposals(ledger),
            scheduler=_Halving(ledger, desk, common.base.training.epochs, grace, reduction),
            num_samples=ledger.n_left,
            # Tune does not count what Ray Train asks for.
            max_concurrent_trials=concurrent,
            reuse_actors=True,  # a process takes seconds to start
        ),
        run_config=ray.tune.RunConfig(
            name=STATE,
            storage_path=path,
            storage_filesystem=fs,
            failure_config=ray.tune.FailureConfig(max_failures=_MAX_LOSSES),
            callbacks=[_Hearer(ledger, desk, followers)],
            verbose=0,
        ),
    )
    try:
        tuner.fit()
    except KeyboardInterrupt as stopped:
        stopped.add_note(f"{len(ledger.ended)} of {ledger.n_trials} trials")
        raise
    finally:
        ray.kill(desk)
    storage.delete(storage.join(ledger.run_uri, STATE))
