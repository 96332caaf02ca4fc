"""One track as a model sees it: what tag would say of it, and what is said of each window of its clip."""

import dataclasses
import functools

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from genreray import checkpoint, dataset, hierarchy, loop, storage, tables, track
from genreray.checkpoint import Checkpoint, Settings
from genreray.dataset import Clips
from genreray.errors import Status, TrackError, UserError
from genreray.isolation import DEFAULT_LIMITS, Limits, map_isolated

_CPU = torch.device("cpu")


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What a model makes of one track; of one that cannot be used, all after `error` is empty."""

    uri: str
    checkpoint: str  # its URI
    fingerprint: str
    settings: Settings
    status: str
    error: str | None = None
    duration: float = 0.0  # seconds decoded
    probabilities: dict[str, float] = dataclasses.field(default_factory=dict)  # as tag gives them, best first
    starts: NDArray[np.float64] = dataclasses.field(default_factory=lambda: np.empty(0))  # s, of each window [n]
    # of each window, [n, n_genres], in class order
    windows: NDArray[np.float32] = dataclasses.field(default_factory=lambda: np.empty((0, 0), np.float32))
    mel: NDArray[np.uint8] = dataclasses.field(default_factory=lambda: np.empty((0, 0), np.uint8))  # [n_mels, n_frames]
    mel_ref: float = 0.0  # dB of its 255

    @property
    def is_broken(self) -> bool:
        """Return whether the file cannot be used."""
        return self.status != Status.OK.value

    @property
    def window_seconds(self) -> float:
        """Return the length of a window: the clip's, where that is shorter, or where the model sees all of it."""
        config = self.settings.features
        return min(self.settings.crop_frames * config.hop_length / config.sr, self.duration)


def inspect(
    uri: str,
    checkpoint_uri: str,
    *,
    n_windows: int,
    model: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Inspection:
    """Return what the checkpoint makes of the file at `uri`, with `n_windows` windows spread evenly over its clip.

    They are fewer where the clip has not so many places, and one where the model sees the whole clip at once.
    The file is read as extract and tag do it, in a process of its own; what is wrong with it is `status` and `error`.
    `model` is a module that the user named. Raises UserError where the checkpoint cannot be used on files.
    """
    settings = checkpoint.load_settings(checkpoint_uri, model)
    if settings.statistics == checkpoint.FMA:
        raise UserError(
            f"{checkpoint_uri} was trained on FMA's own statistics of whole tracks, which files do not have: "
            "train without --fma-features"
        )
    trained = checkpoint.load(checkpoint_uri, model)
    uri = storage.absolute(uri)
    read = functools.partial(track.extract_tracks, config=settings.features)
    (columns,) = map_isolated(read, [uri], limits)
    if isinstance(columns, TrackError):
        columns = track.fault_columns(columns)
    of_model = (uri, storage.absolute(checkpoint_uri), trained.fingerprint, settings)
    if columns["status"] != Status.OK.value:
        return Inspection(*of_model, columns["status"], columns["error"])
    row = pa.Table.from_pylist([{"track_id": uri, "uri": uri, **columns}], schema=tables.FEATURES)
    clip = dataset.from_table(row, trained.model.inputs, settings.features, settings.genres)
    starts, windows = _over_time(trained, clip, n_windows)
    mel = np.frombuffer(columns["mel"], np.uint8).reshape(settings.features.n_mels, columns["n_frames"])
    return Inspection(
        *of_model,
        columns["status"],
        duration=columns["duration"],
        probabilities=_probabilities(trained, clip),
        starts=starts,
        windows=windows,
        mel=mel,
        mel_ref=columns["mel_ref"],
    )


def _probabilities(trained: Checkpoint, clip: Clips) -> dict[str, float]:
    settings = trained.settings
    found = loop.predict(
        trained.model,
        clip,
        crop_frames=settings.crop_frames,
        n_crops=settings.n_crops,
        device=_CPU,
        temperature=settings.temperature,
        hierarchy=settings.hierarchy(),
    )[0].tolist()
    ranked = sorted(zip(settings.genres, found, strict=True), key=lambda item: -item[1])
    return dict(ranked)


def _over_time(trained: Checkpoint, clip: Clips, n: int) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return where each window begins, in seconds [n], and its probabilities, [n, n_genres]."""
    settings = trained.settings
    places = max(0, int(clip.n_frames[0]) - settings.crop_frames) + 1
    n = 1 if set(clip.inputs) == {"mfcc_stats"} else min(n, places)
    logits = loop.crop_logits(trained.model, clip, crop_frames=settings.crop_frames, n_crops=n, device=_CPU)
    # Each window as if it were a clip of one crop.
    found = hierarchy.probabilities(logits[0][:, None, :], settings.hierarchy(), settings.temperature)
    frames = dataset.even_starts(clip.n_frames, settings.crop_frames, n)[0].numpy()
    return frames * (settings.features.hop_length / settings.features.sr), found.numpy()
