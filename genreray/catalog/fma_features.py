"""The MFCC statistics in FMA's own features.csv (github.com/mdeff/fma), computed on whole tracks, not on clips."""

import csv
import io
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv as arrow_csv

from genreray import storage
from genreray.errors import UserError
from genreray.mfcc_stats import STATISTICS

N_MFCC = 20
_HEADER = ("feature", "statistics", "number")  # first cells of the rows that name a column
_INDEX = "track_id"  # first cell of the row below them, which is otherwise empty
_LONGEST = 1 << 20  # bytes of a header row (10 KB in FMA's): what is longer is another file
_BLOCK = 1 << 20  # bytes parsed at a time
_WANTED = [("mfcc", statistic, f"{i:02d}") for statistic in STATISTICS for i in range(1, N_MFCC + 1)]


def read(uri: str) -> pa.Table:
    """Return track_id (of six digits) and mfcc_stats (float32 [7, 20] as bytes, C order) of every track in the file.

    The file's 1 GB is streamed, and of its 518 columns 140 are parsed. mfcc_stats is null where a number is missing or
    not finite, as of a track that FMA could not decode. Raises UserError where the file is not FMA's features.csv.
    """
    places, n_header_rows = _places(uri)
    ids: list[pa.Array] = []
    stats: list[pa.Array] = []
    try:
        for batch in _batches(uri, places, n_header_rows):
            ids.append(batch.column(0))
            stats.append(_as_bytes(batch))
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{uri} is not FMA's features.csv: {str(error).splitlines()[0]}") from error
    track_ids = _checked(pa.chunked_array(ids, pa.string()), uri)
    return pa.table({"track_id": track_ids, "mfcc_stats": pa.chunked_array(stats, pa.binary())})


def _places(uri: str) -> tuple[list[int], int]:
    """Return the place of each column of _WANTED, in that order, and the number of rows before the first track."""
    if not storage.is_file(uri):
        raise UserError(f"{uri} is not a file: give FMA's features.csv, which is in fma_metadata.zip")
    n_lines = len(_HEADER) + 1
    with storage.open_file(uri) as file:
        start = io.BytesIO(file.read(n_lines * _LONGEST))  # s3fs's own lines have no limit
    lines = [start.readline(_LONGEST) for _ in range(n_lines)]
    try:
        rows = list(csv.reader((line.decode("utf-8-sig") for line in lines), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{uri} is not FMA's features.csv: {error}") from error
    if tuple(row[0] for row in rows[: len(_HEADER)] if row) != _HEADER:
        raise UserError(f"{uri} is not FMA's features.csv: its first rows do not begin with {', '.join(_HEADER)}")
    place = {column: i for i, column in enumerate(zip(*rows[: len(_HEADER)], strict=False))}
    if missing := [column for column in _WANTED if column not in place]:
        raise UserError(f"{uri} is not FMA's features.csv: it lacks the column {' '.join(missing[0])}")
    has_index = len(rows) > len(_HEADER) and rows[len(_HEADER)][:1] == [_INDEX]
    return [place[column] for column in _WANTED], len(_HEADER) + has_index


def _batches(uri: str, places: list[int], n_header_rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the track ids, as texts, and the columns at `places`, float32, block by block."""
    names = [f"f{place}" for place in (0, *places)]  # Arrow's own for columns without a header
    with (
        storage.open_file(uri) as file,
        arrow_csv.open_csv(
            file,
            arrow_csv.ReadOptions(skip_rows=n_header_rows, autogenerate_column_names=True, block_size=_BLOCK),
            convert_options=arrow_csv.ConvertOptions(
                include_columns=names,
                column_types={names[0]: pa.string(), **dict.fromkeys(names[1:], pa.float32())},
            ),
        ) as reader,
    ):
        yield from reader


def _as_bytes(batch: pa.RecordBatch) -> pa.Array:
    """Return all columns but the first, row by row, as binary: null where one is null or not finite."""
    columns = [column.to_numpy(zero_copy_only=False) for column in batch.columns[1:]]  # NaN for null
    values: NDArray[np.float32] = np.stack(columns, axis=1, dtype=np.float32)
    return pa.array([row.tobytes() if np.isfinite(row).all() else None for row in values], pa.binary())


def _checked(ids: pa.ChunkedArray, uri: str) -> pa.ChunkedArray:
    """Return the ids with six digits; raises UserError where one is no FMA id or is there twice."""
    is_id = pc.fill_null(pc.match_substring_regex(ids, "^[0-9]{1,6}$"), False)
    if not pc.all(is_id).as_py():
        raise UserError(f"{uri} is not FMA's features.csv: {ids.filter(pc.invert(is_id))[0].as_py()!r} is no track id")
    padded = pc.utf8_lpad(ids, 6, "0")
    counts = pc.value_counts(padded)
    again = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(again):
        raise UserError(f"{uri}: track {again[0]['values'].as_py()} is there twice")
    return padded
