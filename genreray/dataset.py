"""Clips in memory: whole, as they are stored, views of some of them, and the crops of them that a model sees."""

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from genreray import crops
from genreray.device import fits, send
from genreray.features import FeatureConfig
from genreray.mfcc_stats import STATISTICS

NO_LABEL = -1  # the label of a clip whose genre is unknown
DTYPES: Mapping[str, type[np.generic]] = {"mel": np.uint8, "mfcc": np.float16, "mfcc_stats": np.float32}  # as stored


@dataclasses.dataclass(frozen=True)
class Clips:
    """Whole clips in memory, in the types they are stored in; shorter ones are zero after their last frame."""

    track_ids: list[str]
    inputs: dict[str, Tensor]  # mel: uint8 [n, n_mels, frames]; mfcc: float16; mfcc_stats: float32 [n, 7, n_mfcc]
    n_frames: Tensor  # int64 [n]
    labels: Tensor  # int64 [n], NO_LABEL where unknown; of several genres a clip, bool [n, n_genres]

    def __len__(self) -> int:
        return len(self.track_ids)

    @property
    def device(self) -> torch.device:
        """Where the inputs are."""
        return next(iter(self.inputs.values())).device

    def to(self, device: torch.device) -> "Clips":
        """Return the clips on `device`."""
        inputs = {name: send(x, device) for name, x in self.inputs.items()}
        return Clips(self.track_ids, inputs, send(self.n_frames, device), send(self.labels, device))

    @property
    def nbytes(self) -> int:
        """Bytes of the inputs."""
        return len(self) * sum(math.prod(x.shape[1:]) * x.element_size() for x in self.inputs.values())

    def kept_on(self, device: torch.device) -> "Clips":
        """Return the clips with their inputs on `device` if that is a GPU with room for them; else as they are."""
        if not fits(self.nbytes, device):
            return self
        inputs = {name: x.to(device) for name, x in self.inputs.items()}
        # The rest stays, as the CPU draws batches and crops by it.
        return Clips(self.track_ids, inputs, self.n_frames, self.labels)

    def select(self, rows: Tensor) -> "Clips":
        """Return the clips of the given rows, int64 [m], in that order."""
        inputs = {name: _take(x, rows) for name, x in self.inputs.items()}
        ids = [self.track_ids[i] for i in rows.tolist()]
        return Clips(ids, inputs, self.n_frames[rows], self.labels[rows])

    def labelled(self) -> "Clips":
        """Return the clips that have a label, without a copy of their inputs."""
        known = self.labels != NO_LABEL if self.labels.ndim == 1 else self.labels.any(1)
        return self.view(torch.nonzero(known)[:, 0])

    def view(self, rows: Tensor) -> "View":
        """Return the clips of the given rows, int64 [m], in that order, without a copy of their inputs."""
        return View(self, rows)

    def batches(self, batch_size: int, generator: torch.Generator | None = None) -> Iterator["View"]:
        """Return every clip once in batches, shuffled where a generator is given; the last may be smaller.

        The order depends on the track ids and the generator alone, not on the order in which clips arrived.
        """
        order = self.in_order
        if generator is not None:
            order = order[torch.randperm(len(self), generator=generator)]
        return self.view(order).split(batch_size)

    @functools.cached_property
    def in_order(self) -> Tensor:
        """The rows by track id, int64 [n]."""
        return torch.tensor(sorted(range(len(self)), key=self.track_ids.__getitem__), dtype=torch.int64)


class View(Clips):
    """Some of the clips in memory, left where they are: crops are cut there, and `inputs` are copied when asked for."""

    def __init__(self, held: Clips, rows: Tensor) -> None:
        """Show the given rows, int64 [n], of `held`, whose frames and labels are on the CPU."""
        object.__setattr__(self, "held", held)
        object.__setattr__(self, "rows", rows)

    held: Clips
    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def device(self) -> torch.device:
        """Where the inputs are."""
        return self.held.device

    @property
    def nbytes(self) -> int:
        """Bytes of the inputs of these clips."""
        return len(self) * self.held.nbytes // max(len(self.held), 1)

    def kept_on(self, device: torch.device) -> Clips:
        """Return the clips with their inputs on `device` if that is a GPU with room for them; else as they are."""
        return self.select(torch.arange(len(self))).kept_on(device) if fits(self.nbytes, device) else self

    @functools.cached_property
    def track_ids(self) -> list[str]:
        """Those of the rows."""
        return [self.held.track_ids[i] for i in self.rows.tolist()]

    @functools.cached_property
    def inputs(self) -> dict[str, Tensor]:
        """A copy of those of the rows."""
        return {name: _take(x, self.rows) for name, x in self.held.inputs.items()}

    @functools.cached_property
    def n_frames(self) -> Tensor:
        """Those of the rows."""
        return self.held.n_frames[self.rows]

    @functools.cached_property
    def labels(self) -> Tensor:
        """Those of the rows."""
        return self.held.labels[self.rows]

    def select(self, rows: Tensor) -> Clips:
        """Return a copy of the clips of the given rows, int64 [m], in that order."""
        return self.held.select(self.rows[rows])

    def view(self, rows: Tensor) -> "View":
        """Return the clips of the given rows, int64 [m], in that order, without a copy of their inputs."""
        return View(self.held, self.rows[rows])

    def split(self, n: int) -> Iterator["View"]:
        """Yield `n` clips at a time.

        What is small of them is taken of all at once: between two batches' crops each operation begins with no code
        and no data of its own in the caches.
        """
        for rows, n_frames, labels in zip(
            self.rows.split(n), self.n_frames.split(n), self.labels.split(n), strict=True
        ):
            piece = View(self.held, rows)
            vars(piece).update(n_frames=n_frames, labels=labels)
            yield piece


