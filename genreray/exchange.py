"""Values from one process to another: what is large goes through memory that both see, not through their socket."""

import io
import mmap
import os
import pickle
from typing import Any

_ROOM = 2**28  # bytes of such memory for the values of one block, several times what they are
_LARGE = 2**12  # bytes from which on a value is worth its way there

Place = tuple[int, int]  # where a value begins, at a page, and ends


def open_room() -> int:
    """Return the descriptor of memory that a `Writer` and a `Reader` can share; it is gone when all have closed it.

    The system gives what is written, and takes back what is read. Where it has no such memory (it is Linux's) there is
    no room in it, and messages hold all.
    """
    if not hasattr(os, "memfd_create"):
        return os.open(os.devnull, os.O_RDWR)
    descriptor = os.memfd_create("genreray")
    os.ftruncate(descriptor, _ROOM)
    return descriptor


class Writer:
    """Turns values into short messages: what is large in them is written into the shared memory, one after another."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._room = os.fstat(descriptor).st_size
        self._end = 0

    def dumps(self, value: Any) -> bytes:
        """Return the message for `value`, in which bytes are left out that the memory has room for."""
        message = io.BytesIO()
        _Pickler(message, self).dump(value)
        return message.getvalue()

    def put(self, content: bytes) -> Place | None:
        """Write `content` behind what was written before and return where it lies; None where there is no room."""
        start = _page_from(self._end)
        self._end = start + len(content)
        if _page_from(self._end) > self._room:
            self._end = self._room
            return None
        rest, place = memoryview(content), start
        while rest:
            written = os.pwrite(self._descriptor, rest, place)
            rest, place = rest[written:], place + written
        return start, self._end


class Reader:
    """Turns messages back into values, each once: what lies in the shared memory is taken out of it."""

    def __init__(self, descriptor: int) -> None:
        room = os.fstat(descriptor).st_size
        self._memory = mmap.mmap(descriptor, room) if room else None

    def loads(self, message: bytes) -> Any:
        """Return the value of a message."""
        return _Unpickler(io.BytesIO(message), self).load()

    def take(self, place: Place) -> bytes:
        """Return the bytes at `place`, whose memory goes back to the system."""
        assert self._memory is not None
        start, end = place
        content = self._memory[start:end]
        self._memory.madvise(mmap.MADV_REMOVE, start, _page_from(end) - start)
        return content


class _Pickler(pickle.Pickler):
    def __init__(self, message: io.BytesIO, writer: Writer) -> None:
        super().__init__(message, pickle.HIGHEST_PROTOCOL)
        self._writer = writer

    def persistent_id(self, value: Any) -> Place | None:
        return self._writer.put(value) if type(value) is bytes and len(value) >= _LARGE else None


class _Unpickler(pickle.Unpickler):
    def __init__(self, message: io.BytesIO, reader: Reader) -> None:
        super().__init__(message)
        self._reader = reader

    def persistent_load(self, place: Place) -> bytes:
        return self._reader.take(place)


def _page_from(place: int) -> int:
    """Return where the first page begins that lies wholly behind `place`."""
    return -(-place // mmap.PAGESIZE) * mmap.PAGESIZE
