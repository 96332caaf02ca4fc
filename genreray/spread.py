"""Several clips of a track, spread over it: as rows of their own, and what is said of them as one answer."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from genreray import tables
from genreray.errors import Status, UserError

_MOST_SECONDS = 3600.0  # of sound a track: the memory of the process that decodes it


def check(n_clips: int, duration: float) -> None:
    """Raise UserError where so many clips of `duration` seconds cannot be taken of a track."""
    most = max(1, int(_MOST_SECONDS / duration))
    if not 1 <= n_clips <= most:
        raise UserError(
            f"coverage is {n_clips}: give 1 to {most}, the clips of {duration:g} s in {_MOST_SECONDS / 60:g} minutes"
        )


def clips_of(rows: pa.Table) -> tuple[pa.Table, NDArray[np.int64]]:
    """Return the clips of the rows whose status is ok, a row of FEATURES each, and how many each of these rows has.

    `rows` are FEATURES, where a track is its one clip, or FEATURES_OF_CLIPS.
    """
    tracks = rows.filter(pc.equal(rows.column("status"), Status.OK.value))
    name = tables.CLIPS.name
    if name not in rows.schema.names:
        return tracks, np.ones(len(tracks), np.int64)
    clips = tracks.column(name).combine_chunks()
    clips = clips.combine_chunks() if isinstance(clips, pa.ChunkedArray) else clips
    counts = pc.list_value_length(clips).to_numpy().astype(np.int64)
    found = tracks.drop_columns([name]).take(pc.list_parent_indices(clips))
    for field, values in zip(tables.CLIPS.type.value_type, clips.flatten().flatten(), strict=True):
        found = found.append_column(field, values)
    return found, counts


def mean(values: NDArray[np.float32], counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the mean of each track's rows, [n_tracks, ...], from those of its clips, [sum of counts, ...]."""
    if (counts == 1).all():
        return values
    first = np.cumsum(counts) - counts
    sums: NDArray[np.float32] = np.add.reduceat(values, first, axis=0) if len(counts) else values
    return sums / counts.astype(np.float32).reshape(-1, *[1] * (values.ndim - 1))
