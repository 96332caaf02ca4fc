"""Each track once: which row counts where the parts of a table hold a track more than once."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genreray.errors import Status


def is_settled(table: pa.Table) -> bool:
    """Return whether no track_id occurs twice."""
    return int(pc.count_distinct(table.column("track_id")).as_py()) == len(table)


def counted(places: pa.Table) -> pa.Table:
    """Return one row of each track, in the order of `places` (track_id, status, part, row, and others).

    A row whose status is ok goes before one that failed, then the part that is first by name.
    """
    return places if is_settled(places) else places.filter(pa.array(_counts(places)))


def superseded(places: pa.Table) -> pa.Table:
    """Return the rows that `counted` leaves out."""
    return places.slice(0, 0) if is_settled(places) else places.filter(pa.array(~_counts(places)))


def _counts(places: pa.Table) -> np.ndarray:
    """Return for each row whether it is the one of its track that counts."""
    ordered = pa.table(
        {
            "track_id": places.column("track_id"),
            "failed": pc.not_equal(places.column("status"), Status.OK.value),
            "part": places.column("part").cast(pa.string()),
            "row": places.column("row"),
            "place": pa.array(np.arange(len(places))),
        }
    ).sort_by([(name, "ascending") for name in ("track_id", "failed", "part", "row")])
    tracks = ordered.column("track_id").combine_chunks().dictionary_encode().indices.to_numpy()
    counts = np.zeros(len(places), dtype=bool)
    counts[ordered.column("place").to_numpy()[np.diff(tracks, prepend=-1) != 0]] = True
    return counts
