"""tags.csv and tags.jsonl: the labels of all tracks, for people and for programs."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from genreray import storage, tables
from genreray.errors import Status
from genreray.outputs.answers import Row, View

CSV_FILE = "tags.csv"
JSONL_FILE = "tags.jsonl"
_AT_A_TIME = 4096  # rows of tags.csv that are Python's objects
_ASKED = ("track_id", "uri", "status", "error", "genre", "subgenre", "confidence", "genres")
_COLUMNS = ("track_id", "uri", "status", "error", "genre", "abstained")
_COLUMNS_OF_TREES = ("track_id", "uri", "status", "error", "genre", "subgenre", "abstained")
_SHOWN = pa.schema([*(tables.PREDICTIONS.field(name) for name in _ASKED), pa.field("abstained", pa.bool_())])


def write_csv(files: Sequence[str], view: View, uri: str) -> dict[str, Any]:
    """Write the labels in the parts `files` as one CSV in the order of track ids; return how many there are.

    A column for each of the best genres and its probability; of models of several genres a track, one for all, and
    where these are a tree one for the subgenre. Returns
    labelled and abstained, tracks that were decoded with a genre and without, and of models of one genre a track
    expected_accuracy: the mean confidence of the labels, which is the share of right ones where it is calibrated.
    """
    shown = [pa.Table.from_pylist(rows, schema=_SHOWN) for rows in view.rows(files, _ASKED)]
    rows = pa.concat_tables(shown or [_SHOWN.empty_table()]).sort_by("track_id")
    storage.write_pieces(uri, _csv(rows, view.top_k, _COLUMNS_OF_TREES if view.parents else _COLUMNS))
    decoded = rows.filter(pc.equal(rows.column("status"), Status.OK.value))
    labelled = decoded.filter(pc.invert(decoded.column("abstained")))
    counts: dict[str, Any] = {"labelled": len(labelled), "abstained": len(decoded) - len(labelled)}
    if view.top_k is not None and len(labelled):
        counts["expected_accuracy"] = round(pc.mean(labelled.column("confidence")).as_py(), 4)
    return counts


def _csv(rows: pa.Table, top_k: int | None, columns: Sequence[str]) -> Iterator[bytes]:
    """Yield the CSV, some thousand rows at a time."""
    ranks = range(1, (top_k or 0) + 1)
    names = [name for rank in ranks for name in (f"genre_{rank}", f"probability_{rank}")]
    header = [*columns, *(names or ("genres", "probabilities"))]
    yield _text([header])
    for batch in rows.to_batches(max_chunksize=_AT_A_TIME):
        rows_of_text = [{**row, "abstained": "yes" if row["abstained"] else ""} for row in batch.to_pylist()]
        yield _text([[*(row[name] for name in columns), *_cells(row, top_k)] for row in rows_of_text])


def _text(rows: list[list[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _cells(row: Row, top_k: int | None) -> list[str]:
    found = [(genre["genre"], f"{genre['probability']:.4f}") for genre in row["genres"] or ()]
    if top_k is None:
        return ["; ".join(name for name, _ in found), "; ".join(value for _, value in found)]
    best = [cell for pair in found for cell in pair]
    return [*best, *[""] * (2 * top_k - len(best))]


def write_jsonl(files: Sequence[str], columns: Sequence[str], view: View, uri: str) -> None:
    """Write the given columns of the parts `files`, by the view's names, as a JSON object a line, as they come."""
    lines = (
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode(errors="backslashreplace")
        for rows in view.rows(files, columns)
    )
    storage.write_pieces(uri, lines)