def clip_bytes(names: Sequence[str], config: FeatureConfig) -> int:
    """Return the bytes that one clip of full length takes in memory with the inputs `names`."""
    return sum(math.prod(shape(name, config)) * np.dtype(DTYPES[name]).itemsize for name in names)


def n_bins(name: str, config: FeatureConfig) -> int:
    """Return the number of rows of the input `name`: n_mels, n_mfcc or 7."""
    return shape(name, config)[0]


def shape(name: str, config: FeatureConfig) -> tuple[int, int]:
    """Return the shape of the input `name` of one clip: (bins, frames of a full clip), (7, n_mfcc) for mfcc_stats."""
    return {
        "mel": (config.n_mels, config.max_frames),
        "mfcc": (config.n_mfcc, config.max_frames),
        "mfcc_stats": (len(STATISTICS), config.n_mfcc),
    }[name]


def no_labels(n: int, n_genres: int | None) -> Tensor:
    """Return the labels of `n` clips without any: NO_LABEL, or none of several genres."""
    return torch.full((n,), NO_LABEL) if n_genres is None else torch.zeros((n, n_genres), dtype=torch.bool)


def _take(x: Tensor, rows: Tensor) -> Tensor:
    """Return x[rows]; numpy copies whole clips of bytes ten times as fast as torch does on a CPU."""
    if x.device.type == "cpu":
        return torch.from_numpy(np.take(x.numpy(), rows.numpy(), axis=0))
    return x[send(rows, x.device)]


def random_starts(n_frames: Tensor, crop_frames: int, generator: torch.Generator) -> Tensor:
    """Draw the first frame of one crop of each clip: int64 [n], every place that fits equally likely."""
    room = (n_frames - crop_frames).clamp(min=0)
    draw = torch.rand(len(n_frames), generator=generator).to(n_frames.device)
    return (draw * (room + 1)).long().clamp(max=room)


def even_starts(n_frames: Tensor, crop_frames: int, n_crops: int) -> Tensor:
    """Return the first frames of crops spread evenly over each clip: int64 [n, n_crops], the middle for one."""
    room = (n_frames - crop_frames).clamp(min=0)
    places = torch.linspace(0, 1, n_crops) if n_crops > 1 else torch.tensor([0.5])
    return (room[:, None] * places.to(n_frames.device)[None, :]).round().long()


def crop(clips: Clips, starts: Tensor, crop_frames: int) -> dict[str, Tensor]:
    """Return each input's frames [start, start + crop_frames) of each clip: [n, bins, crop_frames], where the input is.

    A clip shorter than a crop is repeated from its beginning: padding with silence would teach a network
    to tell short clips rather than genres. mfcc_stats, which have no frames, are returned whole.
    """
    inputs = clips.held.inputs if isinstance(clips, View) else clips.inputs
    rows = clips.rows if isinstance(clips, View) else torch.arange(len(clips))
    whole = {name: _take(x, rows) for name, x in inputs.items() if name == "mfcc_stats"}
    framed = {name: x for name, x in inputs.items() if name not in whole}
    if not framed:
        return whole
    device = next(iter(framed.values())).device
    if starts.device.type == "cpu" and bool((starts + crop_frames <= clips.n_frames).all()):
        if not isinstance(clips, View) and all(x.shape[2] == crop_frames for x in framed.values()):
            return dict(inputs)
        return crops.of(framed, rows, starts, crop_frames) | whole
    starts, n_frames = starts.to(device), clips.n_frames.to(device)
    frames = (starts[:, None] + torch.arange(crop_frames, device=device)) % n_frames[:, None]  # [n, crop_frames]
    return {
        name: clips.inputs[name].gather(2, frames[:, None, :].expand(-1, x.shape[1], -1)) for name, x in framed.items()
    } | whole
