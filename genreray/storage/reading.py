"""A track's file opened: read with retries that end, large ones of stores in pieces where they are read."""

import io
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

from genreray.errors import Status, TrackError, UserError
from genreray.storage import objects, s3
from genreray.storage.access import filesystem
from genreray.storage.pieces import open_pieces
from genreray.storage.reasons import reason
from genreray.storage.uris import is_local

# Bytes asked for at once: all of most tracks, so that nobody need ask for their size first. Of larger ones no more is
# read than the decoder asks for.
WHOLE = 2**25

_ATTEMPTS = 4
_FIRST_PAUSE = 0.2  # seconds; doubles with each attempt
_PATIENCE = 20.0  # seconds after which no further attempt is begun: S3's own retries (see s3.options) lie within one

Result = TypeVar("Result")


def read_bytes(uri: str) -> bytes:
    """Return the whole content of a track's file; raises as `open_track` and reading what it returns do."""
    with open_track(uri) as file:
        try:
            return file.read()
        except OSError as error:  # of a large file on disk
            raise TrackError(Status.UNREADABLE, reason(error)) from None


def open_track(uri: str, first: bytes | None = None) -> BinaryIO:
    """Return a track's file for reading: its content where that is less than `WHOLE` bytes, else read as it is used.

    `first` is what `read_first` gave, if that was called before. What fails and may pass is tried again with growing
    pauses. Raises TrackError (not_found, unreadable), and so does reading; and UserError where not the file is at
    fault but its store, or the credentials for it: every other file of it would fail as well.
    """
    if is_local(uri):
        return _persistently(uri, lambda: _open_local(uri))
    content = read_first(uri) if first is None else first
    if len(content) < WHOLE:
        return io.BytesIO(content)
    size = _persistently(uri, lambda: _size(uri))
    return open_pieces(content, size, lambda start, end: _persistently(uri, lambda: _piece(uri, start, end)))


def read_first(uri: str) -> bytes:
    """Return the first `WHOLE` bytes of a track's file in a store, by one request; raises as `open_track` does."""
    return _persistently(uri, lambda: _piece(uri, 0, WHOLE))


def _open_local(uri: str) -> BinaryIO:
    path = Path(filesystem(uri)[1])
    if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for, a device never end
        raise UserError("not a file")
    return path.open("rb") if path.stat().st_size > WHOLE else io.BytesIO(path.read_bytes())


def _size(uri: str) -> int:
    fs, path = filesystem(uri)
    return int(fs.size(path))


def _piece(uri: str, start: int, end: int) -> bytes:
    """Return the bytes of an object from `start` to `end`; fewer or none where it ends before."""
    if (found := objects.fetch(uri, start, end)) is not None:
        return found
    fs, path = filesystem(uri)
    try:
        content: bytes = fs.cat_file(path, start=start, end=end)  # without an end, s3fs would ask for the size first
    except Exception as error:  # each store has its own
        if s3.is_past_the_end(error):
            return b""
        raise
    return content


def _persistently(uri: str, read: Callable[[], Result]) -> Result:
    """Return what `read` returns, called again where what it raises may pass; raises as `open_track` does."""
    started, pause = time.monotonic(), _FIRST_PAUSE
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return read()
        except UserError as error:
            raise TrackError(Status.UNREADABLE, str(error)) from None
        except Exception as error:
            is_last = attempt == _ATTEMPTS or time.monotonic() - started > _PATIENCE
            if (fault := s3.fault(uri, error)) is not None and (is_last or not s3.is_busy(error)):
                raise UserError(fault) from None
            if isinstance(error, FileNotFoundError | NotADirectoryError):
                raise TrackError(Status.NOT_FOUND, "no such file") from None
            if is_local(uri) and not isinstance(error, OSError):
                raise
            is_final = isinstance(error, PermissionError | IsADirectoryError) or is_local(uri)
            if is_final or is_last:
                raise TrackError(Status.UNREADABLE, reason(error)) from None
        time.sleep(pause)
        pause *= 2
    raise AssertionError("unreachable")
