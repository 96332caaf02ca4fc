"""Rows of FEATURES -> tensors: whole clips kept as they are stored, and the crops of them that a model sees."""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from genreray.errors import UserError
from genreray.features import FeatureConfig
from genreray.genres import all_of
from genreray.mfcc_stats import STATISTICS, mfcc_stats

NO_LABEL = -1  # the label of a clip whose genre is unknown
_DTYPES: Mapping[str, tuple[type[np.generic], torch.dtype]] = {
    "mel": (np.uint8, torch.uint8),
    "mfcc": (np.float16, torch.float16),
    "mfcc_stats": (np.float32, torch.float32),
}
_MADE_OF = {"mfcc_stats": "mfcc"}  # inputs that are computed, and the column that they are computed from


@dataclasses.dataclass(frozen=True)
class Clips:
    """Whole clips in memory, in the types they are stored in; shorter ones are zero after their last frame."""

    track_ids: list[str]
    inputs: dict[str, Tensor]  # mel: uint8 [n, n_mels, frames]; mfcc: float16; mfcc_stats: float32 [n, 7, n_mfcc]
    n_frames: Tensor  # int64 [n]
    labels: Tensor  # int64 [n], NO_LABEL where unknown; of several genres a clip, bool [n, n_genres]

    def __len__(self) -> int:
        return len(self.track_ids)

    def to(self, device: torch.device) -> "Clips":
        """Return the clips on `device`."""
        inputs = {name: x.to(device, non_blocking=True) for name, x in self.inputs.items()}
        return Clips(self.track_ids, inputs, self.n_frames.to(device), self.labels.to(device))

    def select(self, rows: Tensor) -> "Clips":
        """Return the clips of the given rows, int64 [m], in that order."""
        inputs = {name: _take(x, rows) for name, x in self.inputs.items()}
        ids = [self.track_ids[i] for i in rows.tolist()]
        return Clips(ids, inputs, self.n_frames[rows], self.labels[rows])

    def labelled(self) -> "Clips":
        """Return the clips that have a label."""
        known = self.labels != NO_LABEL if self.labels.ndim == 1 else self.labels.any(1)
        return self.select(torch.nonzero(known)[:, 0])

    def batches(self, batch_size: int, generator: torch.Generator | None = None) -> Iterator["Clips"]:
        """Yield every clip once in batches, shuffled where a generator is given; the last may be smaller.

        The order depends on the track ids and the generator alone, not on the order in which clips arrived.
        """
        order = torch.tensor(sorted(range(len(self)), key=self.track_ids.__getitem__), dtype=torch.int64)
        if generator is not None:
            order = order[torch.randperm(len(self), generator=generator)]
        for rows in order.split(batch_size):
            yield self.select(rows)


@dataclasses.dataclass(frozen=True)
class SharedClips(Clips):
    """Some of the clips in memory that others look at too: `inputs` has all, `rows` which of them these are."""

    rows: Tensor  # int64 [n]

    def select(self, rows: Tensor) -> Clips:
        """Return a copy of the clips of the given rows, int64 [m], in that order."""
        inputs = {name: _take(x, self.rows[rows]) for name, x in self.inputs.items()}
        ids = [self.track_ids[i] for i in rows.tolist()]
        return Clips(ids, inputs, self.n_frames[rows], self.labels[rows])


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
    return list(dict.fromkeys(_MADE_OF.get(name, name) for name in names))


def from_table(table: pa.Table, names: Sequence[str], config: FeatureConfig, genres: Sequence[str]) -> Clips:
    """Return the clips of rows of FEATURES whose status is ok, with the inputs `names`.

    A label is the genre's place in `genres`; a genre that is not among them gives NO_LABEL. mfcc_stats are computed
    from `mfcc`, or taken as they are where the table has a column of that name (binary, float32 in C order).
    Raises UserError where those are missing for a track, or of another n_mfcc than `config` has.
    """
    return load([table], len(table), names, config, genres)


