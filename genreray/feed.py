"""FEATURES as a Ray Dataset of the rows that training and prediction read."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import ray.data

from genreray import parts, tables
from genreray.featureset import FeatureSet

_ROWS_PER_BLOCK = 256  # some 50 MB: what a block costs Ray is then little beside reading it


def row_dataset(
    features: FeatureSet,
    columns: Sequence[str],
    *,
    split: str | None = None,
    usable_only: bool = False,
    num_cpus: float = 1.0,
) -> "ray.data.Dataset":
    """Return the given columns of the rows in `split` (or all), read from Parquet as they are asked for.

    `usable_only` leaves out rows that cannot be learnt from (no features, no genre). Parts without such rows are
    not opened.
    """
    blocks = [pa.table({"part": files}) for files in features.blocks(split, usable_only, _ROWS_PER_BLOCK)]
    # The list of parts is the dataset, read by a map: measured at 5 times the rate of ray.data.read_parquet,
    # which lists, samples and splits the files again (docs/benchmarks.md).
    return ray.data.from_arrow(blocks).map_batches(
        _read_rows,
        fn_kwargs={"columns": list(columns), "split": split, "usable_only": usable_only},
        batch_size=None,
        batch_format="pyarrow",
        num_cpus=num_cpus,
    )


def _read_rows(block: pa.Table, columns: list[str], split: str | None, usable_only: bool) -> pa.Table:
    needed = [*columns, *(name for name in ("split", "status", "genre") if name not in columns)]
    rows = parts.read(block.column("part").to_pylist(), needed, tables.FEATURES)
    keep = pc.scalar(True) if split is None else pc.equal(pc.field("split"), split)
    if usable_only:
        keep = keep & FeatureSet.usable_rows()
    # Parts hold one split each, but for the last: most blocks are kept whole, without a copy.
    return rows.select(columns) if _all(rows, keep) else rows.filter(keep).select(columns)


def _all(rows: pa.Table, condition: pc.Expression) -> bool:
    small = rows.select(["split", "status", "genre"])
    return len(small.filter(condition)) == len(small)
