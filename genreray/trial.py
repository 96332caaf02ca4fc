"""One trial of a search: the Tune function, in which Ray Train fits a network and every epoch is told to Tune."""

import dataclasses
import threading
import time
from typing import Any

import ray
import ray.tune
import ray.util

from genreray import checkpoint, models, resume, space, trial_folder
from genreray.cluster import Workers
from genreray.dimensions import Point
from genreray.errors import reason
from genreray.features import FeatureConfig
from genreray.fitting import fit, make_settings
from genreray.labels import Learnable
from genreray.sharing import Shared
from genreray.space import Configs
from genreray.train_worker import WorkerTask
from genreray.trials import TrialStatus

_MAX_FAILURES = 1  # of a trial's workers: one may be lost with its node, what is out of memory is so again
CPUS = 0.01  # of the process that the Tune function runs in: it waits


@dataclasses.dataclass(frozen=True)
class Common:
    """What all trials of a search have in common."""

    run_uri: str
    model: str
    features: FeatureConfig
    learnt: Learnable
    statistics: str
    base: Configs  # of the settings that a point does not name
    plan: Workers
    shared: Shared | None  # the clips, where they are in the object store

    def task(self, trial_id: str, point: Point) -> WorkerTask:
        """Return what the workers of a trial are told; raises UserError where its settings do not go together."""
        configs = space.apply(point, models.family(self.model), self.base)
        training = configs.training
        if training.compile == "auto":  # it takes memory, of as many at once as there are CPUs, and most end early
            training = dataclasses.replace(training, compile="off")
        return WorkerTask(
            run_uri=trial_folder.folder(self.run_uri, trial_id),
            settings=make_settings(self.features, self.learnt, self.model, configs.model, training, self.statistics),
            config=training,
            counts=self.learnt.counts,
            threads=self.plan.threads,
            memory=self.plan.memory,
            shared=self.shared,
        )


@dataclasses.dataclass(frozen=True)
class _Judge:
    desk: Any
    trial_id: str

    def begin(self) -> None:
        """Say where this worker's resources are, which must be given back where the trial's process is lost."""
        ray.get(self.desk.started.remote(self.trial_id, ray.util.get_current_placement_group()))

    def go_on(self, epoch: dict[str, Any]) -> bool:
        """Return what Tune's scheduler says of the trial after an epoch."""
        said: bool = ray.get(self.desk.report.remote(self.trial_id, epoch))
        return said


def run_trial(config: dict[str, Any], common: Common, desk: Any) -> None:
    """Train a trial to its end, an early one or that of its epochs, and write down how it ended.

    What it raises is a row of the search. What ends this process, as the loss of its node does, is Tune's to mend: it
    calls this function again, and the trial goes on after its last epoch.
    """
    trial_id, point = config["trial_id"], config["point"]
    folder = trial_folder.folder(common.run_uri, trial_id)
    started = time.monotonic() - trial_folder.seconds_of(resume.read_history(folder))
    ray.get(desk.open.remote(trial_id))
    failure: list[BaseException] = []

    def train() -> None:
        try:
            task = dataclasses.replace(common.task(trial_id, point), judge=_Judge(desk, trial_id))
            checkpoint.copy(fit(common.learnt.tracks, task, common.plan, max_failures=_MAX_FAILURES), task.run_uri)
        except BaseException as error:
            failure.append(error)
        finally:
            ray.get(desk.close.remote(trial_id))

    # Ray Train in a thread, as this one is held by Tune while it looks at an epoch.
    thread = threading.Thread(target=train, name=f"trial {trial_id}", daemon=True)
    thread.start()
    while (epoch := ray.get(desk.next.remote(trial_id))) is not None:
        ray.tune.report({"trial_id": trial_id, **epoch})
        ray.get(desk.answer.remote(trial_id))
    thread.join()
    seconds = time.monotonic() - started
    if failure:
        said = _said(failure[0], resume.read_history(folder))
        trial_folder.end(common.run_uri, trial_id, TrialStatus.FAILED, seconds, said)
        return
    stopped = ray.get(desk.is_stopped.remote(trial_id))
    trial_folder.end(common.run_uri, trial_id, TrialStatus.STOPPED if stopped else TrialStatus.FINISHED, seconds)


def _said(error: BaseException, history: resume.History) -> str:
    if history and history[-1].get("diverged"):
        return f"the loss was not a finite number in epoch {history[-1]['epoch']}"
    return reason(error) if isinstance(error, Exception) else type(error).__name__
