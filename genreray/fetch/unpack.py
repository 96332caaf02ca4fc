"""A zip file into a folder or a bucket, member by member and in pieces; what is there already is left."""

import contextlib
import lzma
import threading
import zipfile
import zlib
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from rich.console import Console

from genreray import storage
from genreray.errors import UserError
from genreray.fetch import room
from genreray.progress import Progress

_PIECE = 2**16  # bytes; larger ones take twice the time, in new memory for each
_WRITERS = 8  # at once: a bucket answers each small file after a while
_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError)


def unpack(archive: Path, dest: str, folder: str, console: Console) -> tuple[dict[str, int], int]:
    """Write the members of `archive`, all of which lie in `folder`, below `dest`: each whole, or not at all.

    Returns the size of each file by its path in `folder`, and how many of them were written now; those that were
    there in their right size are left.

    Raises UserError, before anything is written, where a member lies elsewhere or the disk has no room; and where one
    is damaged, or cannot be written.
    """
    target = storage.join(dest, folder)
    with archive.open("rb") as file, _opened(file, archive) as source:
        members = _members(source, archive, folder)
        sizes = {path: info.file_size for path, info in members.items()}
        there = dict(storage.list_sizes(target))
        todo = [path for path in members if there.get(path) != sizes[path]]
        if storage.is_local(dest):
            room.require([(_local(target), sum(sizes[path] for path in todo))], f"what is in {archive.name}")
        for parent in sorted({storage.parent(storage.join(target, path)) for path in todo}):
            storage.make_folder(parent)
        reader = _Reader(source, archive)
        _write_all({storage.join(target, path): members[path] for path in todo}, reader, console)
    return sizes, len(todo)


def _local(uri: str) -> Path:
    return Path(storage.filesystem(uri)[1])


@contextlib.contextmanager
def _opened(file: object, archive: Path) -> Iterator[zipfile.ZipFile]:
    try:
        source = zipfile.ZipFile(file)  # type: ignore[call-overload]
    except _DAMAGE as error:
        raise UserError(f"{archive} is not a zip file: {error}") from error
    with source:
        yield source


def _members(source: zipfile.ZipFile, archive: Path, folder: str) -> dict[str, zipfile.ZipInfo]:
    """Return the files in the archive by their path in `folder`; raise UserError for one that lies anywhere else."""
    members = {}
    for info in source.infolist():
        first, *below = info.filename.removesuffix("/").split("/")
        is_below = first == folder and (below or info.is_dir()) and not {"", ".", ".."} & {*below}
        if not is_below:
            raise UserError(f"{archive} holds {info.filename!r}, which is not in {folder}/: nothing was unpacked")
        if not info.is_dir():
            members["/".join(below)] = info
    return members


def _write_all(todo: dict[str, zipfile.ZipInfo], reader: "_Reader", console: Console) -> None:
    pool = ThreadPoolExecutor(_WRITERS)
    try:
        with Progress(console, "unpack", "files").track(len(todo)) as advance:
            for future in as_completed([pool.submit(_write, uri, info, reader) for uri, info in todo.items()]):
                future.result()
                advance(1)
    finally:
        pool.shutdown(cancel_futures=True)


def _write(uri: str, info: zipfile.ZipInfo, reader: "_Reader") -> None:
    pieces = reader.pieces(info)
    with contextlib.closing(pieces):
        try:
            storage.write_pieces(uri, pieces)
        except UserError as error:
            if storage.is_local(uri) and isinstance(error.__cause__, OSError):
                raise room.not_written(_local(uri), error.__cause__, info.file_size) from error
            raise


class _Reader:
    """Reads members of one archive for many threads."""

    def __init__(self, source: zipfile.ZipFile, archive: Path) -> None:
        self._source = source
        self._archive = archive
        self._lock = threading.Lock()  # zipfile counts the open members without one

    def pieces(self, info: zipfile.ZipInfo) -> Generator[bytes, None, None]:
        """Yield the content of a member; raises UserError where it is damaged, at its end where only its CRC tells."""
        try:
            with self._lock:
                member = self._source.open(info)
            try:
                while piece := member.read(_PIECE):
                    yield piece
            finally:
                with self._lock:
                    member.close()
        except _DAMAGE as error:
            raise UserError(
                f"{self._archive} is damaged at {info.filename}: {error}; delete it, and the same command downloads it "
                "anew"
            ) from error
        except RuntimeError as error:  # encryption, or a method of compression, which is not implemented
            raise UserError(f"{self._archive} holds {info.filename}, which cannot be unpacked: {error}") from error
