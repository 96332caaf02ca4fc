"""Rows of FEATURES -> clips in memory, each put into its place by the thread that read it."""

import collections
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from genreray import arrays, dataset
from genreray.ahead import map_ahead
from genreray.arrays import MADE_OF
from genreray.dataset import Clips
from genreray.features import FeatureConfig
from genreray.genres import all_of
from genreray.rows import Read, Rows

Room = Callable[[tuple[int, ...], type[np.generic]], NDArray[Any]]  # shape, dtype -> an array that is to be filled
_READERS = 2  # threads that read rows and put them into place


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
    inputs = {name: torch.from_numpy(room((n, *dataset.shape(name, config)), dataset.DTYPES[name])) for name in names}
    n_frames = torch.zeros(n, dtype=torch.int64)
    labels = dataset.no_labels(n, None if parents is None else len(genres))
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


def _labels(table: pa.Table, genres: Sequence[str], parents: Mapping[str, str] | None) -> Tensor:
    place = {genre: i for i, genre in enumerate(genres)}
    one = table.column("genre").to_pylist()
    if parents is None:
        return torch.tensor([place.get(genre, dataset.NO_LABEL) for genre in one])
    labels = dataset.no_labels(len(table), len(genres))
    for row, (genre, several) in enumerate(zip(one, table.column("genres").to_pylist(), strict=True)):
        labels[row, [place[name] for name in all_of(genre, several, parents) if name in place]] = True
    return labels
