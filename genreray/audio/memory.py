"""Bytes in memory as libsndfile reads them: by machine code, as it asks for each frame of an mp3."""

import functools
from typing import Any

import numpy as np
import soundfile as sf
from numba import carray

from genreray.machine_code import callback

_LENGTH, _PLACE = 0, 1
# What each callback is given of a file: where its bytes are, and where the int64 that say its length and place.
_FILE = "CPointer(CPointer(uint8))"


class Memory:
    """A file's bytes, and where in them libsndfile is.

    By a descriptor of a memory file, the system would answer it at 4 % of what an mp3 takes to decode; by soundfile's
    own callbacks, Python would at no less.
    """

    def __init__(self, content: bytes) -> None:
        self._content = np.frombuffer(content, np.uint8)
        self._numbers = np.array([len(content), 0], np.int64)
        self._file = np.array([self._content.ctypes.data, self._numbers.ctypes.data], np.uintp)

    def open(self, mode: int, info: Any) -> Any:
        """Return what `sf_open_virtual` does; this must be there for as long as that is open."""
        return sf._snd.sf_open_virtual(_functions(), mode, info, sf._ffi.cast("void *", self._file.ctypes.data))


@functools.cache
def _functions() -> Any:
    """Return libsndfile's SF_VIRTUAL_IO, which says by which functions it reads."""
    compiled = {
        "get_filelen": callback(_length, f"int64({_FILE})"),
        "seek": callback(_seek, f"int64(int64, int32, {_FILE})"),
        "read": callback(_read, f"int64(CPointer(uint8), int64, {_FILE})"),
        "tell": callback(_tell, f"int64({_FILE})"),
    }
    functions = {name: sf._ffi.cast(f"sf_vio_{name}", one.address) for name, one in compiled.items()}
    return sf._ffi.new("SF_VIRTUAL_IO *", functions)


def _length(file: Any) -> Any:
    return carray(file[1], 16).view(np.int64)[_LENGTH]


def _tell(file: Any) -> Any:
    return carray(file[1], 16).view(np.int64)[_PLACE]


def _seek(offset: int, whence: int, file: Any) -> Any:
    """Go there, or to the beginning where that lies before it, as `Source.seek` does."""
    numbers = carray(file[1], 16).view(np.int64)
    if whence == 1:
        offset += numbers[_PLACE]
    elif whence == 2:
        offset += numbers[_LENGTH]
    numbers[_PLACE] = max(0, offset)
    return numbers[_PLACE]


def _read(room: Any, count: int, file: Any) -> Any:
    """Fill `room` with the next bytes and return how many there were."""
    numbers = carray(file[1], 16).view(np.int64)
    content, place = file[0], numbers[_PLACE]
    count = max(0, min(count, numbers[_LENGTH] - place))
    for i in range(count):
        room[i] = content[place + i]
    numbers[_PLACE] = place + count
    return count
