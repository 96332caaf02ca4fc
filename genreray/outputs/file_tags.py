"""The genre in a file's own tags, by mutagen: ID3, Vorbis comments, MP4 atoms, ASF; read, and written."""

import dataclasses
import io
import struct
from collections.abc import Sequence
from typing import Any, BinaryIO

import mutagen
from mutagen.aiff import AIFF
from mutagen.apev2 import APENoHeaderError, APEv2
from mutagen.asf import ASF
from mutagen.flac import FLAC
from mutagen.id3 import TCON, Encoding
from mutagen.mp3 import MP3
from mutagen.mp4 import MP4
from mutagen.oggflac import OggFLAC
from mutagen.oggopus import OggOpus
from mutagen.oggvorbis import OggVorbis
from mutagen.wave import WAVE

from genreray.errors import FileError, FileOutcome

_ID3 = (MP3, AIFF, WAVE)
_KEYS: dict[type, str] = {
    **dict.fromkeys((FLAC, OggVorbis, OggOpus, OggFLAC), "genre"),
    MP4: "\xa9gen",
    ASF: "WM/Genre",
}
_INFO = ("length", "sample_rate", "channels", "bits_per_sample", "codec")  # of the audio, where a format has them


@dataclasses.dataclass(frozen=True)
class Tagged:
    """What a file is, and which genre it has."""

    kind: type[Any]  # mutagen's class of its format
    genres: Sequence[str]
    elsewhere: str | None = None  # where the genre is, if in a place that nothing is written to

    @property
    def genre(self) -> str | None:
        """The genres as one text, None where there is none."""
        return "; ".join(self.genres) or None


def read(file: BinaryIO) -> Tagged:
    """Return the format of an open file, told by its content and its name, and its genre.

    Raises FileError: unsupported where the format is none that is written to, failed where it cannot be read.
    """
    try:
        found = mutagen.File(file)
        kind = type(found)
        if kind not in _ID3 and kind not in _KEYS:
            raise FileError(FileOutcome.UNSUPPORTED, "no tags are written to files of this format")
        genres = _genres(_load(kind, file))
        if genres:
            return Tagged(kind, genres)
        if kind is WAVE and (genre := _riff_genre(file)):
            return Tagged(kind, [genre], "a LIST INFO chunk")
        if kind is MP3 and (genre := _ape_genre(file)):
            return Tagged(kind, [genre], "an APEv2 tag")
        return Tagged(kind, [])
    except FileError:
        raise
    except Exception as error:  # mutagen meets files that nobody foresaw
        raise FileError(FileOutcome.FAILED, f"its tags cannot be read: {_said(error)}") from error


def write(file: BinaryIO, kind: type[Any], genre: str) -> None:
    """Set the genre in the tags of an open file of the format `kind`; what else is in them stays.

    Raises FileError (failed) where that cannot be done, where the genre does not come back, and where the audio is
    not as it was by what its format says of it. The file is then of no use.
    """
    try:
        tagged = _load(kind, file)
        audio = _audio(tagged)
        if tagged.tags is None:
            tagged.add_tags()
        file.seek(0)
        if kind in _ID3:
            # ID3v2.3 stays that, with its frames: many players read no other.
            version = 3 if tagged.tags.version[:2] in ((2, 2), (2, 3)) else 4
            tagged.tags.setall("TCON", [TCON(encoding=Encoding.UTF8, text=[genre])])
            tagged.tags.save(file, v2_version=version, v23_sep=None)
        else:
            tagged.tags[_KEYS[kind]] = [genre]
            tagged.save(file)
        again = _load(kind, file)
        if list(_genres(again)) != [genre]:
            raise FileError(FileOutcome.FAILED, f"its tags cannot hold the genre {genre!r}")
        if _audio(again) != audio:
            raise FileError(FileOutcome.FAILED, "its audio would not be the same")
    except FileError:
        raise
    except Exception as error:
        raise FileError(FileOutcome.FAILED, f"its tags cannot be written: {_said(error)}") from error


def _load(kind: type[Any], file: BinaryIO) -> Any:
    file.seek(0)
    # Not translated to another version of ID3, which would rewrite more than the genre.
    return kind(file, translate=False) if kind in _ID3 else kind(file)


def _genres(tagged: Any) -> list[str]:
    if tagged.tags is None:
        return []
    if type(tagged) in _ID3:
        found = [genre for frame in tagged.tags.getall("TCON") for genre in frame.genres]
    else:
        found = tagged.tags.get(_KEYS[type(tagged)], [])
    return [text for genre in found if (text := str(genre).strip())]


def _audio(tagged: Any) -> list[Any]:
    return [getattr(tagged.info, name, None) for name in _INFO]


def _ape_genre(file: BinaryIO) -> str | None:
    """Return the genre in the APEv2 tag that some programs put at the end of an mp3."""
    file.seek(0)
    try:
        return str(APEv2(file).get("Genre", "")).strip() or None
    except APENoHeaderError:
        return None


def _riff_genre(file: BinaryIO) -> str | None:
    """Return the genre in the LIST INFO chunk of a wav (Microsoft, Multimedia Programming Interface 1.0, IGNR)."""
    end = file.seek(0, io.SEEK_END)
    for name, place, size in _chunks(file, 12, end):
        file.seek(place)
        if name == b"LIST" and file.read(4) == b"INFO":
            for field, start, length in _chunks(file, place + 4, min(place + size, end)):
                if field == b"IGNR":
                    file.seek(start)
                    text = file.read(min(length, 2**16)).split(b"\0")[0]
                    return text.decode(errors="replace").strip() or None
    return None


def _chunks(file: BinaryIO, place: int, end: int) -> list[tuple[bytes, int, int]]:
    """Return name, place and size of the content of each RIFF chunk between two places."""
    found = []
    while place + 8 <= end:
        file.seek(place)
        name, size = struct.unpack("<4sI", file.read(8))
        found.append((name, place + 8, size))
        place += 8 + size + size % 2
    return found


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
