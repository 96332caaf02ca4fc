"""One track as a model sees it: what tag would say of it, and what is said of each window of its clips."""

import dataclasses
import functools
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from genreray import checkpoint, dataset, hierarchy, loading, loop, scoring, spread, storage, tables, track
from genreray.checkpoint import Checkpoint, Settings
from genreray.dataset import Clips
from genreray.errors import Status, TrackError, UserError
from genreray.isolation import DEFAULT_LIMITS, Limits, map_isolated

_CPU = torch.device("cpu")


class SeenClip(NamedTuple):
    """A clip of the track as a picture."""

    start: float  # s into the track
    duration: float  # s
    mel: NDArray[np.uint8]  # [n_mels, n_frames]
    mel_ref: float  # dB of its 255


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What a model makes of one track; of one that cannot be used, all after `error` is empty."""

    uri: str
    checkpoint: str  # its URI
    fingerprint: str
    settings: Settings
    status: str
    error: str | None = None
    clips: list[SeenClip] = dataclasses.field(default_factory=list)
    probabilities: dict[str, float] = dataclasses.field(default_factory=dict)  # as tag gives them, best first
    # s into the track of each window, as many in each clip, [n]
    starts: NDArray[np.float64] = dataclasses.field(default_factory=lambda: np.empty(0))
    # of each window, [n, n_genres], in class order
    windows: NDArray[np.float32] = dataclasses.field(default_factory=lambda: np.empty((0, 0), np.float32))

    @property
    def is_broken(self) -> bool:
        """Return whether the file cannot be used."""
        return self.status != Status.OK.value

    @property
    def window_seconds(self) -> float:
        """Return the length of a window: the clip's, where that is shorter, or where the model sees all of it."""
        config = self.settings.features
        return min(self.settings.crop_frames * config.hop_length / config.sr, self.clips[0].duration)


def inspect(
    uri: str,
    checkpoint_uri: str,
    *,
    n_windows: int,
    n_clips: int = 1,
    model: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Inspection:
    """Return what the checkpoint makes of the file at `uri`, with about `n_windows` windows spread over its clips.

    There are at most `n_clips` of these, as `tag --coverage` takes them, and in each as many windows. They are fewer
    where a clip has not so many places, and one a clip where the model sees all of it at once.
    The file is read as extract and tag do it, in a process of its own; what is wrong with it is `status` and `error`.
    `model` is a module that the user named. Raises UserError where the checkpoint cannot be used on files.
    """
    settings = checkpoint.load_settings(checkpoint_uri, model)
    if settings.statistics == checkpoint.FMA:
        raise UserError(
            f"{checkpoint_uri} was trained on FMA's own statistics of whole tracks, which files do not have: "
            "train without --fma-features"
        )
    spread.check(n_clips, settings.features.duration)
    trained = checkpoint.load(checkpoint_uri, model)
    uri = storage.absolute(uri)
    read = functools.partial(track.extract_clips, config=settings.features, n_clips=n_clips)
    (columns,) = map_isolated(read, [uri], limits)
    if isinstance(columns, TrackError):
        columns = track.fault_columns(columns)
    of_model = (uri, storage.absolute(checkpoint_uri), trained.fingerprint, settings)
    if columns["status"] != Status.OK.value:
        return Inspection(*of_model, columns["status"], columns["error"])
    row = pa.Table.from_pylist([{"track_id": uri, "uri": uri, **columns}], schema=tables.FEATURES_OF_CLIPS)
    rows, _ = spread.clips_of(row)
    clips = loading.from_table(rows, trained.model.inputs, settings.features, settings.genres)
    seen = [_seen(row, settings) for row in columns["clips"]]
    starts, windows = _over_time(trained, clips, max(1, round(n_windows / len(clips))))
    return Inspection(
        *of_model,
        columns["status"],
        clips=seen,
        probabilities=_probabilities(trained, rows),
        starts=(starts + np.array([clip.start for clip in seen])[:, None]).ravel(),
        windows=windows,
    )


def _seen(row: track.Columns, settings: Settings) -> SeenClip:
    mel = np.frombuffer(row["mel"], np.uint8).reshape(settings.features.n_mels, row["n_frames"])
    return SeenClip(row["start"], row["duration"], mel, row["mel_ref"])


def _probabilities(trained: Checkpoint, rows: pa.Table) -> dict[str, float]:
    of_clips, _ = scoring.score(rows, trained, _CPU)
    found = spread.mean(of_clips, np.array([len(rows)]))[0].tolist()
    ranked = sorted(zip(trained.settings.genres, found, strict=True), key=lambda item: -item[1])
    return dict(ranked)


def _over_time(trained: Checkpoint, clips: Clips, n: int) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return where each of n windows a clip begins in it, s [n_clips, n], and the probabilities, [all, n_genres]."""
    settings = trained.settings
    places = max(0, int(clips.n_frames.min()) - settings.crop_frames) + 1
    n = 1 if set(clips.inputs) == {"mfcc_stats"} else min(n, places)
    logits = loop.crop_logits(trained.model, clips, crop_frames=settings.crop_frames, n_crops=n, device=_CPU)
    # Each window as if it were a clip of one crop.
    found = hierarchy.probabilities(logits.flatten(0, 1)[:, None, :], settings.hierarchy(), settings.temperature)
    frames = dataset.even_starts(clips.n_frames, settings.crop_frames, n).numpy()
    return frames * (settings.features.hop_length / settings.features.sr), found.numpy()
