"""A file as decoders see it: read within bounds, its faults kept where decoders would hide them."""

import io
from typing import Any, BinaryIO

from genreray.errors import Status, TrackError

MOST_READ = 2**31  # bytes of one file that are read; formats that must be walked through can be of any size


class Source:
    """A file as decoders see it, who ask for whatever a header says; what it raises is kept: they would hide it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
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

    def readinto(self, room: Any) -> int:
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

    def content(self) -> bytes | None:
        """Return all of a file that is in memory, where nothing can fail that would have to be kept; else None."""
        return self._file.getvalue() if isinstance(self._file, io.BytesIO) else None
