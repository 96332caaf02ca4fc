"""FEATURES -> the best configuration of a model and its checkpoint: a search on Ray Tune over what `train` does."""

import dataclasses
import datetime
import time
from typing import Any

from genreray import (
    checkpoint,
    models,
    report,
    resume,
    run_folder,
    search_results,
    storage,
    trial_folder,
    tune_folder,
)
from genreray import space as spaces
from genreray.cluster import Cluster, Workers, may_grow, n_cpus, n_gpus, plan_workers
from genreray.dimensions import Space
from genreray.errors import UserError
from genreray.evaluate import evaluate, is_reported
from genreray.events import TensorBoard
from genreray.featureset import FeatureSet
from genreray.fitting import identity, make_settings
from genreray.labels import Learnable, learnable
from genreray.mlflow_runs import MLflow
from genreray.models.base import Family
from genreray.models.fitted import Fitted
from genreray.progress import Progress
from genreray.reproduce import recipe
from genreray.search import grid
from genreray.search_plan import SearchPlan
from genreray.search_progress import SearchProgress
from genreray.search_report import SearchReport
from genreray.sharing import Pool, Shared, store_for
from genreray.space import Configs
from genreray.statistics import with_fma_statistics
from genreray.trial import Common
from genreray.tuner import Follower, Ledger, run

_OF_TEST = ("accuracy", "macro_f1", "log_loss", "mean_average_precision")


@dataclasses.dataclass(frozen=True)
class Searched:
    """What a search came to."""

    found: SearchReport
    n_run: int  # trials that this call ran
    seconds: float  # of this call


@dataclasses.dataclass(frozen=True)
class _Task:
    """A search as far as it is known without Ray."""

    features: FeatureSet
    learnt: Learnable
    statistics: str
    family: Family
    space: Space
    base: Configs

    @property
    def is_fitted(self) -> bool:
        """Whether the model is fitted at once, by one worker."""
        return isinstance(self.family.module, type) and issubclass(self.family.module, Fitted)

    def report(self, ledger: Ledger, plan: SearchPlan) -> SearchReport:
        """Return the search as it stands."""
        n_epochs = self.base.training.epochs
        stopping = f"ASHA from epoch {plan.grace_of(n_epochs)} on, one of {plan.reduction:g} goes on"
        return SearchReport(
            model=self.family.name,
            features=self.features.uri,
            split_method=self.features.split_method,
            metric=plan.metric,
            space=self.space,
            trials=ledger.all,
            epochs=n_epochs,
            labels=plan.labels,
            algorithm=plan.search if plan.grace_of(n_epochs) >= n_epochs else f"{plan.search}; {stopping}",
            default_id=trial_folder.FIRST,
            created=datetime.date.today().isoformat(),
            versions=checkpoint.versions(),
        )

    def settings(self, configs: Configs | None = None) -> checkpoint.Settings:
        """Return the settings of a checkpoint, by default that of the untuned model."""
        chosen = configs or self.base
        return make_settings(
            self.features.config, self.learnt, self.family.name, chosen.model, chosen.training, self.statistics
        )


def tune(
    features_uri: str,
    run_uri: str,
    model: str,
    plan: SearchPlan,
    *,
    cluster: Cluster,
    progress: Progress,
    pool: Pool | None = None,
    score_default: bool = False,
) -> Searched:
    """Search the space of `model` and leave the winner's checkpoint in `run_uri`, with what else the search found.

    The winner has the best `plan.metric` on validation; the test split is read for its score alone, when it is found.
    A search that was interrupted goes on, one that has ended goes on where more trials are asked for; with
    `plan.fresh` either is deleted first.
    `pool` holds the clips of several searches; with `score_default` the untuned default is scored on test as well.
    Raises UserError where features, settings, space or cluster do not allow it, or `run_uri` holds something else.
    """
    started = time.perf_counter()
    run_uri = storage.absolute(run_uri)
    task = _prepare(features_uri, model, plan)
    begun = _identity(task, plan)
    pool = pool or Pool()
    settings = task.settings()
    cluster = dataclasses.replace(cluster, stores=pool.stores(task.learnt, settings.build().inputs, settings))
    if plan.fresh:
        cluster.connect(progress.line)  # what cannot begin shall not delete
        tune_folder.clear(run_uri)
    run_folder.begin(run_uri, begun, job="tune")
    ledger = Ledger(
        run_uri,
        task.family,
        task.space,
        plan.search,
        plan.metric,
        base=task.base,
        n_trials=plan.trials,
        seed=plan.seed,
    )
    n_before = len(ledger.ended)
    if ledger.n_left:
        _search(ledger, task, plan, cluster, progress, pool)
    _finish(ledger, task, plan, cluster, progress, score_default)
    found = task.report(ledger, plan)
    search_results.write(run_uri, found, task.family, task.base)
    return Searched(found, len(ledger.ended) - n_before, time.perf_counter() - started)


