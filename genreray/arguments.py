"""The flags of each job, made from dataclasses: a field is a flag, its docstring the flag's help."""

import dataclasses
from typing import Annotated, ClassVar, Literal

import tyro

from genreray.errors import UserError
from genreray.features import FeatureConfig
from genreray.featureset import Labels
from genreray.isolation import DEFAULT_LIMITS, Limits
from genreray.outputs import Wanted
from genreray.recipe import TrainingConfig
from genreray.search_plan import SearchPlan

FeatureFlags = Annotated[FeatureConfig, tyro.conf.arg(name="")]
TrainingFlags = Annotated[TrainingConfig, tyro.conf.arg(name="")]
OutputFlags = Annotated[Wanted, tyro.conf.arg(name="")]
Gpu = Literal["auto", "yes", "no"]
DEFAULT_MODEL = "mel_cnn"
ALL_MODELS = "all"  # what --model of tune takes beside names
_UNSET = ""  # in place of "(default: None)": the text says what holds without the flag


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """Flags that every job has."""

    output: ClassVar[str]  # the flag that names what the job writes
    address: Annotated[str | None, tyro.conf.arg(metavar="ADDRESS", help_behavior_hint=_UNSET)] = None
    """Ray cluster to join: auto on one of its nodes, or host:port; by default RAY_ADDRESS, else Ray is started here."""
    verbose: bool = False
    """Show Ray's own log lines and progress bars."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CatalogJob(Job):
    """Flags of the jobs that read a catalog."""

    fma_metadata: Annotated[str | None, tyro.conf.arg(metavar="DIR", help_behavior_hint=_UNSET)] = None
    """Folder of FMA's tracks.csv and genres.csv; CATALOG is then FMA's audio folder."""
    subset: Annotated[
        Literal["small", "medium", "large", "full"] | None,
        tyro.conf.arg(metavar="small|medium|large|full", help_behavior_hint=_UNSET),
    ] = None
    """Subset of FMA, each holding the ones before; by default the one in the audio folder's name."""
    genre_column: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint=_UNSET)] = None
    """Column of a manifest that holds each track's genre; by default genre."""
    max_failed: float = 0.1
    """Share of the tracks, 0 to 1, that may fail before the job ends with exit code 1."""
    timeout: float = DEFAULT_LIMITS.seconds
    """Seconds that one track may take, from the store to its features, before it is given up."""
    retry_failed: bool = False
    """Do the tracks of CATALOG again that are in the output with a status other than ok."""
    fresh: bool = False
    """Delete what an earlier run of this job left in the output, and nothing else, and start over."""

    def __post_init__(self) -> None:
        if not 0 <= self.max_failed <= 1:
            raise UserError(f"max failed is {self.max_failed}: give a share from 0 to 1")
        Limits(self.timeout)  # refuses what makes no sense

    @property
    def limits(self) -> Limits:
        """What one track may take."""
        return Limits(self.timeout)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Extract(CatalogJob):
    """Compute the log-mel and MFCC of every track of CATALOG into FEATURES, a folder of Parquet files."""

    output: ClassVar[str] = "features"
    catalog: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CATALOG")]
    """Folder or bucket of audio files, or a manifest (.csv, .parquet, .jsonl) with a path column."""
    features: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FEATURES")]
    """Folder to write; run again, the tracks that it lacks are added."""
    split_seed: int = 0
    """Seed of the split into training, validation and test, where the catalog has none."""
    settings: FeatureFlags = dataclasses.field(default_factory=FeatureConfig)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Train(Job):
    """Train a network on FEATURES and leave its best epoch, by validation loss, in RUN."""

    output: ClassVar[str] = "run"
    features: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FEATURES")]
    """Folder that extract wrote."""
    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    """Folder to write; an interrupted run goes on after its last epoch."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME")] = DEFAULT_MODEL
    """Architecture; --model NAME --help shows the flags of each."""
    config: Annotated[str | None, tyro.conf.arg(metavar="FILE", help_behavior_hint=_UNSET)] = None
    """The best.json of a search: its model, labels and settings, unless other flags say otherwise."""
    labels: Labels = "genre"
    """What is learnt of each track: its one genre, or all its genres, in FMA's tree where FEATURES are of FMA."""
    fma_features: Annotated[str | None, tyro.conf.arg(metavar="FILE", help_behavior_hint=_UNSET)] = None
    """FMA's features.csv: models on MFCC statistics take its own, of whole tracks, instead of those of the clips."""
    workers: int = 1
    """Worker processes, each with a GPU or a share of the CPUs."""
    gpu: Gpu = "auto"
    """Train on GPUs: where there are any (auto), or an error where there are none (yes)."""
    fresh: bool = False
    """Delete the run that RUN holds, and nothing else, and start over."""
    training: TrainingFlags = dataclasses.field(default_factory=TrainingConfig)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluate(Job):
    """Score a checkpoint on a split of FEATURES: REPORT gets report.html, metrics.json and predictions.parquet."""

    output: ClassVar[str] = "report"
    features: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FEATURES")]
    """Folder that extract wrote."""
    report: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="REPORT")]
    """Folder to write; an earlier report in it is replaced."""
    checkpoint: Annotated[str, tyro.conf.arg(metavar="RUN")]
    """Folder that train wrote."""
    model: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint=_UNSET)] = None
    """The module that RUN was trained with (mypackage.mymodel), where it is none of genreray's: its code is run."""
    split: Literal["training", "validation", "test"] = "test"
    """Split to score."""
    fma_features: Annotated[str | None, tyro.conf.arg(metavar="FILE", help_behavior_hint=_UNSET)] = None
    """FMA's features.csv, where RUN was trained with it."""
    target_accuracy: Annotated[float | None, tyro.conf.arg(metavar="SHARE", help_behavior_hint=_UNSET)] = None
    """Accuracy, 0 to 1, that labels shall have: the report names the confidence that tag should ask for."""
    embedding: bool = False
    """Add a column with what the network's last layer sees of each track, a list of float32, for similarity search."""
    gpu: Gpu = "auto"
    """Predict on GPUs: where there are any (auto), or an error where there are none (yes)."""

    def __post_init__(self) -> None:
        if self.target_accuracy is not None and not 0 < self.target_accuracy <= 1:
            raise UserError(f"target accuracy is {self.target_accuracy}: give a share above 0, at most 1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tag(CatalogJob):
    """Label every track of CATALOG: TAGS gets predictions (Parquet) and tags.csv, the files their genre if asked."""

    output: ClassVar[str] = "tags"
    catalog: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CATALOG")]
    """Folder or bucket of audio files, or a manifest (.csv, .parquet, .jsonl) with a path column."""
    tags: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="TAGS")]
    """Folder to write; run again, the tracks that it lacks are added."""
    checkpoint: Annotated[str, tyro.conf.arg(metavar="RUN")]
    """Folder that train wrote; the features are computed with its settings."""
    model: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint=_UNSET)] = None
    """The module that RUN was trained with (mypackage.mymodel), where it is none of genreray's: its code is run."""
    coverage: int = 1
    """Clips spread evenly over each track, whose probabilities are averaged; 1 is the middle of the track alone."""
    top_k: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint=_UNSET)] = None
    """Genres of each track in tags.csv, best first; by default 3, of --labels genres all that reach a threshold."""
    embedding: bool = False
    """Add a column with what the network's last layer sees of each track, a list of float32, for similarity search."""
    gpu: Gpu = "auto"
    """Predict on GPUs: where there are any (auto), or an error where there are none (yes)."""
    wanted: OutputFlags = dataclasses.field(default_factory=Wanted)


