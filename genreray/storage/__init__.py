"""The only filesystem code: a URI (local path, s3://, any fsspec URL) to bytes, files, listings and JSON."""

import errno
import glob
import io
import json
import posixpath
import stat
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from genreray.errors import Status, TrackError, UserError
from genreray.storage.access import (
    arrow_filesystem,
    exists,
    faults,
    filesystem,
    is_file,
    is_folder,
    is_object_store,
    reason,
)
from genreray.storage.listing import list_files
from genreray.storage.pieces import open_pieces
from genreray.storage.uris import absolute, is_local, join, parent

__all__ = [
    "absolute",
    "arrow_filesystem",
    "delete",
    "exists",
    "filesystem",
    "is_file",
    "is_folder",
    "is_local",
    "join",
    "list_files",
    "make_folder",
    "open_file",
    "open_track",
    "parent",
    "read_bytes",
    "read_json",
    "write_bytes",
    "write_json",
    "write_parquet",
    "write_text",
]

Result = TypeVar("Result")

WHOLE = 2**25  # bytes; of larger tracks no more is read than the decoder asks for
_READ_ATTEMPTS = 4
_FIRST_PAUSE = 0.2  # seconds; doubles with each attempt


def make_folder(uri: str) -> None:
    """Create the folder `uri` where folders are real.

    Raises UserError where it cannot be made.
    """
    fs, path = filesystem(uri)
    if not is_object_store(fs):  # where this would make a missing bucket
        with faults(uri, "made"):
            fs.makedirs(path, exist_ok=True)


def read_bytes(uri: str) -> bytes:
    """Return the whole content of a track's file, trying again with growing pauses where the fault may pass.

    Raises TrackError (not_found, unreadable).
    """
    return _persistently(uri, lambda: _read(uri))


def open_track(uri: str) -> BinaryIO:
    """Return a track's file for reading: its content where that is at most `WHOLE` bytes, else read as it is used.

    Raises TrackError (not_found, unreadable), and so does reading, which tries again as `read_bytes` does.
    """
    if is_local(uri):
        return _persistently(uri, lambda: _open_local(uri))
    content = _persistently(uri, lambda: _read_first(uri))
    if len(content) < WHOLE:
        return io.BytesIO(content)
    size = _persistently(uri, lambda: _size(uri))
    return open_pieces(content, size, lambda start, end: _persistently(uri, lambda: _read(uri, start, end)))


def _persistently(uri: str, read: Callable[[], Result]) -> Result:
    pause = _FIRST_PAUSE
    for attempt in range(1, _READ_ATTEMPTS + 1):
        try:
            return read()
        except (FileNotFoundError, NotADirectoryError):
            raise TrackError(Status.NOT_FOUND, "no such file") from None
        except UserError as error:
            raise TrackError(Status.UNREADABLE, str(error)) from None
        except (PermissionError, IsADirectoryError) as error:
            raise TrackError(Status.UNREADABLE, reason(error)) from None
        except Exception as error:
            if is_local(uri) and not isinstance(error, OSError):
                raise
            if attempt == _READ_ATTEMPTS or is_local(uri):
                raise TrackError(Status.UNREADABLE, reason(error)) from None
        time.sleep(pause)
        pause *= 2
    raise AssertionError("unreachable")


def _read(uri: str, start: int | None = None, end: int | None = None) -> bytes:
    fs, path = filesystem(uri)
    _check_regular(uri)
    content: bytes = fs.cat_file(path, start=start, end=end)
    return content


def _read_first(uri: str) -> bytes:
    try:
        return _read(uri, 0, WHOLE)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return _read(uri)  # empty: S3 has no range of nothing


def _size(uri: str) -> int:
    fs, path = filesystem(uri)
    return int(fs.size(path))


def _open_local(uri: str) -> BinaryIO:
    _check_regular(uri)
    path = Path(filesystem(uri)[1])
    return path.open("rb") if path.stat().st_size > WHOLE else io.BytesIO(path.read_bytes())


def _check_regular(uri: str) -> None:
    """Raise UserError for what is on disk and no plain file: a pipe would be waited for, a device never end."""
    if is_local(uri) and not stat.S_ISREG(Path(filesystem(uri)[1]).stat().st_mode):
        raise UserError("not a file")


def open_file(uri: str, mode: str = "rb", **options: Any) -> Any:
    """Return an open file, as `open` does.

    Raises UserError where it is missing or may not be opened.
    """
    fs, path = filesystem(uri)
    with faults(uri, "opened"):
        return fs.open(path, mode, **options)


def write_bytes(uri: str, content: bytes) -> None:
    """Write a whole file, replacing what is there; on disk and in object stores no reader ever sees a half of it.

    Raises UserError where it cannot be written.
    """
    fs, path = filesystem(uri)
    with faults(uri, "written"):
        if is_local(uri):
            _write_local(Path(path), content)
            return
        if not is_object_store(fs):
            fs.makedirs(posixpath.dirname(path), exist_ok=True)
        fs.pipe_file(path, content)


def _write_local(target: Path, content: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{uuid.uuid4().hex}.part")
    try:
        temporary.write_bytes(content)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


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
    with open_file(uri) as file, faults(uri, "read"):
        content = file.read()
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{uri} is not valid JSON: {error}") from error


def write_parquet(uri: str, table: pa.Table, **options: Any) -> None:
    """Write `table` as one Parquet file, as `write_bytes` does; `options` as `pyarrow.parquet.write_table`."""
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, **options)
    write_bytes(uri, buffer.getvalue().to_pybytes())  # s3fs takes bytes and nothing that is like them


def delete(uri: str) -> None:
    """Remove a file or a folder with all below it; nothing where nothing is.

    Raises UserError where it cannot be removed.
    """
    fs, path = filesystem(uri)
    if exists(uri):
        with faults(uri, "removed"):
            # fsspec takes [, * and ? for patterns everywhere but on disk, and would remove what else they match.
            fs.rm(path if is_local(uri) else glob.escape(path), recursive=True)
