"""A manifest as a catalog: one row a track in .csv, .parquet or .jsonl, with what the user knows of it."""

import ast
import csv
import io
import json
import posixpath
import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from genreray import storage
from genreray.errors import UserError
from genreray.tables import CATALOG, SPLITS, check_plain

KINDS = ".csv, .parquet, .jsonl"

_PATHS = ("path", "uri")
_SPLITS = {name: name for name in SPLITS} | {
    "train": "training",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
}

# What a spreadsheet would take for a formula, after the apostrophe that corrections.csv puts before it
# (genreray/templates/review.js).
_GUARDED = re.compile("'+[=+\\-@＝＋－＠\t\r]")

# The names of the columns, and each row with the words that say where it is.
_Rows = tuple[list[str], Iterator[tuple[str, dict[str, Any]]]]


def is_manifest(uri: str) -> bool:
    """Return whether the name is one of a manifest."""
    return _kind(uri) in KINDS.split(", ")


def read(uri: str, genre_column: str | None = None) -> pa.Table:
    """Return the CATALOG in a manifest, row by row, `genre` taken from `genre_column` where given.

    Columns: `path` or `uri` (a relative one is taken from the manifest's folder); optional track_id (by
    default the path as written), genre, genres (a list, or texts joined by ; or |), artist, split (training,
    validation, test, or train, valid, val, dev); others are ignored. Empty texts are null. CSV and JSONL are
    UTF-8; in CSV, an apostrophe that keeps a text which begins with = + - @ from being a formula is not part of it.
    Raises UserError where a row has no path, an unknown split or another row's track_id, where a column is missing,
    and where there is no row.
    """
    sources = {name: name for name in CATALOG.names}
    if genre_column is not None:
        sources["genre"] = genre_column
    names, rows = _read_rows(uri, {*_PATHS, *sources.values()})
    source = next((name for name in _PATHS if name in names), None)
    if source is None:
        raise UserError(f"{uri} has no column path or uri: its columns are {', '.join(names) or 'none'}")
    if genre_column is not None and genre_column not in names:
        raise UserError(f"{uri} has no column {genre_column}: its columns are {', '.join(names)}")
    sources["uri"] = source
    if twice := [name for name in sources.values() if names.count(name) > 1]:
        raise UserError(f"{uri} has two columns called {twice[0]}: rename one")
    folder = storage.parent(uri)
    columns: dict[str, list[Any]] = {name: [] for name in CATALOG.names}
    places: dict[str, str] = {}  # where each track_id was first seen
    for place, row in rows:
        try:
            track = _track({name: row.get(column) for name, column in sources.items()}, folder)
        except ValueError as error:
            raise UserError(f"{uri}, {place}: {error}") from None
        track_id = track["track_id"]
        if track_id in places:
            raise UserError(f"{uri}: track_id {track_id!r} is both in {places[track_id]} and in {place}")
        places[track_id] = place
        for name, values in columns.items():
            values.append(track[name])
    if not places:
        raise UserError(f"{uri} has no rows: nothing to do")
    try:
        return pa.table(columns, schema=CATALOG)
    except UnicodeEncodeError as error:  # half a surrogate pair, which JSON can write
        raise UserError(f"{uri} holds a text that is not Unicode: {error.object!a}") from None


def _track(row: dict[str, Any], folder: str) -> dict[str, Any]:
    """Return a row of CATALOG; raises ValueError saying what is wrong with it."""
    texts = {name: _text(row[name], name) for name in ("track_id", "genre", "artist", "split")}
    path = row["uri"]
    if not isinstance(path, str) or not path:  # not stripped: a file's name may end in a space
        raise ValueError("no path")
    split = texts["split"]
    if split is not None and split.lower() not in _SPLITS:
        raise ValueError(f"the split is {split!r}, not one of {', '.join(_SPLITS)}")
    return {
        **texts,
        "track_id": texts["track_id"] or (path if "://" in path else posixpath.normpath(path)),
        "uri": _resolve(path, folder),
        "genres": _list(row["genres"]),
        "split": None if split is None else _SPLITS[split.lower()],
    }


