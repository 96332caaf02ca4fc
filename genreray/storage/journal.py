"""A file of lines on disk that only grows, each line there before what it tells of happens."""

import contextlib
import fcntl
import io
import os
from collections.abc import Iterator
from pathlib import Path

from genreray.errors import UserError
from genreray.storage.access import faults
from genreray.storage.uris import is_local, local_path


class Journal:
    """Lines of bytes by their places, the oldest first; one process at a time has it."""

    def __init__(self, file: io.BufferedRandom) -> None:
        self._file = file

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield the place and the content of each line."""
        place = 0
        while True:
            self._file.seek(place)
            line = self._file.readline()
            if not line:
                return
            yield place, line
            place += len(line)

    def at(self, place: int) -> bytes:
        """Return the line at a place."""
        self._file.seek(place)
        return self._file.readline()

    def append(self, line: bytes) -> int:
        """Write a line, which is on the disk when this returns, and return its place."""
        place = self._file.seek(0, io.SEEK_END)
        self._file.write(line + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        return place


@contextlib.contextmanager
def journal(uri: str) -> Iterator[Journal]:
    """Open the journal at `uri`, which is made where need be.

    Half a line at its end, which a kill can leave, is cut off. Raises UserError where `uri` is not on a disk of this
    machine, where it cannot be opened, and where another process has it open.
    """
    if not is_local(uri):
        raise UserError(f"{uri} is not on a disk of this machine, where lines can be added: give a local folder")
    path = Path(local_path(uri))
    with contextlib.ExitStack() as opened:
        with faults(uri, "opened"):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = opened.enter_context(os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"{uri} is in use by another job: wait for its end") from None
            except OSError:  # a filesystem without locks
                pass
            _cut_half_a_line(file)
        yield Journal(file)


def _cut_half_a_line(file: io.BufferedRandom) -> None:
    end = file.seek(0, io.SEEK_END)
    while end:
        start = max(0, end - 2**16)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    file.truncate(end)
