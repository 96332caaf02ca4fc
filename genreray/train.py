"""FEATURES -> a trained checkpoint, on Ray Train: one worker process a GPU (or share of the CPUs), fed by Ray Data."""

import contextlib
import dataclasses
import threading
import time
from collections.abc import Iterator
from typing import Any

from genreray import checkpoint, resume, run_folder, storage
from genreray.cluster import Cluster, Gpu, Workers, plan_workers
from genreray.errors import UserError
from genreray.featureset import FeatureSet, Labels
from genreray.fitting import check_history, fit, identity, make_settings
from genreray.labels import Learnable, learnable
from genreray.models import ModelConfig
from genreray.models.fitted import Fitted
from genreray.progress import Progress
from genreray.recipe import TrainingConfig
from genreray.selection import SCORE
from genreray.statistics import with_fma_statistics
from genreray.train_worker import WorkerTask

_POLL = 0.5  # seconds between two looks at the history
_MAX_FAILURES = 3  # of workers and nodes, without an epoch between them


@dataclasses.dataclass(frozen=True)
class Trained:
    """What a run came to."""

    history: resume.History
    best: dict[str, Any]  # the epoch of the checkpoint that was kept
    genres: list[str]
    n_training: int
    n_validation: int
    n_parameters: int
    already_finished: bool
    seconds: float  # of this call


def train(
    features_uri: str,
    run_uri: str,
    model: str,
    model_config: ModelConfig,
    config: TrainingConfig,
    *,
    workers: int,
    gpu: Gpu,
    cluster: Cluster,
    progress: Progress,
    fma_features: str | None = None,
    labels: Labels = "genre",
    fresh: bool = False,
) -> Trained:
    """Train `model` on the training split and leave its best epoch (see selection.SCORE) in `run_uri`.

    `labels` says what is learnt: the one `genre` of each track, or all its `genres`.
    `fma_features` is FMA's features.csv, whose MFCC statistics are taken instead of those of the clips.
    A run that was interrupted goes on after its last epoch; one that is finished is left as it is; with `fresh`, either
    is deleted first.
    Raises UserError where features, settings or the cluster do not allow it, or `run_uri` holds something else.
    """
    started = time.perf_counter()
    run_uri = storage.absolute(run_uri)
    features = FeatureSet.open(features_uri)
    statistics = checkpoint.CLIP
    if fma_features is not None:
        features, statistics = with_fma_statistics(features, fma_features, model), checkpoint.FMA
    learnt = learnable(features, labels)
    n_training, n_validation = (len(learnt.tracks[split]) for split in ("training", "validation"))
    settings = make_settings(features.config, learnt, model, model_config, config, statistics)
    n_parameters = sum(parameter.numel() for parameter in settings.build().parameters())
    if fresh:
        cluster.connect(progress.line)  # what cannot begin shall not delete
        run_folder.clear(run_uri)
    run_folder.begin(run_uri, identity(features.uri, settings))
    finished = run_folder.is_finished(run_uri)
    if not finished:
        progress.line(
            f"{n_training:,} training and {n_validation:,} validation tracks of {len(settings.genres)} genres; "
            f"{model} with {n_parameters:,} parameters"
        )
        for line in learnt.doubts:
            progress.line(line)
        cluster.connect(progress.line)
        plan = plan_workers(1 if isinstance(settings.build(), Fitted) else workers, gpu, progress.line)
        _run(run_uri, learnt, settings, config, plan, progress)
    history = check_history(run_uri)
    return Trained(
        history=history,
        best=min(history, key=lambda epoch: float(epoch[SCORE])),
        genres=settings.genres,
        n_training=n_training,
        n_validation=n_validation,
        n_parameters=n_parameters,
        already_finished=finished,
        seconds=time.perf_counter() - started,
    )


def _run(
    run_uri: str,
    learnt: Learnable,
    settings: checkpoint.Settings,
    config: TrainingConfig,
    plan: Workers,
    progress: Progress,
) -> None:
    """Train to the end, a line an epoch, and put the best epoch's checkpoint at the top of the run's folder."""
    task = WorkerTask(
        run_uri=run_uri,
        settings=settings,
        config=config,
        counts=learnt.counts,
        threads=plan.threads,
        memory=plan.memory,
    )
    with _epoch_lines(run_uri, config.epochs, progress):
        best = fit(learnt.tracks, task, plan, max_failures=_MAX_FAILURES)
    checkpoint.copy(best, run_uri)


@contextlib.contextmanager
def _epoch_lines(run_uri: str, n_epochs: int, progress: Progress) -> Iterator[None]:
    """Print a line for each epoch as the workers add it to the history."""
    stop = threading.Event()
    shown = len(resume.read_history(run_uri))
    if shown:
        progress.line(f"going on after epoch {shown} of {n_epochs}")

    def show(shown: int) -> int:
        for epoch in resume.read_history(run_uri)[shown:]:
            progress.line(_epoch_line(epoch, n_epochs))
            shown += 1
        return shown

    def watch() -> None:
        nonlocal shown
        while not stop.wait(_POLL):
            with contextlib.suppress(UserError):  # of a store that may answer the next time
                shown = show(shown)

    thread = threading.Thread(target=watch, name="epochs", daemon=True)
    thread.start()
    try:
        yield
    except KeyboardInterrupt as stopped:
        stopped.add_note(f"{len(resume.read_history(run_uri))} of {n_epochs} epochs")
        raise
    finally:
        stop.set()
        thread.join()
        show(shown)


def _epoch_line(epoch: dict[str, Any], n_epochs: int) -> str:
    if epoch.get("diverged"):
        return f"epoch {epoch['epoch']:>3}/{n_epochs}  loss is not a finite number"
    if "validation_mean_average_precision" in epoch:
        training, validation = "", f"mAP {epoch['validation_mean_average_precision']:.3f}"
    else:
        training, validation = (f"accuracy {epoch[f'{part}_accuracy']:.3f}" for part in ("training", "validation"))
        training = f"  {training}"
    return (
        f"epoch {epoch['epoch']:>3}/{n_epochs}"
        f"  loss {epoch['training_loss']:.3f}{training}"
        f"  validation loss {epoch['validation_loss']:.3f}  {validation}"
        f"  {epoch['seconds']:.1f} s"
    )
