"""PREDICTIONS at a glance: what they say as a whole, why tracks failed, and the tracks they are least sure of."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from genreray import once, part_rows, parts, tables
from genreray.errors import Status
from genreray.outputs.answers import View

N_BINS = 20  # of confidence, from 0 to 1

_GLANCE = ["track_id", "status", "genre", "confidence"]  # all that is read of most tracks
_OF_DOUBTFUL = ["track_id", "uri", "status", "genre", "confidence", "genres", "true_genre"]
_OF_FAILED = ["track_id", "uri", "status", "error"]
_NO_GENRE = -1.0  # before all confidences: nobody has said anything of such a track

Row = dict[str, Any]  # of PREDICTIONS


@dataclasses.dataclass(frozen=True)
class GenreCount:
    """How many tracks were given a genre, and how sure the model was of them on average."""

    genre: str
    tracks: int
    confidence: float


@dataclasses.dataclass(frozen=True)
class Overview:
    """What there is to be seen of many predictions."""

    counts: dict[str, int]  # tracks per status, most frequent first
    genres: list[GenreCount]  # most frequent first
    without_genre: int  # tracks that are ok, and whose genre is null
    confidences: NDArray[np.int64]  # tracks in each of N_BINS bins of confidence
    doubtful: list[Row]  # least sure first, those without a genre before all others
    failures: dict[str, list[Row]]  # a few of each status, by track id


def overview(files: Sequence[str], n_doubtful: int, view: View | None = None, n_failures: int = 5) -> Overview:
    """Return what the predictions in the given parts say, with `n_doubtful` of the least sure at most.

    Genres and confidences are those of `view`, by default the model's own. Of a track four small columns are held, some
    hundreds of bytes; all else is read for those that are shown alone, and with a view the genres, a part at a time.
    Raises UserError where a part is damaged.
    """
    tracks = parts.read_with_place(files, _GLANCE, tables.PREDICTIONS) if view is None else _viewed(files, view)
    is_ok = pc.equal(tracks.column("status"), Status.OK.value)
    ok, failed = tracks.filter(is_ok), tracks.filter(pc.invert(is_ok))
    grouped = ok.group_by("genre").aggregate([("track_id", "count"), ("confidence", "mean")]).to_pylist()
    genres = [
        GenreCount(row["genre"], row["track_id_count"], row["confidence_mean"] or 0.0)
        for row in grouped
        if row["genre"] is not None
    ]
    confidences = ok.column("confidence").drop_null().to_numpy()
    return Overview(
        counts=parts.count_statuses(tracks.column("status")),
        genres=sorted(genres, key=lambda genre: (-genre.tracks, genre.genre)),
        without_genre=ok.column("genre").null_count,
        confidences=np.histogram(confidences, N_BINS, (0.0, 1.0))[0],
        doubtful=sorted(_shown(_rows(_least_sure(ok, n_doubtful), _OF_DOUBTFUL), view), key=_doubt),
        failures=_examples(failed, n_failures),
    )


def _viewed(files: Sequence[str], view: View) -> pa.Table:
    """Return what `parts.read_with_place` does of _GLANCE, by the genres and confidences of a view."""
    schema = pa.schema([tables.PREDICTIONS.field(name) for name in _GLANCE])
    found = []
    for uri, rows in zip(files, view.rows(files, [*_GLANCE, "genres"]), strict=True):
        table = pa.Table.from_pylist(rows, schema=schema)
        place = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(rows), np.int32)), pa.array([uri]))
        found.append(table.append_column("part", place).append_column("row", pa.array(np.arange(len(rows)))))
    return once.counted(pa.concat_tables(found).unify_dictionaries())


def _shown(rows: list[Row], view: View | None) -> Iterator[Row]:
    return (row if view is None else view.row(row) for row in rows)


def _least_sure(ok: pa.Table, n: int) -> pa.Table:
    """Return the tracks of the lowest confidence, of equal ones the first by id."""
    keys = pa.table(
        {
            "confidence": pc.fill_null(ok.column("confidence"), pa.scalar(_NO_GENRE, pa.float32())),
            "track_id": ok.column("track_id"),
        }
    )
    order = [("confidence", "ascending"), ("track_id", "ascending")]
    return ok.take(pc.select_k_unstable(keys, min(n, len(ok)), order))


def _doubt(row: Row) -> tuple[float, str]:
    return (_NO_GENRE if row["confidence"] is None else row["confidence"], row["track_id"])


def _examples(failed: pa.Table, n: int) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for status in parts.count_statuses(failed.column("status")):
        tracks = failed.filter(pc.equal(failed.column("status"), status)).select(["track_id", "part", "row"])
        first = tracks.take(pc.select_k_unstable(tracks, min(n, len(tracks)), [("track_id", "ascending")]))
        found[status] = sorted(_rows(first, _OF_FAILED), key=lambda row: str(row["track_id"]))
    return found


def _rows(places: pa.Table, columns: Sequence[str]) -> list[Row]:
    """Return the given columns of the rows at `places`, part by part, each part read once."""
    if not len(places):
        return []
    order = np.lexsort((places.column("row").to_numpy(), parts.part_numbers(places)))
    in_turn = places.select(["part", "row"]).take(pa.array(order))
    return [row for table in part_rows.read(in_turn, columns) for row in table.to_pylist()]