def load(
    tables: Iterable[pa.Table],
    n: int,
    names: Sequence[str],
    config: FeatureConfig,
    genres: Sequence[str],
    parents: Mapping[str, str] | None = None,
) -> Clips:
    """Return the clips of all `tables`, at most `n`, as `from_table` does of one, holding each in memory once.

    With `parents`, the tree of genres by child (empty where there is none), labels are bool [n, n_genres], true for
    each of a clip's genres and for what is above them.
    """
    inputs = {name: _room(n, name, config) for name in names}
    n_frames = torch.zeros(n, dtype=torch.int64)
    labels = no_labels(n, None if parents is None else len(genres))
    ids: list[str] = []
    for table in tables:
        table = table.slice(0, n - len(ids))
        rows = slice(len(ids), len(ids) + len(table))
        n_frames[rows] = torch.from_numpy(table.column("n_frames").to_numpy().astype(np.int64))
        labels[rows] = _labels(table, genres, parents)
        for name, room in inputs.items():
            _fill(room[rows].numpy(), name, table, n_frames[rows].tolist())
        ids += table.column("track_id").to_pylist()
    count = len(ids)
    return Clips(ids, {name: room[:count] for name, room in inputs.items()}, n_frames[:count], labels[:count])


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
    return torch.from_numpy(np.take(x.numpy(), rows.numpy(), axis=0)) if x.device.type == "cpu" else x[rows]


def _room(n: int, name: str, config: FeatureConfig) -> Tensor:
    # Made by numpy, which asks the system for huge pages: the first touch of small ones costs more than the copy.
    return torch.from_numpy(np.zeros((n, *shape(name, config)), dtype=_DTYPES[name][0]))


def _fill(out: NDArray[np.generic], name: str, table: pa.Table, n_frames: Sequence[int]) -> None:
    """Put the input `name` of each row of `table` into `out`, a clip a row."""
    column = name if name in table.schema.names else _MADE_OF.get(name, name)
    # as_buffer() is a view into Arrow's memory: the only copy is the one into `out`.
    buffers = (value.as_buffer() for chunk in table.column(column).chunks for value in chunk)
    if column == "mfcc_stats":
        _copy_stats(buffers, table.column("track_id").to_pylist(), out)
    elif name == "mfcc_stats":
        for i, buffer in enumerate(buffers):
            out[i] = mfcc_stats(np.frombuffer(buffer, np.float16).reshape(out.shape[2], n_frames[i]))
    else:
        for i, buffer in enumerate(buffers):
            out[i, :, : n_frames[i]] = np.frombuffer(buffer, out.dtype).reshape(out.shape[1], n_frames[i])


def _copy_stats(buffers: Iterable[pa.Buffer | None], track_ids: Sequence[str], out: NDArray[np.generic]) -> None:
    """Copy statistics that were not computed here, and so may be of anything, into `out`."""
    for i, buffer in enumerate(buffers):
        if buffer is None:
            raise UserError(f"track {track_ids[i]} has no mfcc_stats: leave it out, or compute them for all tracks")
        if buffer.size != out[i].nbytes:
            raise UserError(
                f"track {track_ids[i]} has mfcc_stats of {buffer.size // 4} numbers, where {out[i].size} are wanted"
                f" ({out.shape[1]} x n_mfcc): extract features with the n_mfcc that they have"
            )
        out[i] = np.frombuffer(buffer, out.dtype).reshape(out.shape[1:])


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
    """Return each input's frames [start, start + crop_frames) of each clip: [n, bins, crop_frames].

    A clip shorter than a crop is repeated from its beginning: padding with silence would teach a network
    to tell short clips rather than genres. mfcc_stats, which have no frames, are returned whole.
    """
    whole = {name: x for name, x in clips.inputs.items() if name == "mfcc_stats"}
    framed = {name: x for name, x in clips.inputs.items() if name not in whole}
    if not framed:
        return whole
    if starts.device.type == "cpu" and bool((starts + crop_frames <= clips.n_frames).all()):
        # Runs of frames copied clip by clip: five times as fast there as gathering every value by its index.
        ends = [(start, start + crop_frames) for start in starts.tolist()]
        crops = {
            name: torch.stack([clip[:, start:end] for clip, (start, end) in zip(x, ends, strict=True)])
            for name, x in framed.items()
        }
        return crops | whole
    frames = starts[:, None] + torch.arange(crop_frames, device=starts.device)  # [n, crop_frames]
    frames = frames % clips.n_frames[:, None]
    return {name: x.gather(2, frames[:, None, :].expand(-1, x.shape[1], -1)) for name, x in framed.items()} | whole
