"""The command line -> a job: the classes of arguments as subcommands, train with the flags of its architecture."""

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from genreray.arguments import (
    DEFAULT_MODEL,
    Demo,
    Evaluate,
    Extract,
    Job,
    Reproduce,
    Tag,
    Train,
    TrainingFlags,
    Tune,
)
from genreray.arguments_local import Fetch, Inspect, Review, Untag
from genreray.featureset import Labels

if TYPE_CHECKING:
    from genreray.winner import Winner

JOBS: dict[str, type[Job] | type[Fetch] | type[Untag] | type[Review] | type[Inspect]] = {
    "fetch": Fetch,
    "extract": Extract,
    "train": Train,
    "evaluate": Evaluate,
    "tag": Tag,
    "untag": Untag,
    "review": Review,
    "inspect": Inspect,
    "reproduce": Reproduce,
    "tune": Tune,
    "demo": Demo,
}


def parse(argv: list[str]) -> Any:
    """Return the job that the command line asks for, as an instance of one of the classes in JOBS.

    Raises UserError for values that no job takes; exits with 2 for flags that there are not, with 0 after --help.
    """
    types = {**JOBS, "train": _train_of(argv)} if argv[:1] == ["train"] else JOBS
    commands = tuple(Annotated[job, tyro.conf.subcommand(name=name)] for name, job in types.items())
    union: Any = commands[0]
    for command in commands[1:]:
        union = union | command
    return tyro.cli(
        union,
        args=argv,
        prog="genreray",
        description="Music genre classification as distributed batch jobs on Ray.",
        config=(tyro.conf.OmitSubcommandPrefixes, tyro.conf.HelptextFromCommentsOff, tyro.conf.FlagCreatePairsOff),
    )


def _train_of(argv: list[str]) -> type[Job]:
    """Return Train with the flags and defaults of the model that the command line names, or of its --config."""
    from genreray import models, winner  # not for who asks for another job
    from genreray.space import default_configs

    model, config = _said(argv, "--model"), _said(argv, "--config")
    if config is not None:
        return _train_with(winner.read(config, model))
    family = models.family(model or DEFAULT_MODEL)
    return _train_with(winner.Winner(model or DEFAULT_MODEL, default_configs(family)))


def _said(argv: list[str], flag: str) -> str | None:
    """Return the value of a flag, found before parsing as it decides which other flags there are, or their defaults."""
    for i, word in enumerate(argv):
        if word.startswith(f"{flag}="):
            return word.removeprefix(f"{flag}=")
        if word == flag and i + 1 < len(argv):
            return argv[i + 1]
    return None


def _train_with(start: "Winner") -> type[Job]:
    """Return Train with the flags of one architecture, and the settings that they begin from."""
    model, training = start.configs
    flags: list[Any] = [
        ("model", Annotated[str, tyro.conf.arg(metavar="NAME")], dataclasses.field(default=start.model)),
        ("labels", Labels, dataclasses.field(default=start.labels)),
        ("training", TrainingFlags, dataclasses.field(default=training)),
        ("architecture", Annotated[type(model), tyro.conf.arg(name="")], dataclasses.field(default=model)),
    ]
    made = dataclasses.make_dataclass("Train", flags, bases=(Train,), frozen=True, kw_only=True)
    made.__doc__ = Train.__doc__
    return made
