"""A file as decoders see it: read within bounds, its faults kept where decoders would hide them."""

import contextlib
import io
import os
from collections.abc import Iterator
from typing import Any, BinaryIO, Self

from genreray.errors import Status, TrackError

MOST_READ = 2**31  # bytes of one file that are read; formats that must be walked through can be of any size


class Source:
    """A file as decoders see it, who ask for whatever a header says; what it raises is kept: they would hide it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        # Decoders ask for each frame of an mp3: what is in memory, where nothing fails, is read without detour.
        self.readinto = file.readinto if isinstance(file, io.BytesIO) else self._readinto
        self._left = MOST_READ
        self.fault: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, none where that fails."""
        content = b""
        try:
            content = self._file.read(size)
            self._left -= len(content)
        except Exception as error:
            self.fault = self.fault or error
        return content if self._goes_on() else b""

    def _readinto(self, room: Any) -> int:
        """Fill `room` with the next bytes and return how many there were, none where that fails.

        soundfile tries this first: `read` would cost 6 % of decoding.
        """
        count = 0
        try:
            count = self._file.readinto(room)  # type: ignore[attr-defined]
            self._left -= count
        except Exception as error:
            self.fault = self.fault or error
        return count if self._goes_on() else 0

    def _goes_on(self) -> bool:
        if self._left < 0 and self.fault is None:
            self.fault = TrackError(Status.TOO_LARGE, f"more than {MOST_READ >> 20:,} MiB would have to be read")
        return self.fault is None

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go there, or to the beginning where that lies before it."""
        try:
            return self._file.seek(max(0, offset) if whence == io.SEEK_SET else offset, whence)
        except (ValueError, OSError):  # before the beginning, counted from elsewhere, or beyond all bounds
            return self._file.tell()

    def tell(self) -> int:
        """Return the place of the next byte."""
        return self._file.tell()

    @contextlib.contextmanager
    def as_file(self) -> Iterator[Self | int]:
        """Yield what reads the file from its beginning: of one in memory the descriptor of a copy, else this.

        The system answers libsndfile sooner than Python does. Nothing there can fail that would have to be kept.
        """
        self.seek(0)
        if not isinstance(self._file, io.BytesIO) or not hasattr(os, "memfd_create"):  # which is Linux's
            yield self
            return
        descriptor = os.memfd_create("track")
        try:
            with open(descriptor, "wb", closefd=False) as copy:
                copy.write(self._file.getvalue())  # the content itself; `getbuffer` would copy it first
            os.lseek(descriptor, 0, os.SEEK_SET)
            yield descriptor
        finally:
            os.close(descriptor)
