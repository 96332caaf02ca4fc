"""best.json: the configuration that a search found, from which `train --config` goes."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from genreray import models, space, storage
from genreray.errors import UserError
from genreray.featureset import Labels
from genreray.space import Configs

FILE_NAME = "best.json"
_JOB = "tune"


@dataclasses.dataclass(frozen=True)
class Winner:
    """What to train, and how it was found."""

    model: str
    configs: Configs
    labels: Labels = "genre"
    found: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # trial_id, metrics, ...: for people

    def to_json(self) -> dict[str, Any]:
        """Return plain values: all settings, those that were not searched too, so that new defaults change nothing."""
        return {
            "job": _JOB,
            "model": {"name": self.model, **dataclasses.asdict(self.configs.model)},
            "training": dataclasses.asdict(self.configs.training),
            "labels": self.labels,
            "found": dict(self.found),
        }


def write(uri: str, winner: Winner) -> None:
    """Write best.json; raises UserError where it cannot be written."""
    storage.write_json(uri, winner.to_json())


def read(uri: str, named: str | None = None) -> Winner:
    """Return what `write` wrote, or somebody edited; settings that it leaves out are the model's defaults.

    A module that it names as its model is imported, which runs code, only where that is what the user `named`.
    Raises UserError where it is of another form, or of another model than `named`, and for values that make no sense.
    """
    value = storage.read_json(uri)
    if not isinstance(value, dict) or value.get("job") != _JOB or not isinstance(value.get("model"), dict):
        raise UserError(f"{uri} is no configuration: give the best.json that `genreray tune` wrote")
    name, labels, training = value["model"].get("name"), value.get("labels", "genre"), value.get("training", {})
    if not isinstance(name, str) or not isinstance(training, dict) or labels not in ("genre", "genres"):
        raise UserError(f"{uri} is damaged: it has no name of a model, no training, or labels that there are not")
    if named is not None and named != name:
        raise UserError(f"{uri} is of the model {name}, not {named}: leave --model out, or give another file")
    if named is None and not models.is_known(name):
        raise UserError(
            f"{uri} is of the model {name!r}, which is none of genreray's, and to use it is to run its code: "
            "where you trust it, give it as --model too"
        )
    family = models.family(name)
    settings = {key: setting for key, setting in value["model"].items() if key != "name"}
    try:
        configs = space.apply({**settings, **training}, family)
    except UserError as error:
        raise UserError(f"{uri}: {error}") from error
    return Winner(name, configs, labels, value.get("found") or {})
