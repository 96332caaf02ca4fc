"""A trained model as a folder: model.safetensors and config.json, all that tagging needs; nothing is unpickled."""

import dataclasses
import hashlib
import platform
from importlib import metadata
from typing import Any

import safetensors
import safetensors.torch
import torch

from genreray import __version__, models, storage
from genreray.errors import UserError
from genreray.features import FeatureConfig
from genreray.hierarchy import Hierarchy
from genreray.models import GenreModel, ModelConfig

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
_FORMAT = 1
CLIP, FMA = "clip", "fma"


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything beside the weights that a model needs to be rebuilt and used (config.json)."""

    model: str
    model_config: ModelConfig
    features: FeatureConfig
    genres: list[str]  # class order
    crop_frames: int
    n_crops: int  # evenly spaced crops averaged for a prediction
    training: dict[str, Any]  # how it was trained, for people
    metrics: dict[str, float]  # of the epoch that the weights are from
    temperature: float = 1.0  # logits are divided by it (calibration)
    statistics: str = CLIP  # what mfcc_stats are of: the clip, or (FMA) the whole track as in FMA's features.csv
    tree: dict[str, str] | None = None  # parent of each genre by child, {} without a tree; None: one genre a track
    thresholds: dict[str, float] = dataclasses.field(default_factory=dict)  # of several genres: by genre

    def build(self) -> GenreModel:
        """Return the network with fresh weights, kernels in the order of memory that convolutions are fastest in."""
        network = models.build(self.model, self.model_config, self.features, self.crop_frames, len(self.genres))
        # On CPUs forward passes take 0.3 to 0.75 of the time that they take otherwise; tensor cores want it too.
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network

    def hierarchy(self) -> Hierarchy | None:
        """Return what makes probabilities of several genres a track coherent; None where a track has one."""
        return None if self.tree is None else Hierarchy(self.genres, self.tree)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain values, with the versions that made them."""
        several = {"labels": {"parents": self.tree, "thresholds": self.thresholds}} if self.tree is not None else {}
        return {
            "format": _FORMAT,
            "model": {"name": self.model, **dataclasses.asdict(self.model_config)},
            "features": self.features.to_json(),
            "genres": self.genres,
            **several,
            "input": {"crop_frames": self.crop_frames, "n_crops": self.n_crops, "statistics": self.statistics},
            "calibration": {"temperature": self.temperature},
            "training": self.training,
            "metrics": self.metrics,
            "versions": versions(),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any], where: str) -> "Settings":
        """Return the settings that `to_json` gave; where they name a module as the model, that is imported.

        Raises UserError where they are not those of a checkpoint that this version reads.
        """
        if not isinstance(value, dict) or value.get("format") != _FORMAT:
            raise UserError(
                f"{where} is not the configuration of a checkpoint: give a folder that `genreray train` wrote"
            )
        try:
            model = dict(value["model"])
            name = model.pop("name")
            if not isinstance(name, str):
                raise TypeError("the model's name is no text")
            several = value.get("labels")  # only where a track has several genres
            return cls(
                model=name,
                model_config=models.config_from_json(name, model, where),
                features=FeatureConfig.from_json(value["features"], where),
                genres=list(value["genres"]),
                crop_frames=int(value["input"]["crop_frames"]),
                n_crops=int(value["input"]["n_crops"]),
                training=dict(value["training"]),
                metrics=dict(value["metrics"]),
                temperature=float(value["calibration"]["temperature"]),
                statistics=str(value["input"].get("statistics", CLIP)),
                tree=None if several is None else dict(several["parents"]),
                thresholds={} if several is None else _thresholds(several["thresholds"], value["genres"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{where} is damaged ({type(error).__name__}: {error}): train again, or copy it again"
            ) from error


def _thresholds(value: dict[str, float], genres: list[str]) -> dict[str, float]:
    """Return one for each genre; raises KeyError where one is missing."""
    return {genre: float(value[genre]) for genre in genres}


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A trained network, ready to predict."""

    settings: Settings
    model: GenreModel
    fingerprint: str  # first 16 hex digits of the SHA-256 of both files


def save(folder: str, model: torch.nn.Module, settings: Settings) -> None:
    """Write both files into `folder`, the weights first: where there is a config.json there is a checkpoint."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    storage.write_bytes(storage.join(folder, WEIGHTS), safetensors.torch.save(weights))
    storage.write_json(storage.join(folder, CONFIG), settings.to_json())


def load(folder: str, named: str | None = None, *, approved: str | None = None) -> Checkpoint:
    """Return the checkpoint in `folder` (a run's or a checkpoint's own), on the CPU and in evaluation mode.

    `approved` is the fingerprint of one whose settings the caller has loaded by `load_settings`, as a driver has for
    its workers. Raises UserError as `load_settings` does, where files are missing, damaged or do not fit each other,
    and where the checkpoint is not the approved one.
    """
    if approved is None:
        settings = load_settings(folder, named)
    elif fingerprint(folder) == approved:
        settings = Settings.from_json(*_config(folder))
    else:
        raise UserError(f"{folder} was changed while the job was running: run it again")
    content = _read(folder, WEIGHTS)
    model = settings.build()
    try:
        model.load_state_dict(safetensors.torch.load(content))
    except safetensors.SafetensorError as error:
        raise UserError(
            f"{storage.join(folder, WEIGHTS)} is damaged ({error}): train again, or copy it again"
        ) from error
    except RuntimeError as error:
        raise UserError(f"{storage.join(folder, WEIGHTS)} has other layers than its {CONFIG} says") from error
    return Checkpoint(settings, model.eval(), fingerprint(folder))


def load_settings(folder: str, named: str | None = None) -> Settings:
    """Return what config.json in `folder` says.

    A module that it names as its model is imported, which runs code, only where that is what the user `named`.
    Raises UserError where it is not, and where there is no checkpoint.
    """
    value, where = _config(folder)
    model = value.get("model") if isinstance(value, dict) else None
    name = model.get("name") if isinstance(model, dict) else None
    if isinstance(name, str) and name != named and not models.is_known(name):
        raise UserError(
            f"{where} is of the model {name!r}, which is none of genreray's, and to use it is to run its code: "
            "where you trust it, give it as --model too"
        )
    return Settings.from_json(value, where)


def _config(folder: str) -> tuple[Any, str]:
    """Return the value in config.json, and where that is."""
    _read(folder, CONFIG)
    where = storage.join(folder, CONFIG)
    return storage.read_json(where), where


def fingerprint(folder: str) -> str:
    """Return what tells one checkpoint from another: 16 hex digits of the SHA-256 of its files."""
    return hashlib.sha256(_read(folder, CONFIG) + _read(folder, WEIGHTS)).hexdigest()[:16]


def copy(source: str, folder: str) -> None:
    """Copy the checkpoint in `source` to `folder`, the weights first."""
    for name in (WEIGHTS, CONFIG):
        storage.write_bytes(storage.join(folder, name), _read(source, name))


def _read(folder: str, name: str) -> bytes:
    if not storage.exists(folder):
        raise UserError(f"there is no checkpoint {folder}: give a folder that `genreray train` wrote")
    where = storage.join(folder, name)
    if not storage.is_file(where):
        raise UserError(f"{folder} has no {name}: give a folder that `genreray train` wrote, and let it finish first")
    with storage.open_file(where) as file:
        content: bytes = file.read()
    return content


def versions() -> dict[str, str]:
    """Return the versions of what numbers depend on."""
    packages = ("ray", "torch", "librosa", "numpy", "soundfile", "soxr")
    return {
        "python": platform.python_version(),
        "genreray": __version__,
        **{name: metadata.version(name) for name in packages},
    }
