"""FEATURES as a Ray Dataset of places, and of the rows that lie there."""

from collections.abc import Sequence

import pyarrow as pa
import ray.data

from genreray import part_rows

_ROWS_PER_BLOCK = 256  # some 50 MB of features: what a block costs Ray is then little beside reading it


def place_dataset(index: pa.Table) -> "ray.data.Dataset":
    """Return where the given rows of `FeatureSet.index` lie: part, row, and `mfcc_stats` where it has that.

    Whoever gets a share of the places reads the rows themselves: Ray then moves and splits numbers instead of clips,
    which was measured at 5 times the rate of a reading task that hands on what it read, and that at 5 times the rate
    of `ray.data.read_parquet` (docs/benchmarks.md).
    """
    places = index.select([name for name in ("part", "row", "mfcc_stats") if name in index.schema.names])
    blocks = [places.slice(i, _ROWS_PER_BLOCK) for i in range(0, len(places), _ROWS_PER_BLOCK)]
    # As plain strings: each block would carry the names of all parts.
    return ray.data.from_arrow([block.set_column(0, "part", block["part"].cast(pa.string())) for block in blocks])


def row_dataset(index: pa.Table, columns: Sequence[str]) -> "ray.data.Dataset":
    """Return the given columns of the rows of `FeatureSet.index`, read from Parquet as they are asked for."""
    return place_dataset(index).map_batches(
        _read_rows, fn_kwargs={"columns": list(columns)}, batch_size=None, batch_format="pyarrow"
    )


def _read_rows(places: pa.Table, columns: list[str]) -> pa.Table:
    return pa.concat_tables(part_rows.read(places, columns)).combine_chunks()
