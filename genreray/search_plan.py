"""How a model is searched: the flags of `genreray tune`."""

import dataclasses
from typing import Annotated, Literal

import tyro

from genreray.errors import UserError
from genreray.featureset import Labels
from genreray.selection import SCORE, direction

Gpu = Literal["auto", "yes", "no"]
Method = Literal["tpe", "random", "grid"]
_UNSET = ""  # in place of "(default: None)"
_GRACE = 0.1  # of the epochs, which every trial gets where nothing else is said
_OF_ONE_GENRE = ("validation_accuracy", "validation_macro_f1")
_OF_SEVERAL = ("validation_mean_average_precision",)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """How a model is searched."""

    trials: int = 20
    """Configurations to try; the first is the model's defaults."""
    epochs: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint=_UNSET)] = None
    """Epochs of a trial that is not stopped before, instead of the model's own."""
    search: Method = "tpe"
    """How trials are chosen: by what the ones before came to (tpe, of Optuna), random, or grid."""
    metric: Annotated[str, tyro.conf.arg(metavar="NAME")] = SCORE
    """What trials are chosen and stopped by, of the validation split."""
    space: Annotated[str | None, tyro.conf.arg(metavar="FILE", help_behavior_hint=_UNSET)] = None
    """YAML file of the settings to search and their values, instead of the model's own space."""
    grace: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint=_UNSET)] = None
    """Epochs that every trial gets before it may be stopped, by default a tenth; as many as --epochs stop none."""
    reduction: float = 3.0
    """Of so many trials that come equally far one goes on, to as many times the epochs (ASHA)."""
    labels: Labels = "genre"
    """What is learnt of each track: its one genre, or all its genres, in FMA's tree where FEATURES are of FMA."""
    fma_features: Annotated[str | None, tyro.conf.arg(metavar="FILE", help_behavior_hint=_UNSET)] = None
    """FMA's features.csv: models on MFCC statistics take its own, of whole tracks, instead of those of the clips."""
    seed: int = 0
    """Seed of the search, and of every trial's training."""
    concurrent: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint=_UNSET)] = None
    """Trials at once, by default as many as the CPUs or GPUs are enough for."""
    workers: int = 1
    """Worker processes of each trial, each with a GPU or a share of the CPUs."""
    gpu: Gpu = "auto"
    """Train on GPUs: where there are any (auto), or an error where there are none (yes)."""
    gpus_per_trial: Annotated[float | None, tyro.conf.arg(metavar="NUMBER", help_behavior_hint=_UNSET)] = None
    """GPUs of each trial, by default one a worker; with one worker a share, such as 0.5 for two trials a GPU."""
    tensorboard: bool = False
    """Write event files for TensorBoard below RUN/tensorboard as well."""
    mlflow: Annotated[str | None, tyro.conf.arg(metavar="URI", help_behavior_hint=_UNSET)] = None
    """Write a run for each trial to this MLflow server or database as well; needs `pip install genreray[mlflow]`."""
    fresh: bool = False
    """Delete the search that RUN holds, and nothing else, and start over."""

    def __post_init__(self) -> None:
        direction(self.metric)
        for name in ("trials", "epochs", "concurrent", "workers", "grace"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name} is {value}: give 1 or more")
        if not 1 < self.reduction < float("inf"):
            raise UserError(f"reduction is {self.reduction}: give a number above 1")
        if self.metric in (_OF_ONE_GENRE if self.labels == "genres" else _OF_SEVERAL):
            raise UserError(f"{self.metric} is no metric of --labels {self.labels}: give another --metric")
        if self.gpus_per_trial is not None:
            self._check_gpus(self.gpus_per_trial)

    def _check_gpus(self, gpus: float) -> None:
        if self.gpu == "no":
            raise UserError("--gpus-per-trial and --gpu no do not go together: leave one out")
        if not (gpus == self.workers or (0 < gpus < 1 and self.workers == 1)):
            raise UserError(
                f"gpus per trial is {gpus:g} with {self.workers} workers: give as many as there are workers, "
                "or with one worker a share below 1"
            )

    def grace_of(self, epochs: int) -> int:
        """Return how many of its epochs every trial gets before it may be stopped."""
        return self.grace or max(1, round(_GRACE * epochs))