def _resolve(path: str, folder: str) -> str:
    """Return the URI of a path as written in a manifest of `folder`."""
    if "://" in path or path.startswith("/"):
        return storage.absolute(path)
    if storage.is_local(folder):  # .. is left to the system, which knows where links lead
        return storage.absolute(storage.join(folder, path))
    scheme, separator, rest = folder.partition("://")
    return scheme + separator + posixpath.normpath(posixpath.join(rest, path))


def _text(value: Any, name: str) -> str | None:
    """Return a cell as text, None where it is empty; pandas turns whole numbers with gaps into floats."""
    if value is None or value != value:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str | int | float):
        raise ValueError(f"{name} is {value!r}, not one text")
    return str(value).strip() or None


def _list(value: Any) -> list[str] | None:
    """Return a cell of several genres: a list, its text in JSON or Python, or texts joined by ; or |."""
    if isinstance(value, str):
        value = _parsed_list(value) if value.lstrip().startswith("[") else re.split("[;|]", value)
    if not isinstance(value, list):
        value = [value]
    return [text for item in value if (text := _text(item, "an item of genres")) is not None] or None


def _parsed_list(text: str) -> Any:
    for parse in (json.loads, ast.literal_eval):  # literal_eval: pandas writes lists as Python does
        try:
            return parse(text.strip())
        except (ValueError, SyntaxError):
            continue
    raise ValueError(f"genres is {text!r}, which begins like a list and is none")


def _kind(uri: str) -> str:
    return posixpath.splitext(uri)[1].lower()


def _read_rows(uri: str, wanted: set[str]) -> _Rows:
    if _kind(uri) == ".parquet":
        return _parquet_rows(uri, wanted)
    with storage.open_file(uri) as file:
        content: bytes = file.read()
    try:
        text = content.decode("utf-8-sig")  # a spreadsheet begins its CSV with a byte order mark
    except UnicodeDecodeError as error:
        raise UserError(f"{uri} is not UTF-8 (byte {error.start}): save it as UTF-8") from None
    return _csv_rows(uri, text) if _kind(uri) == ".csv" else _jsonl_rows(uri, text)


def _csv_rows(uri: str, text: str) -> _Rows:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)

    def checked() -> Iterator[list[str]]:
        try:
            yield from reader
        except csv.Error as error:
            raise UserError(f"{uri}, line {reader.line_num}: not valid CSV: {error}") from None

    cells = checked()
    names = [name.strip() for name in next(cells, [])]

    def rows() -> Iterator[tuple[str, dict[str, Any]]]:
        for row in cells:
            place = f"line {reader.line_num}"
            if len(row) > len(names):
                raise UserError(f"{uri}, {place}: more cells than columns: put a text with a comma in quotes")
            if row:
                yield place, {name: _cell(name, text) for name, text in zip(names, row, strict=False)}

    return names, rows()


def _cell(name: str, text: str) -> str:
    """Return a cell without the apostrophe that guards it; paths are absolute where they are written by genreray."""
    return text[1:] if name not in _PATHS and _GUARDED.match(text) else text


def _jsonl_rows(uri: str, text: str) -> _Rows:
    found = []
    names: dict[str, None] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UserError(f"{uri}, line {number}: not valid JSON: {error}") from None
        if not isinstance(row, dict):
            raise UserError(f'{uri}, line {number}: not a JSON object such as {{"path": "a.mp3"}}')
        names.update(dict.fromkeys(row))
        found.append((f"line {number}", row))
    return list(names), iter(found)


def _parquet_rows(uri: str, wanted: set[str]) -> _Rows:
    filesystem, path = storage.arrow_filesystem(uri)
    try:
        file = pq.ParquetFile(path, filesystem=filesystem)
        check_plain(file.schema_arrow, uri)
        names: list[str] = file.schema_arrow.names
        table = file.read([name for name in names if name in wanted])
    except (pa.ArrowException, OSError, ValueError) as error:
        said = storage.without_secrets(" ".join(str(error).split()))
        raise UserError(f"{uri} cannot be read as Parquet: {said}") from None

    def rows() -> Iterator[tuple[str, dict[str, Any]]]:
        batches = (row for batch in table.to_batches(max_chunksize=10_000) for row in batch.to_pylist())
        yield from ((f"row {number}", row) for number, row in enumerate(batches, 1))

    return names, rows()
