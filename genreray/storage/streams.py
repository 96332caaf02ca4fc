"""The filesystem that others write to by streams, as Ray Train does: its files appear whole, or not at all."""

import contextlib
import uuid
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs

from genreray.errors import UserError
from genreray.storage import s3
from genreray.storage.access import arrow_filesystem, faults, filesystem
from genreray.storage.uris import is_local, split


def output_filesystem(uri: str) -> tuple[pa.fs.FileSystem, str]:
    """Return the pyarrow filesystem of `uri` and the path in it, as `arrow_filesystem` does, for writing by streams.

    pyarrow's own truncates a file and then writes it. In this one a file appears under its name when its stream is
    closed; where a write fails, what was there stays, and UserError is raised.
    """
    _, path = arrow_filesystem(uri)  # refuses names that pyarrow cannot open
    fs, _ = filesystem(uri)
    return pa.fs.PyFileSystem(_Handler(fs, split(uri)[0])), path


class _Handler(pa.fs.FSSpecHandler):  # type: ignore[misc]
    def __init__(self, fs: Any, scheme: str) -> None:
        super().__init__(fs)
        self._scheme = "" if scheme == "file://" else scheme

    def open_output_stream(self, path: str, metadata: Any) -> pa.PythonFile:
        """Return what `path` is written by."""
        return pa.PythonFile(_Stream(self._scheme + path), mode="w")


class _Stream:
    """A file for pyarrow to write. No `io` class, as those are closed, and so made whole, when they are forgotten."""

    def __init__(self, uri: str) -> None:
        self.closed = False
        self._uri = uri
        fs, path = filesystem(uri)
        self._target = Path(path)
        self._temporary = self._target.with_name(f".{uuid.uuid4().hex}.part")
        with faults(uri, "written"):
            if is_local(uri):
                self._target.parent.mkdir(parents=True, exist_ok=True)
                self._file: Any = self._temporary.open("wb")
            else:
                self._file = fs.open(path, "wb", **({"autocommit": False} if s3.is_s3(uri) else {}))

    def write(self, data: Any) -> int:
        """Write some bytes; where that fails, nothing is left of the file."""
        return int(self._do(self._file.write, data))

    def tell(self) -> int:
        """Return how many bytes were written."""
        return int(self._file.tell())

    def flush(self) -> None:
        """Do nothing: nobody sees the file before it is closed."""

    def close(self) -> None:
        """Make the file whole, unless a write failed."""
        if self.closed:
            return
        self._do(self._file.close)
        self.closed = True
        if is_local(self._uri):
            self._do(self._temporary.replace, self._target)
        elif s3.is_s3(self._uri):
            self._do(self._file.commit)

    def _do(self, call: Any, *arguments: Any) -> Any:
        try:
            with faults(self._uri, "written"):
                return call(*arguments)
        except UserError:
            self._discard()
            raise

    def _discard(self) -> None:
        self.closed = True
        with contextlib.suppress(Exception):  # it writes what is left, as it could not before
            self._file.close()
        with contextlib.suppress(Exception):
            if is_local(self._uri):
                self._temporary.unlink(missing_ok=True)
            elif s3.is_s3(self._uri):
                self._file.discard()
