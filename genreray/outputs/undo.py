"""The undo file: for each change of a file what is needed to make it byte for byte what it was before."""

import base64
import binascii
import contextlib
import dataclasses
import hashlib
import json
import zlib
from array import array
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from genreray import storage
from genreray.errors import FileError, FileOutcome, UserError
from genreray.outputs import delta
from genreray.outputs.delta import Content, Piece
from genreray.storage import Journal, Stamp


@dataclasses.dataclass(frozen=True)
class State:
    """A file as it was at one time."""

    size: int  # bytes
    modified: int  # ns since 1970
    sha256: str

    @property
    def stamp(self) -> Stamp:
        """What shows of it without reading it."""
        return Stamp(self.size, self.modified)


@dataclasses.dataclass(frozen=True)
class Change:
    """One change of one file, in full: `made_of` says how the old content follows from the new."""

    uri: str
    genre_before: str | None
    genre_after: str
    before: State
    after: State
    made_of: list[Piece]

    def to_line(self) -> bytes:
        """Return the change as one line of JSON; bytes are deflated, in base 64."""
        made_of = [
            base64.b64encode(zlib.compress(piece)).decode() if isinstance(piece, bytes) else list(piece)
            for piece in self.made_of
        ]
        return json.dumps({**dataclasses.asdict(self), "made_of": made_of}, ensure_ascii=False).encode()

    @classmethod
    def from_line(cls, line: bytes) -> "Change":
        """Return what `to_line` wrote. Raises ValueError where it is something else."""
        try:
            value = json.loads(line)
            made_of: list[Piece] = [
                zlib.decompress(base64.b64decode(piece, validate=True)) if isinstance(piece, str) else _run(piece)
                for piece in value["made_of"]
            ]
            states = {name: State(**value[name]) for name in ("before", "after")}
            return cls(value["uri"], value["genre_before"], value["genre_after"], **states, made_of=made_of)
        except (ValueError, KeyError, TypeError, RecursionError, zlib.error, binascii.Error) as error:
            raise ValueError(f"not a line of an undo file: {error}") from None


def _run(piece: Any) -> tuple[int, int]:
    start, length = piece
    return int(start), int(length)


def digest(pieces: Iterable[bytes]) -> str:
    """Return the SHA-256 of a content that comes in pieces."""
    found = hashlib.sha256()
    for piece in pieces:
        found.update(piece)
    return found.hexdigest()


def whole(content: Content) -> Iterator[bytes]:
    """Yield a content in pieces."""
    return delta.rebuilt([(0, len(content))], content)


def change(uri: str, old: Content, new: Content, modified: int, genre_before: str | None, genre_after: str) -> Change:
    """Return the change of a file from `old` to `new`, after seeing that it can be undone.

    Raises FileError (failed) where it cannot.
    """
    before = State(len(old), modified, digest(whole(old)))
    made_of = delta.pieces(old, new)
    if digest(delta.rebuilt(made_of, new)) != before.sha256:
        raise FileError(FileOutcome.FAILED, "the change could not be undone")
    after = State(len(new), modified, digest(whole(new)))
    return Change(uri, genre_before, genre_after, before, after, made_of)


class Log:
    """The changes in an undo file, by the files that were changed; 16 bytes of memory each."""

    def __init__(self, lines: Journal, uri: str) -> None:
        self.uri = uri
        self._lines = lines
        files, places = array("Q"), array("Q")
        for place, line in lines.lines():
            files.append(_number(self._read(line, place).uri))
            places.append(place)
        order = np.argsort(np.frombuffer(files, np.uint64), kind="stable") if files else np.zeros(0, np.int64)
        self._files = np.frombuffer(files, np.uint64)[order] if files else np.zeros(0, np.uint64)
        self._places = np.frombuffer(places, np.uint64)[order] if files else np.zeros(0, np.uint64)

    @property
    def n_files(self) -> int:
        """How many files were changed when the undo file was opened."""
        return len(np.unique(self._files))

    def of(self, uri: str) -> list[Change]:
        """Return the changes of a file that were there when the undo file was opened, the first one first."""
        number = np.uint64(_number(uri))
        start, end = (int(np.searchsorted(self._files, number, side)) for side in ("left", "right"))
        found = (self._at(place) for place in self._places[start:end].tolist())
        return [one for one in found if one.uri == uri]

    def files(self) -> Iterator[tuple[str, list[Change]]]:
        """Yield each file that was changed, the one first changed first, with its changes."""
        firsts = np.unique(self._files, return_index=True)[1]  # the places of a file are in order
        for place in sorted(self._places[firsts].tolist()):
            uri = self._at(place).uri
            yield uri, self.of(uri)

    def append(self, one: Change) -> None:
        """Add a change, which is on the disk when this returns."""
        self._lines.append(one.to_line())

    def _at(self, place: int) -> Change:
        return self._read(self._lines.at(place), place)

    def _read(self, line: bytes, place: int) -> Change:
        try:
            return Change.from_line(line)
        except ValueError as error:
            raise UserError(
                f"{self.uri} is damaged at byte {place:,}: {error}; mend or remove that line to go on with the others"
            ) from None


def _number(uri: str) -> int:
    return int.from_bytes(hashlib.blake2b(uri.encode(), digest_size=8).digest(), "big")


@contextlib.contextmanager
def log(uri: str) -> Iterator[Log]:
    """Open the undo file at `uri`, which is made where need be.

    Raises UserError where it is not on a disk of this machine, in use by another job, or damaged.
    """
    with storage.journal(uri) as lines:
        yield Log(lines, uri)
