"""A large file of a store as a Python file: fetched piece by piece where it is read, the last pieces kept."""

import io
from collections.abc import Callable
from typing import Any, BinaryIO

from genreray.errors import Status, TrackError

PIECE = 2**22  # bytes
_KEPT = 4  # decoders go back a little, and forth to the end


class _Pieces(io.RawIOBase):
    """What `open_pieces` reads from; its errors are TrackErrors."""

    def __init__(self, first: bytes, size: int, fetch: Callable[[int, int], bytes]) -> None:
        self._first = first
        self._size = size
        self._fetch = fetch
        self._place = 0
        self._pieces: dict[int, bytes] = {}  # by where they begin, the oldest first

    def readable(self) -> bool:
        """Return that it is."""
        return True

    def seekable(self) -> bool:
        """Return that it is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, as files do."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        if origin + offset < 0:
            raise ValueError(f"negative seek position {origin + offset}")
        self._place = origin + offset
        return self._place

    def readinto(self, buffer: Any) -> int:
        """Read into `buffer` what one piece has of it."""
        start, piece = self._piece_at(self._place)
        content = piece[self._place - start :][: len(buffer)]
        buffer[: len(content)] = content
        self._place += len(content)
        return len(content)

    def _piece_at(self, place: int) -> tuple[int, bytes]:
        """Return the piece that holds the byte at `place`, and where it begins."""
        if place < len(self._first) or place >= self._size:
            return 0, self._first
        start = len(self._first) + (place - len(self._first)) // PIECE * PIECE
        if start not in self._pieces:
            end = min(start + PIECE, self._size)
            content = self._fetch(start, end)
            if len(content) != end - start:
                raise TrackError(Status.UNREADABLE, "the file changed while it was read")
            self._pieces[start] = content
            while len(self._pieces) > _KEPT:
                del self._pieces[next(iter(self._pieces))]
        return start, self._pieces[start]


def open_pieces(first: bytes, size: int, fetch: Callable[[int, int], bytes]) -> BinaryIO:
    """Return a file of `size` bytes that begins with `first`; `fetch` returns those from a start to an end.

    Reading raises TrackError (unreadable) where the file turns out to be shorter, and what `fetch` raises.
    """
    return io.BufferedReader(_Pieces(first, size, fetch))
