"""One way to fit a network with Ray Train, for `train` and for each trial of `tune`."""

import asyncio
import dataclasses
import posixpath
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import ray
from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
from ray.train import DataConfig as IngestConfig
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.execution.controller import TrainController

from genreray import checkpoint, resume, run_folder, storage
from genreray.cluster import Workers, has_dashboard
from genreray.errors import UserError, user_error_in
from genreray.features import FeatureConfig
from genreray.feed import place_dataset
from genreray.labels import Learnable, check_recipe
from genreray.models import ModelConfig
from genreray.models.fitted import Fitted
from genreray.models.fitted import check_recipe as check_fitted_recipe
from genreray.recipe import TrainingConfig
from genreray.selection import SCORE
from genreray.starts import MOST_FAILED, StartPolicy, is_failed_start
from genreray.train_worker import WorkerTask, train_worker


def make_settings(
    features: FeatureConfig,
    learnt: Learnable,
    model: str,
    model_config: ModelConfig,
    config: TrainingConfig,
    statistics: str,
) -> checkpoint.Settings:
    """Return what a checkpoint of `model`, trained on `learnt`, will say of itself.

    Raises UserError where the features, the labels and the recipe do not go together.
    """
    longest = features.max_frames
    if config.crop_frames > longest:
        raise UserError(
            f"crop frames is {config.crop_frames}, but the longest clips have {longest} frames: "
            f"give --crop-frames {longest} or fewer"
        )
    if learnt.tree is not None:
        check_recipe(config)
    settings = checkpoint.Settings(
        model=model,
        model_config=model_config,
        features=features,
        genres=learnt.genres,
        crop_frames=config.crop_frames,
        n_crops=config.crops,
        training=dataclasses.asdict(config),
        metrics={},
        statistics=statistics,
        tree=learnt.tree,
    )
    if isinstance(settings.build(), Fitted):
        check_fitted_recipe(config)
        if learnt.tree is not None:
            raise UserError(f"{model} gives each track one genre: choose a network, or leave --labels genres out")
    return settings


def identity(features_uri: str, settings: checkpoint.Settings) -> dict[str, Any]:
    """Return what must be the same where a run goes on; not the versions: a newer torch may go on with an older's."""
    return {"features_uri": features_uri, **{k: v for k, v in settings.to_json().items() if k != "versions"}}


class _Trainer(TorchTrainer):  # type: ignore[misc]
    def _register_sigint_handler(self, controller: Any) -> None:
        """Leave Ctrl-C to the command: Ray Train's own handler takes half a minute where workers are being started."""

    def _create_default_callbacks(self) -> list[Any]:
        """Leave out who removes what a lost controller leaves, where there is no dashboard for it to ask.

        Each run would wait ten seconds at its end until it has stopped asking. A Ray without one is of one job, with
        which all ends; with several Rays on a machine it would ask the one that was started last.
        Where the clips are in the object store, what deals out datasets is left out too: it has none, and is a process.
        """
        callbacks: list[Any] = super()._create_default_callbacks()
        unused: list[type] = [] if has_dashboard() else [PlacementGroupCleanerCallback]
        if not self.datasets:
            unused.append(DatasetsCallback)
        return [callback for callback in callbacks if not isinstance(callback, tuple(unused))]

    def _initialize_and_run_controller(self, **settings: Any) -> Any:
        """Run Ray Train's controller in the actor that calls it, as a trial's is: one of its own takes 0.3 GB more.

        It needs an actor around it, which `train` has not.
        """
        settings["failure_policy"] = StartPolicy(self.run_config.failure_config)
        if ray.get_runtime_context().get_actor_id() is None:
            return super()._initialize_and_run_controller(**settings)
        controller = TrainController(**settings)
        asyncio.run(controller.run())
        return controller.get_result()


def fit(tracks: Mapping[str, pa.Table], task: WorkerTask, plan: Workers, *, max_failures: int) -> str:
    """Run Ray Train to the end and return the URI of the checkpoint of the best epoch (see selection.SCORE).

    `tracks` are rows of FeatureSet.index by split; unused where the task brings the clips themselves. `max_failures`
    of workers are made good between two epochs. Raises UserError where a worker does, and where the loss left the
    finite numbers.
    """
    while True:
        before = len(resume.read_history(task.run_uri))
        try:
            result = _trainer(tracks, task, plan, max_failures).fit()
            break
        except TrainingFailedError as error:
            if (said := _user_error(error)) is not None:
                raise UserError(said) from None
            if is_failed_start(error):
                raise UserError(
                    f"the workers that train ended {MOST_FAILED + 1} times while they started, as where memory runs "
                    "out: give more memory, or fewer workers"
                ) from None
            # Ray Train counts failures from the first epoch on, and spot nodes are lost any number of times.
            if len(resume.read_history(task.run_uri)) <= before:
                raise
    check_history(task.run_uri)
    if not result.best_checkpoints:
        raise RuntimeError("Ray Train ended without a checkpoint")
    best, _ = min(result.best_checkpoints, key=lambda found: float(found[1][SCORE]))
    return storage.join(task.run_uri, run_folder.STATE, posixpath.basename(str(best.path).rstrip("/")))


def _trainer(tracks: Mapping[str, pa.Table], task: WorkerTask, plan: Workers, max_failures: int) -> _Trainer:
    """Return what trains on from the run's last checkpoint."""
    datasets = {split: place_dataset(rows) for split, rows in tracks.items()} if task.shared is None else {}
    # Not pyarrow's own, in which a full disk leaves the list of checkpoints empty, and the run cannot go on.
    fs, path = storage.output_filesystem(task.run_uri)
    wanted = {"CPU": plan.cpus, "GPU": plan.gpus}
    resources = {name: amount for name, amount in wanted.items() if amount}
    return _Trainer(
        train_worker,
        train_loop_config={"task": task},
        scaling_config=ScalingConfig(num_workers=plan.count, use_gpu=plan.gpu, resources_per_worker=resources),
        # Every worker gets all places of validation and takes its share: an equal split would drop rows.
        dataset_config=IngestConfig(datasets_to_split=["training"]),
        datasets=datasets,
        run_config=RunConfig(
            name=run_folder.STATE,
            storage_path=path,
            storage_filesystem=fs,
            checkpoint_config=CheckpointConfig(
                num_to_keep=1, checkpoint_score_attribute=SCORE, checkpoint_score_order="min"
            ),
            failure_config=FailureConfig(max_failures=max_failures),
        ),
    )


def _user_error(error: TrainingFailedError) -> str | None:
    """Return the line of the UserError that a worker, or Ray Train's controller, ended with."""
    cause = getattr(error, "controller_failure", None)
    return str(cause) if isinstance(cause, UserError) else user_error_in(error)


def check_history(run_uri: str) -> resume.History:
    """Return the run's epochs; raise UserError where its loss left the finite numbers."""
    history = resume.read_history(run_uri)
    if history and history[-1].get("diverged"):
        raise UserError(
            f"the loss was not a finite number in epoch {history[-1]['epoch']}: "
            "train into another folder with a lower --learning-rate"
        )
    return history
