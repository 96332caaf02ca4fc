"""The binary columns of FEATURES in Arrow's memory -> arrays, a clip a row."""

import weakref
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from genreray.errors import UserError
from genreray.mfcc_stats import mfcc_stats

MADE_OF = {"mfcc_stats": "mfcc"}  # inputs that are computed, and the column that they are computed from


def room(shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[np.generic]:
    """Return an array of this shape that is to be filled, by numpy and not by torch: it asks for huge pages.

    The first touch of small ones costs more than the copy of what comes there.
    """
    return np.empty(shape, dtype)


class Rooms:
    """Gives out arrays like `room`, and takes each again once nobody has it any more, with all that was made of it.

    The system clears every page of new memory, and the C library gives back what is large: for clips that come and go
    this takes as long as copying them into their places.
    """

    def __init__(self, n: int) -> None:
        """Make arrays for `n` clips, the most that will be asked for."""
        self._n = n
        self._left: dict[tuple[tuple[int, ...], type[np.generic]], list[NDArray[np.generic]]] = {}

    def __call__(self, shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[np.generic]:
        """Return an array of this shape that is to be filled."""
        left = self._left.setdefault((shape[1:], dtype), [])
        try:
            whole = left.pop()
        except IndexError:
            whole = room((self._n, *shape[1:]), dtype)
        # By way of a memoryview: slices of a slice would hold the whole alone, and nobody waits for the end of that.
        given = np.asarray(memoryview(whole[: shape[0]]))  # type: ignore[arg-type]
        weakref.finalize(given, left.append, whole)
        return given


def fill(out: NDArray[np.generic], name: str, table: pa.Table, n_frames: Sequence[int]) -> None:
    """Put the input `name` of each row of `table` into `out`, a clip a row, beyond whose frames there are zeros.

    Raises UserError where statistics that a table brings are missing for a track, or of another n_mfcc.
    """
    column = name if name in table.schema.names else MADE_OF.get(name, name)
    # as_buffer() is a view into Arrow's memory: the only copy is the one into `out`.
    buffers = (value.as_buffer() for chunk in table.column(column).chunks for value in chunk)
    if column == "mfcc_stats":
        _copy_stats(buffers, table.column("track_id").to_pylist(), out)
    elif name == "mfcc_stats":
        for i, buffer in enumerate(buffers):
            out[i] = mfcc_stats(np.frombuffer(buffer, np.float16).reshape(out.shape[2], n_frames[i]))
    else:
        start = 0
        for chunk in table.column(column).chunks:
            _copy_clips(chunk, out[start : start + len(chunk)], n_frames[start : start + len(chunk)])
            start += len(chunk)


def _copy_clips(chunk: pa.Array, out: NDArray[np.generic], n_frames: Sequence[int]) -> None:
    """Copy binary values, [bins, n_frames] each, to `out`, with zeros behind them; in one go where all are full."""
    if not len(chunk):
        return
    if pa.types.is_binary(chunk.type) and not chunk.null_count and min(n_frames) == out.shape[2]:
        _, offsets, data = chunk.buffers()
        ends = np.frombuffer(offsets, np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
        if (np.diff(ends) == out[0].nbytes).all():
            out[:] = np.frombuffer(data, out.dtype, out.size, offset=int(ends[0])).reshape(out.shape)
            return
    for i, value in enumerate(chunk):
        out[i, :, : n_frames[i]] = np.frombuffer(value.as_buffer(), out.dtype).reshape(out.shape[1], n_frames[i])
        out[i, :, n_frames[i] :] = 0


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
