"""Bytes in memory as libsndfile reads them, beside io.BytesIO."""

import io
import sys

import numpy as np
import pytest
import soundfile as sf
from sounds import encode, noise

from genreray import audio
from genreray.audio import memory
from genreray.audio.memory import Memory
from genreray.errors import TrackError

CONTENT = bytes(range(256)) * 4
CANARY = 7


class Called:
    """The four functions, called as libsndfile does."""

    def __init__(self, content: bytes) -> None:
        self._memory = Memory(content)
        self._functions = memory._functions()
        self._file = sf._ffi.cast("void *", self._memory._file.ctypes.data)

    def length(self) -> int:
        return self._functions.get_filelen(self._file)

    def tell(self) -> int:
        return self._functions.tell(self._file)

    def seek(self, offset: int, whence: int) -> int:
        return self._functions.seek(offset, whence, self._file)

    def read(self, count: int) -> bytes:
        """What is read; nothing may be written behind it."""
        room = np.full(max(0, count) + 64, CANARY, np.uint8)
        n = self._functions.read(sf._ffi.cast("void *", room.ctypes.data), count, self._file)
        assert (room[n:] == CANARY).all()
        return room[:n].tobytes()


def test_any_order_of_calls_gives_what_a_file_in_python_gives():
    rng = np.random.default_rng(0)
    ours, theirs = Called(CONTENT), io.BytesIO(CONTENT)
    n_beyond = n_cut = 0
    for _ in range(2000):
        whence, offset = int(rng.integers(3)), int(rng.integers(-1500, 1500))
        place = max(0, (0, theirs.tell(), len(CONTENT))[whence] + offset)
        assert ours.seek(offset, whence) == theirs.seek(place) == ours.tell()
        for count in rng.integers(0, 600, 2).tolist():
            read = theirs.read(count)
            assert ours.read(count) == read
            assert ours.tell() == theirs.tell()
            n_cut += 0 < len(read) < count
        n_beyond += place > len(CONTENT)
    assert ours.length() == len(CONTENT)
    assert min(n_beyond, n_cut) > 100


def test_nothing_is_read_where_nothing_can_be():
    ours = Called(CONTENT)
    assert ours.read(-1) == ours.read(0) == b""
    for whence in range(3):
        ours.seek(2**63 - 1, whence)
        assert ours.read(10) in (b"", CONTENT[:10])  # where adding wrapped around, it is at the beginning
        assert ours.seek(-(2**63), whence) in (0, 2**63 - 1)
    assert Called(b"").read(1) == b""
    assert Called(b"").length() == 0


def test_bytes_are_held_for_as_long_as_they_are_read():
    content = encode(noise(8000, 4.0), 8000, "WAV")
    before = sys.getrefcount(content)
    held = Called(content)
    assert sys.getrefcount(content) > before
    del held
    audio.decode(content, 8000, 3.0)
    with pytest.raises(TrackError):
        audio.decode(b"no audio at all" * 100, 8000, 3.0)
    assert sys.getrefcount(content) == before


def test_the_error_says_what_libsndfile_says():
    with pytest.raises(TrackError) as caught:
        audio.decode(b"no audio at all" * 100, 8000, 3.0)
    assert "Format not recognised" in str(caught.value.__cause__)