def _prepare(features_uri: str, model: str, plan: SearchPlan) -> _Task:
    """Check all that can be checked without Ray."""
    family = models.family(model)
    features = FeatureSet.open(features_uri)
    statistics = checkpoint.CLIP
    if plan.fma_features is not None:
        features, statistics = with_fma_statistics(features, plan.fma_features, model), checkpoint.FMA
    base = Configs(family.config(), recipe(model, features.config, plan.epochs, plan.seed))
    if plan.space is not None:
        space = spaces.read_space(plan.space, family, base)
    else:
        space = family.space
        spaces.check(space, family, base)
    learnt = learnable(features, plan.labels)
    if learnt.tree is not None:
        space = spaces.for_several_genres(space)
    if not spaces.varied(space):
        raise UserError(f"{model} has no settings to search: give --space, or train it with `genreray train`")
    task = _Task(features, learnt, statistics, family, space, base)
    task.settings().build()
    if plan.search == "grid":
        grid(space, spaces.defaults(family, space, base), plan.trials)
    if plan.grace is not None and plan.grace > base.training.epochs:
        raise UserError(f"grace is {plan.grace} epochs, and trials have {base.training.epochs}: give as many or fewer")
    return task


def _identity(task: _Task, plan: SearchPlan) -> dict[str, Any]:
    """Return what must be the same where a search goes on."""
    return {
        **identity(task.features.uri, task.settings()),
        "space": spaces.space_to_json(task.space),
        "search": {"method": plan.search, "metric": plan.metric, "grace": plan.grace, "reduction": plan.reduction},
    }


def _search(ledger: Ledger, task: _Task, plan: SearchPlan, cluster: Cluster, progress: Progress, pool: Pool) -> None:
    """Run the trials that are left."""
    say = progress.line
    n_epochs = task.base.training.epochs
    for line in task.learnt.doubts:
        say(line)
    # Before Ray is started, as a store that cannot be written to is the user's to mend.
    followers: list[Follower] = [TensorBoard(ledger.run_uri)] if plan.tensorboard else []
    if plan.mlflow is not None:
        followers.append(MLflow(plan.mlflow, f"genreray {task.family.name}", ledger.run_uri, say))
    cluster.connect(say)
    workers, concurrent = plan_trials(plan, ledger.n_left, fitted=task.is_fitted, say=say)
    shared = _share(task, pool, progress)
    say(
        f"{task.family.name}: {ledger.n_trials} trials of at most {n_epochs} epoch{'s' * (n_epochs != 1)}, "
        f"{concurrent} at once, over {', '.join(spaces.varied(task.space))}"
    )
    if ledger.ended:
        say(f"going on after {len(ledger.ended)} trials")
    common = Common(
        run_uri=ledger.run_uri,
        model=task.family.name,
        features=task.features.config,
        learnt=task.learnt,
        statistics=task.statistics,
        base=task.base,
        plan=workers,
        shared=shared,
    )
    table = SearchProgress(progress, plan.metric, ledger.n_trials, n_epochs, ledger.ended)
    written = search_results.TrialsFile(ledger.run_uri, lambda: task.report(ledger, plan))
    with table:
        run(
            ledger,
            common,
            concurrent=concurrent,
            grace=plan.grace_of(n_epochs),
            reduction=plan.reduction,
            followers=[table, written, *followers],
        )


