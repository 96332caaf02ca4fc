"""Rows of FEATURES -> tensors: whole clips kept as they are stored, and the crops of them that a model sees."""

import collections
import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from genreray import arrays, crops
from genreray.ahead import map_ahead
from genreray.arrays import MADE_OF
from genreray.device import fits, send
from genreray.features import FeatureConfig
from genreray.genres import all_of
from genreray.mfcc_stats import STATISTICS
from genreray.rows import Read, Rows

Room = Callable[[tuple[int, ...], type[np.generic]], NDArray[Any]]  # shape, dtype -> an array that is to be filled
NO_LABEL = -1  # the label of a clip whose genre is unknown
_DTYPES: Mapping[str, tuple[type[np.generic], torch.dtype]] = {
    "mel": (np.uint8, torch.uint8),
    "mfcc": (np.float16, torch.float16),
    "mfcc_stats": (np.float32, torch.float32),
}
_READERS = 2  # threads that read rows and put them into place


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
    return sum(math.prod(shape(name, config)) * np.dtype(_DTYPES[name][0]).itemsize for name in names)


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


def columns(names: Sequence[str]) -> list[str]:
    """Return the columns of FEATURES that clips with the inputs `names` are made of, each once."""
    return list(dict.fromkeys(MADE_OF.get(name, name) for name in names))


def from_table(table: pa.Table, names: Sequence[str], config: FeatureConfig, genres: Sequence[str]) -> Clips:
    """Return the clips of rows of FEATURES whose status is ok, with the inputs `names`.

    A label is the genre's place in `genres`; a genre that is not among them gives NO_LABEL. mfcc_stats are computed
    from `mfcc`, or taken as they are where the table has a column of that name (binary, float32 in C order).
    Raises UserError where those are missing for a track, or of another n_mfcc than `config` has.
    """
    return load([Read(table)], names, config, genres)


def load(
    rows: Sequence[Rows],
    names: Sequence[str],
    config: FeatureConfig,
    genres: Sequence[str],
    parents: Mapping[str, str] | None = None,
    room: Room = arrays.room,
) -> Clips:
    """Return the clips of all `rows`, as `from_table` does of a table, reading two at a time and each clip into place.

    With `parents`, the tree of genres by child (empty where there is none), labels are bool [n, n_genres], true for
    each of a clip's genres and for what is above them. `room` gives the arrays that the inputs are put into.
    """
    starts = [0, *itertools.accumulate(map(len, rows))]
    n = starts.pop()
    inputs = {name: torch.from_numpy(room((n, *shape(name, config)), _DTYPES[name][0])) for name in names}
    n_frames = torch.zeros(n, dtype=torch.int64)
    labels = no_labels(n, None if parents is None else len(genres))
    ids = [""] * n

    def place(start: int, some: Rows) -> None:
        for table in some.tables():
            places = slice(start, start + len(table))
            n_frames[places] = torch.from_numpy(table.column("n_frames").to_numpy().astype(np.int64))
            labels[places] = _labels(table, genres, parents)
            ids[places] = table.column("track_id").to_pylist()
            for name, x in inputs.items():
                arrays.fill(x[places].numpy(), name, table, n_frames[places].tolist())
            start = places.stop

    collections.deque(map_ahead(lambda job: place(*job), zip(starts, rows, strict=True), _READERS), maxlen=0)
    return Clips(ids, inputs, n_frames, labels)


def no_labels(n: int, n_genres: int | None) -> Tensor:
    """Return the labels of `n` clips without any: NO_LABEL, or none of several genres."""
    return torch.full((n,), NO_LABEL) if n_genres is None else torch.zeros((n, n_genres), dtype=torch.bool)


def _labels(table: pa.Table, genres: Sequence[str], parents: Mapping[str, str] | None) -> Tensor:
    place = {genre: i for i, genre in enumerate(genres)}
    one = table.column("genre").to_pylist()
    if parents is None:
        return torch.tensor([place.get(genre, NO_LABEL) for genre in one])
    labels = no_labels(len(table), len(genres))
    for row, (genre, several) in enumerate(zip(one, table.column("genres").to_pylist(), strict=True)):
        labels[row, [place[name] for name in all_of(genre, several, parents) if name in place]] = True
    return labels


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
