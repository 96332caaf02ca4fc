"""Rows of parts by their places (part, row): of a disk read a row group at a time, by several threads."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from genreray import parts, storage
from genreray.ahead import map_ahead
from genreray.errors import UserError

_PARTS_AHEAD = 2  # some tens of megabytes each


@dataclasses.dataclass(frozen=True)
class Run:
    """Some rows of one part."""

    places: pa.Table  # part, row; further columns come with the rows, in place of the part's own
    columns: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.places)

    def tables(self) -> Iterator[pa.Table]:
        """Yield the columns of these rows in their order: of a disk one row group at a time, of a store all at once.

        Whoever uses each before asking for the next has its memory taken again for that.
        Raises UserError where the part is damaged, or has not that many rows any more.
        """
        given = [name for name in self.places.schema.names if name not in ("part", "row")]
        asked = [name for name in self.columns if name not in given]
        if not asked:
            yield self.places.select(given)
            return
        uri, rows = self.places.column("part")[0].as_py(), self.places.column("row").to_numpy()
        start = 0
        with parts.opened(uri) as file:
            if rows.max() >= file.metadata.num_rows:
                raise UserError(f"{uri} has lost rows since its folder was read: run the same command again")
            for groups, rows_of_these in _by_row_group(file, rows, storage.is_local(uri)):
                table = file.read_row_groups(groups, asked, use_threads=False)
                # Whole ones, the most frequent, are not copied.
                if not np.array_equal(rows_of_these, np.arange(len(table))):
                    table = table.take(rows_of_these)
                for name in given:
                    table = table.append_column(name, self.places.column(name).slice(start, len(table)))
                start += len(table)
                yield table


def runs(places: pa.Table, columns: Sequence[str]) -> list[Run]:
    """Cut `places` where the part changes; `columns` are what is to be read."""
    return [Run(run, tuple(columns)) for run in parts.runs(places)]


def read(places: pa.Table, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yield the given columns of the rows at `places`, in that order: a table for each run of one part.

    Further columns of `places` come with them, as in a `Run`. The next parts are read while one is used.
    Raises UserError where a part is damaged.
    """
    return map_ahead(lambda run: pa.concat_tables(run.tables()), runs(places, columns), _PARTS_AHEAD)


def _by_row_group(
    file: pq.ParquetFile, rows: NDArray[np.int64], singly: bool
) -> Iterator[tuple[list[int], NDArray[np.int64]]]:
    """Yield row groups, and which of their rows are wanted, until all of `rows` are; each group once.

    `singly` is for rows that ascend: to and fro, groups would be read again and again. Each request to a store takes
    its time.
    """
    sizes = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
    ends = np.cumsum(sizes)
    groups = np.searchsorted(ends, rows, side="right")
    if not singly or (np.diff(groups) < 0).any():
        used = np.unique(groups)
        starts = np.zeros(len(sizes), np.int64)
        starts[used] = np.cumsum([0, *(sizes[i] for i in used[:-1])])
        yield used.tolist(), rows - (ends[groups] - np.array(sizes)[groups]) + starts[groups]
        return
    for first, end in itertools.pairwise([0, *(np.flatnonzero(np.diff(groups)) + 1), len(rows)]):
        group = int(groups[first])
        yield [group], rows[first:end] - (ends[group] - sizes[group])
