"""A folder or bucket prefix as a catalog: every audio file below it, named by its path."""

import itertools
import posixpath

import pyarrow as pa
import pyarrow.compute as pc

from genreray import storage
from genreray.errors import UserError
from genreray.tables import CATALOG

AUDIO_SUFFIXES = frozenset(
    [".mp3", ".flac", ".ogg", ".oga", ".opus", ".wav", ".aiff", ".aif", ".m4a", ".aac", ".mp4", ".wma"]
)

_BATCH = 10_000  # names held at a time outside of Arrow


def is_audio(path: str) -> bool:
    """Return whether the name is one of an audio file, in capitals or not."""
    return posixpath.splitext(path)[1].lower() in AUDIO_SUFFIXES


def read(uri: str) -> pa.Table:
    """Return the CATALOG of every audio file below the folder, sorted by track_id, without labels.

    The track_id is the path from the folder, suffix included, so that files of one name in two folders, and
    of one name in two formats, stay apart. Raises UserError where there is none, or two names that read the same.
    """
    found = ((_text(path), file) for path, file in storage.list_files(uri) if is_audio(path))
    batches = []
    while batch := list(itertools.islice(found, _BATCH)):
        batches.append(_catalog(*zip(*batch, strict=True)))
    if not batches:
        kinds = " ".join(sorted(suffix[1:] for suffix in AUDIO_SUFFIXES))
        raise UserError(f"{uri} holds no audio file (looked at every depth for {kinds})")
    tracks = pa.concat_tables(batches).sort_by([("track_id", "ascending"), ("uri", "ascending")])
    ids = tracks.column("track_id")
    if (place := pc.index(pc.equal(ids[:-1], ids[1:]), True).as_py()) >= 0:
        file, other = tracks.column("uri")[place : place + 2].to_pylist()
        raise UserError(f"{file} and {other} both read as {ids[place]}: rename one")
    return tracks


def read_one(uri: str) -> pa.Table:
    """Return the CATALOG of a single audio file, its name the track_id."""
    return _catalog([_text(posixpath.basename(uri))], [storage.absolute(uri)])


def _catalog(track_ids: object, uris: object) -> pa.Table:
    ids = pa.array(track_ids, pa.string())
    columns = {"track_id": ids, "uri": pa.array(uris, pa.string())}
    unknown = {field.name: pa.nulls(len(ids), field.type) for field in CATALOG if field.name not in columns}
    return pa.table({**columns, **unknown}, schema=CATALOG)


def _text(name: str) -> str:
    """Return a file's name as valid UTF-8, which a table must hold: bytes that are not show as \\xNN."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
