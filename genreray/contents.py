"""The files of tracks, one after another: those in stores are fetched in threads while one is decoded."""

from collections.abc import Callable, Iterable
from typing import BinaryIO

from genreray import storage
from genreray.ahead import map_ahead

# Four requests of 100 ms each for every 25 ms of work hide behind it. Each holds a piece at most (32 MiB).
_AHEAD = 4


def opener(uris: Iterable[str]) -> Callable[[str], BinaryIO]:
    """Return what opens each of `uris`, to be called with them in their order: `storage.open_track`, ahead of time.

    Files on disk are read when they are asked for, as the system reads ahead by itself. What is fetched ahead is the
    first piece of a file, which is all of most; the others' rest is read when it is their turn.
    """
    first = map_ahead(_first, (uri for uri in uris if not storage.is_local(uri)), _AHEAD)

    def open_track(uri: str) -> BinaryIO:
        if storage.is_local(uri):
            return storage.open_track(uri)
        content, error = next(first)
        if error is not None:
            raise error
        return storage.open_track(uri, content)

    return open_track


def _first(uri: str) -> tuple[bytes | None, Exception | None]:
    """Return the first piece or what was raised instead, which is for this file alone and ends nothing."""
    try:
        return storage.read_first(uri), None
    except Exception as error:
        return None, error
