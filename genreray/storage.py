"""The only filesystem code: a URI (local path, s3://, any fsspec URL) to bytes, files, listings and JSON."""

import json
import posixpath
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq

from genreray.errors import Status, TrackError, UserError

_READ_ATTEMPTS = 4
_FIRST_PAUSE = 0.2  # seconds; doubles with each attempt


def absolute(uri: str) -> str:
    """Return `uri` as every worker can open it: local paths made absolute, URLs as they are."""
    if "://" in uri and not uri.startswith("file://"):
        return uri.rstrip("/")
    return str(Path(uri.removeprefix("file://")).expanduser().absolute())


def join(uri: str, *parts: str) -> str:
    """Return the URI of something below `uri`."""
    return posixpath.join(uri.rstrip("/") or "/", *parts)


def parent(uri: str) -> str:
    """Return the URI of the folder that holds `uri`."""
    return posixpath.dirname(absolute(uri))


def filesystem(uri: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """Return the fsspec filesystem of `uri` and the path in it.

    Raises UserError for a URL scheme that nothing installed can read.
    """
    try:
        fs, path = fsspec.core.url_to_fs(absolute(uri))
    except (ValueError, ImportError) as error:
        raise UserError(f"{uri} cannot be opened: {error}") from error
    return fs, path


def arrow_filesystem(uri: str) -> tuple[pa.fs.FileSystem, str]:
    """Return the pyarrow filesystem of `uri` and the path in it."""
    fs, path = filesystem(uri)
    if is_local(uri):
        return pa.fs.LocalFileSystem(), path
    return pa.fs.PyFileSystem(pa.fs.FSSpecHandler(fs)), path


def is_local(uri: str) -> bool:
    """Return whether `uri` names a file or folder of this machine."""
    return "://" not in absolute(uri)


def exists(uri: str) -> bool:
    """Return whether there is a file or folder at `uri`."""
    fs, path = filesystem(uri)
    return bool(fs.exists(path))


def is_folder(uri: str) -> bool:
    """Return whether `uri` is a folder (for an object store: a prefix with something below it)."""
    fs, path = filesystem(uri)
    return bool(fs.isdir(path))


def is_file(uri: str) -> bool:
    """Return whether `uri` is a file."""
    fs, path = filesystem(uri)
    return bool(fs.isfile(path))


def list_files(uri: str) -> Iterator[tuple[str, str]]:
    """Yield (path relative to `uri`, URI) of every file below the folder `uri` but hidden ones."""
    fs, root = filesystem(uri)
    root = root.rstrip("/")
    for folder, _, files in fs.walk(root):
        for name in files:
            path = posixpath.join(folder, name)
            relative = path[len(root) :].lstrip("/")
            if not any(part.startswith(".") for part in relative.split("/")):
                yield relative, join(absolute(uri), relative)


def make_folder(uri: str) -> None:
    """Create the folder `uri` where folders are real.

    Raises UserError where it cannot be made.
    """
    fs, path = filesystem(uri)
    try:
        fs.makedirs(path, exist_ok=True)
    except OSError as error:
        raise UserError(f"{uri} cannot be made: {_reason(error)}") from error


def read_bytes(uri: str) -> bytes:
    """Return the whole content of a track's file, trying again with growing pauses where the fault may pass.

    Raises TrackError (not_found, unreadable).
    """
    pause = _FIRST_PAUSE
    for attempt in range(1, _READ_ATTEMPTS + 1):
        try:
            fs, path = filesystem(uri)
            content: bytes = fs.cat_file(path)
            return content
        except (FileNotFoundError, NotADirectoryError):
            raise TrackError(Status.NOT_FOUND, "no such file") from None
        except (PermissionError, IsADirectoryError) as error:
            raise TrackError(Status.UNREADABLE, _reason(error)) from None
        except OSError as error:
            if attempt == _READ_ATTEMPTS or is_local(uri):
                raise TrackError(Status.UNREADABLE, _reason(error)) from None
        time.sleep(pause)
        pause *= 2
    raise AssertionError("unreachable")


def _reason(error: OSError) -> str:
    return (error.strerror or str(error) or type(error).__name__).lower()


def open_file(uri: str, mode: str = "rb", **options: Any) -> Any:
    """Return an open file, as `open` does.

    Raises UserError where it is missing or may not be opened.
    """
    fs, path = filesystem(uri)
    try:
        return fs.open(path, mode, **options)
    except OSError as error:
        raise UserError(f"{uri} cannot be opened: {_reason(error)}") from error


def write_bytes(uri: str, content: bytes) -> None:
    """Write a whole file so that no reader ever sees a half of it, replacing what is there.

    Raises UserError where it cannot be written.
    """
    fs, path = filesystem(uri)
    try:
        if not is_local(uri):  # one PUT: an object appears whole or not at all
            fs.pipe_file(path, content)
            return
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
        try:
            temporary.write_bytes(content)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{uri} cannot be written: {_reason(error)}") from error


def write_text(uri: str, text: str) -> None:
    """Write a whole text file in UTF-8, as `write_bytes` does."""
    write_bytes(uri, text.encode())


def write_json(uri: str, value: Any) -> None:
    """Write `value` as indented JSON, as `write_bytes` does."""
    write_text(uri, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(uri: str) -> Any:
    """Return the JSON value in the file.

    Raises UserError where the file is missing or is not JSON.
    """
    with open_file(uri) as file:
        try:
            return json.load(file)
        except ValueError as error:
            raise UserError(f"{uri} is not valid JSON: {error}") from error


def write_parquet(uri: str, table: pa.Table, **options: Any) -> None:
    """Write `table` as one Parquet file, whole or not at all; `options` as `pyarrow.parquet.write_table`."""
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, **options)
    write_bytes(uri, buffer.getvalue())


def delete(uri: str) -> None:
    """Remove a file or a folder with all below it; nothing where nothing is."""
    fs, path = filesystem(uri)
    if fs.exists(path):
        fs.rm(path, recursive=True)