def _share(task: _Task, pool: Pool, progress: Progress) -> Shared | None:
    """Read the clips into the object store where they fit, for all trials; else each reads for itself, as `train`."""
    settings = task.settings()
    inputs = settings.build().inputs
    shared = pool.share(task.learnt, inputs, settings)
    if shared is None:
        wanted = store_for(task.learnt, inputs, settings) / 1e9
        progress.line(f"trials share the clips in an object store of {wanted:.1f} GB or more: here each reads its own")
    return shared


def plan_trials(plan: SearchPlan, n_trials: int, *, fitted: bool, say: Any) -> tuple[Workers, int]:
    """Return the workers of each trial, and how many trials run at once.

    Raises UserError where there is no room for one trial, or for as many at once as were asked for.
    """
    count = 1 if fitted else plan.workers
    gpus = 1.0 if plan.gpus_per_trial is None else plan.gpus_per_trial / count
    workers = plan_workers(count, plan.gpu, say, groups=plan.concurrent or 1, gpus=gpus)
    if workers.gpu:
        # A worker's share of a GPU is of one alone: 3 workers of 0.4 need 2.
        room = n_gpus() * int(1 / gpus + 1e-9) // count
        unit, there = f"{gpus * count:g} GPUs", f"{n_gpus()} GPUs"
    else:
        room = max(1, n_cpus() // count)
        unit, there = f"{count} CPUs", f"{n_cpus()} CPUs"
    wanted = plan.concurrent or room
    if wanted > room and (workers.gpu or not may_grow()):
        raise UserError(
            f"{wanted} trials at once want {unit} each, the cluster has {there}: give --concurrent {room} or fewer"
        )
    concurrent = min(wanted, n_trials)
    return plan_workers(count, plan.gpu, say, groups=concurrent, gpus=gpus), concurrent


def _finish(
    ledger: Ledger, task: _Task, plan: SearchPlan, cluster: Cluster, progress: Progress, score_default: bool
) -> None:
    """Put the winner at the top of the search's folder, and score it on test; the untuned default too, if asked to."""
    found = task.report(ledger, plan)
    scored: dict[str, tuple[str, str]] = {}  # by trial: where its checkpoint is, and the report on it
    if score_default and found.default is not None:
        folder = trial_folder.folder(ledger.run_uri, found.default.trial_id)
        scored[found.default.trial_id] = folder, storage.join(ledger.run_uri, tune_folder.TEST_OF_DEFAULT)
    if found.winner is not None:
        resume.write_history(ledger.run_uri, found.winner.history)
        checkpoint.copy(trial_folder.folder(ledger.run_uri, found.winner.trial_id), ledger.run_uri)
        scored[found.winner.trial_id] = ledger.run_uri, storage.join(ledger.run_uri, tune_folder.TEST)
    if scored and "test" not in task.features.index.column("split").to_pylist():
        progress.line("no track is in the test split: there are no test scores")
        return
    for trial_id, (checkpoint_uri, report_uri) in scored.items():
        test = _test(checkpoint_uri, report_uri, task, plan, cluster, progress)
        ledger.trials[trial_id] = dataclasses.replace(ledger.trials[trial_id], test=test)


def _test(
    checkpoint_uri: str, report_uri: str, task: _Task, plan: SearchPlan, cluster: Cluster, progress: Progress
) -> dict[str, float]:
    """Return the scores of a checkpoint on the test split: of what a search does, all that reads it."""
    if not is_reported(report_uri, checkpoint_uri, task.features, "test"):
        evaluate(
            task.features.uri,
            report_uri,
            checkpoint_uri,
            split="test",
            gpu=plan.gpu,
            cluster=cluster,
            progress=Progress(progress.console, "test"),
            fma_features=plan.fma_features,
            model=task.family.name,
        )
    scores = storage.read_json(storage.join(report_uri, report.METRICS_NAME))
    return {name: float(scores[name]) for name in _OF_TEST if isinstance(scores.get(name), float)}