def _every_model() -> str:
    from genreray.models import MODELS  # torch takes two seconds, for which the other jobs' flags shall not wait

    return ",".join(MODELS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reproduce(Job):
    """Train and score every system on FEATURES, the report's and better ones, and write one table of them to REPORT."""

    output: ClassVar[str] = "report"
    features: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FEATURES")]
    """Folder that extract wrote."""
    report: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="REPORT")]
    """Folder to write; run again, it goes on where it stopped."""
    models: Annotated[str, tyro.conf.arg(metavar="A,B,C")] = dataclasses.field(default_factory=_every_model)
    """Systems, separated by commas; by default all that there are."""
    seeds: int = 3
    """Times that each system is trained, from seed 0 on."""
    epochs: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint=_UNSET)] = None
    """Epochs of every network, instead of each system's own."""
    split: Literal["validation", "test"] = "test"
    """Split to score."""
    fma_features: Annotated[str | None, tyro.conf.arg(metavar="FILE", help_behavior_hint=_UNSET)] = None
    """FMA's features.csv: systems on MFCC statistics take its own, of whole tracks, instead of those of the clips."""
    workers: int = 1
    """Worker processes, each with a GPU or a share of the CPUs."""
    gpu: Gpu = "auto"
    """Train on GPUs: where there are any (auto), or an error where there are none (yes)."""
    fresh: bool = False
    """Delete the table and the runs that REPORT holds, and nothing else, and start over."""

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise UserError(f"seeds is {self.seeds}: give 1 or more")
        if self.epochs is not None and self.epochs < 1:
            raise UserError(f"epochs is {self.epochs}: give 1 or more")
        if not any(self.names):
            raise UserError("models is empty: give one or more names, separated by commas")

    @property
    def names(self) -> list[str]:
        """The systems, each once."""
        return list(dict.fromkeys(name for name in (part.strip() for part in self.models.split(",")) if name))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tune(Job):
    """Search the settings of a model on validation: RUN gets the best one's checkpoint, best.json and report.html."""

    output: ClassVar[str] = "run"
    features: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FEATURES")]
    """Folder that extract wrote."""
    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    """Folder to write; an interrupted search goes on, and so does one that shall have more trials."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME")] = DEFAULT_MODEL
    """Architecture, or all: each in turn, in a folder of its name below RUN, and one table of them."""
    plan: Annotated[SearchPlan, tyro.conf.arg(name="")] = dataclasses.field(default_factory=SearchPlan)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Demo(Job):
    """Make a small generated catalog in DIR and run extract, train, evaluate and tag on it."""

    output: ClassVar[str] = "folder"
    folder: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")] = "demo"
    """Folder to write; run again, only what is missing is done."""
