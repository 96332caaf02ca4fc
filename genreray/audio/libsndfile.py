"""mp3, flac, ogg, opus, wav and aiff, read by libsndfile, which seeks to the sample."""

import re
from typing import Any

import numpy as np
import soundfile as sf

from genreray.audio.clips import Clip, Finish, Samples, check_format, starts, to_mono
from genreray.audio.source import Source
from genreray.errors import TrackError

_BLOCK = 2**16  # samples of all channels read at a time: they are averaged while they are in the cache
_LEAD = 8192  # frames read before a clip after another: there libsndfile gets up to a block of Vorbis wrong
# The header in an MPEG file's first frame, with the flag that says the number of frames follows.
_MPEG_LENGTH = re.compile(rb"(?:Xing|Info)\0\0\0[\x01\x03\x05\x07\x09\x0b\x0d\x0f]")


class CannotReadError(Exception):
    """libsndfile cannot read the file, or not well: FFmpeg should."""


class _File(sf.SoundFile):  # type: ignore[misc]  # it has no types
    """A file that is read block after block, from memory where it is there.

    soundfile seeks to where it is after each read of a file that can seek, for which libsndfile decodes mp3 anew.
    """

    def _open(self, file: Source, mode: int, closefd: bool) -> Any:
        """Return libsndfile's handle: soundfile's own method, which knows no reading without Python."""
        content = file.content()
        if content is None:
            return super()._open(file, mode, closefd)
        from genreray.audio.memory import Memory  # here: those who only train do without numba

        self._memory = Memory(content)
        handle = self._memory.open(mode, self._info)
        if handle == sf._ffi.NULL:
            raise sf.LibsndfileError(sf._snd.sf_error(handle))
        return handle

    def fill(self, block: Samples) -> int:
        """Set block [n_samples, n_channels] to the next samples and return how many there were.

        soundfile's `read` does the same, and what it does around it takes 2 % of decoding an mp3.
        """
        n_read = sf._snd.sf_readf_float(self._file, sf._ffi.from_buffer("float[]", block), len(block))
        sf._error_check(self._errorcode)
        return int(n_read)

    def seekable(self) -> bool:
        """Return that it is not: `seek` asks for no leave."""
        return False


def read(source: Source, duration: float, n: int, finish: Finish) -> list[Clip | TrackError]:
    """Return what `finish` makes of each of at most `n` clips.

    Raises CannotReadError where libsndfile cannot read them, and TrackError where the file's header makes no sense.
    """
    try:
        source.seek(0)
        with _File(source) as file:
            check_format(file.samplerate, file.channels)
            if file.format == "MP3" and not _tells_length(source):
                raise CannotReadError("length unknown")
            wanted = round(duration * file.samplerate)
            made, is_whole = _clips(file, file.frames, wanted, n, finish)
            if not is_whole:
                # The header promises more than the file holds: the clips are those of what is there.
                made, _ = _clips(file, _count_frames(file), wanted, n, finish)
            return made
    except sf.LibsndfileError as error:
        raise CannotReadError(str(error.error_string).rstrip(".")) from None


def _clips(file: _File, n_frames: int, wanted: int, n: int, finish: Finish) -> tuple[list[Clip | TrackError], bool]:
    """Return the clips of a file of so many frames, and whether it has them all."""
    made: list[Clip | TrackError] = []
    is_whole = True
    for start in map(int, starts(0, n_frames, wanted, n)):
        lead = min(start, _LEAD) if made else 0
        y = _read_at(file, start - lead, lead + wanted)[lead:]
        is_whole &= start == 0 or len(y) == wanted
        made.append(finish(start / file.samplerate, y, file.samplerate))
        if not is_whole:
            break
    return made, is_whole


def _tells_length(mpeg: Source) -> bool:
    """Return whether an MPEG file says how long it is; libsndfile's guess from its size may be far off."""
    place, start = mpeg.tell(), 0
    while mpeg.seek(start) == start and (head := mpeg.read(10))[:3] == b"ID3":
        a, b, c, d = head[6:].ljust(4, b"\0")
        start += 10 + (a << 21 | b << 14 | c << 7 | d)  # seven bits a byte
    mpeg.seek(start)
    found = _MPEG_LENGTH.search(mpeg.read(64))
    mpeg.seek(place)
    return found is not None


def _read_at(file: _File, start: int, count: int) -> Samples:
    file.seek(start)
    y = np.empty(max(0, min(count, file.frames - start)), np.float32)
    block = np.empty((_BLOCK // file.channels, file.channels), np.float32)
    n_read = 0
    while n_read < len(y) and (n := file.fill(block[: len(y) - n_read])):
        to_mono(block[:n], y[n_read : n_read + n])
        n_read += n
    return y[:n_read]


def _count_frames(file: _File) -> int:
    file.seek(0)
    block = np.empty((_BLOCK // file.channels, file.channels), np.float32)
    total = 0
    while count := file.fill(block):
        total += count
    return total
