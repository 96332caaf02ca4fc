"""A playlist for each genre, the tracks it is surest of first: M3U8, as most players read it."""

import posixpath
import re
import urllib.parse
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from genreray import storage
from genreray.errors import Status, UserError
from genreray.outputs.answers import View
from genreray.outputs.names import file_names

FOLDER = "playlists"
_BEGIN = "#EXTM3U\n#GENRERAY\n"  # by the second line our own are known, which are replaced
_SUFFIX = ".m3u8"
_ENTRY = pa.schema(
    [("genre", pa.dictionary(pa.int32(), pa.string())), ("confidence", pa.float32()), ("uri", pa.string())]
)


def check(tags_uri: str) -> list[str]:
    """Return the URIs of the playlists that an earlier run left.

    Raises UserError where something else is in their folder.
    """
    folder = storage.join(tags_uri, FOLDER)
    if not storage.exists(folder):
        return []
    found = []
    for name, uri in storage.list_files(folder):
        if "/" in name or not name.endswith(_SUFFIX) or not _is_ours(uri):
            raise UserError(f"{folder} holds {name}, which this job did not write: give another folder, or move it")
        found.append(uri)
    return found


def _is_ours(uri: str) -> bool:
    with storage.open_file(uri) as file:
        return bool(file.read(len(_BEGIN)) == _BEGIN.encode())


def write(files: Sequence[str], view: View, tags_uri: str) -> int:
    """Write a playlist for each genre that a track in the parts `files` has, in place of earlier ones; return how many.

    Paths are relative to the playlists where both are on disk.
    """
    before = check(tags_uri)
    tables = [pa.Table.from_pylist(rows, schema=_ENTRY) for rows in _entries(files, view)]
    entries = pa.concat_tables(tables or [_ENTRY.empty_table()]).unify_dictionaries()
    genres = sorted(pc.unique(entries.column("genre").cast(pa.string())).to_pylist())
    folder = storage.join(tags_uri, FOLDER)
    if genres:
        storage.make_folder(folder)
    written = set()
    for genre, name in file_names(genres, _SUFFIX).items():
        uri = storage.join(folder, name)
        there = entries.filter(pc.equal(entries.column("genre"), genre))
        there = there.sort_by([("confidence", "descending"), ("uri", "ascending")])
        storage.write_pieces(uri, _lines(genre, there, folder))
        written.add(uri)
    storage.delete_files([uri for uri in before if uri not in written], folder)
    return len(written)


def _entries(files: Sequence[str], view: View) -> Iterator[list[dict[str, object]]]:
    for rows in view.rows(files, ("uri", "status", "genre", "confidence", "genres")):
        yield [
            {"genre": row["genre"], "confidence": row["confidence"], "uri": row["uri"]}
            for row in rows
            if row["status"] == Status.OK.value and row["genre"] is not None
        ]


def _lines(genre: str, entries: pa.Table, folder: str) -> Iterator[bytes]:
    yield f"{_BEGIN}#PLAYLIST:{_line(genre)}\n".encode(errors="replace")
    for batch in entries.to_batches(max_chunksize=1024):
        for uri in batch.column("uri").to_pylist():
            title = posixpath.splitext(storage.name(uri))[0]
            # A length is not known: only the middle of a track was decoded.
            yield f"#EXTINF:-1,{_line(title)}\n{_path(storage.relative(uri, folder))}\n".encode(errors="replace")


def _line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def _path(path: str) -> str:
    """Return a path as a line of its own: a URL where it would be more than one, and never taken for a comment."""
    if re.search(r"[\x00-\x1f\x7f\x85\u2028\u2029]", path) or path != path.strip():
        return urllib.parse.quote(path)
    return f"./{path}" if path.startswith("#") or (re.match(r"[A-Za-z][\w+.-]*:", path) and "://" not in path) else path
