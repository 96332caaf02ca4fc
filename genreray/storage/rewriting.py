"""A file on disk changed as a whole: another one is made beside it, and takes its place when it is complete."""

import contextlib
import dataclasses
import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from genreray.errors import FileError, FileOutcome
from genreray.storage.uris import is_local, local_path

_PIECE = 2**20  # bytes


@dataclasses.dataclass(frozen=True)
class Stamp:
    """What shows, without reading it, that a file is the one that it was."""

    size: int  # bytes
    modified: int  # ns since 1970


def stamp(uri: str) -> Stamp | None:
    """Return the size and the time of modification of a file on disk; None elsewhere, and where there is none."""
    if not is_local(uri):
        return None
    try:
        return _stamp(Path(local_path(uri)).stat())
    except OSError:
        return None


def _stamp(status: os.stat_result) -> Stamp:
    return Stamp(status.st_size, status.st_mtime_ns)


def check_rewritable(uri: str) -> Stamp:
    """Return the stamp of a file on disk that may be rewritten; a link stands for the file that it leads to.

    Raises FileError where it is not there (failed), is no plain file or has several names (unsupported), or must not
    be written to, it or its folder (read_only). A file with several names (hard links) would part from the others.
    """
    if not is_local(uri):
        raise FileError(FileOutcome.REMOTE, "not on a disk of this machine")
    path = Path(local_path(uri))
    with _reasons():
        status = path.stat()
        folder = path.resolve().parent
    if not stat.S_ISREG(status.st_mode):
        raise FileError(FileOutcome.UNSUPPORTED, "not a plain file")
    if status.st_nlink > 1:
        raise FileError(
            FileOutcome.UNSUPPORTED, f"the file has {status.st_nlink} names (hard links), which would be parted"
        )
    # By the bits too: root may write to everything, and whoever took them away meant it.
    if not status.st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH) or not os.access(path, os.W_OK):
        raise FileError(FileOutcome.READ_ONLY, "no permission to write to it")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise FileError(FileOutcome.READ_ONLY, "no permission to write to its folder")
    return _stamp(status)


class Rewriting:
    """A file on disk and the one that is to replace it: `old`, open for reading, and `new`, empty, for both."""

    def __init__(self, path: Path, old: BinaryIO, new: BinaryIO, status: os.stat_result) -> None:
        self.old = old
        self.new = new
        self._path = path
        self._status = status

    def copy(self) -> None:
        """Begin `new` with all that `old` holds."""
        shutil.copyfileobj(self.old, self.new, _PIECE)
        self.new.seek(0)

    def flush(self) -> None:
        """Bring `new` to the disk."""
        self.new.flush()
        os.fsync(self.new.fileno())

    def commit(self, modified: int) -> None:
        """Put `new` in the place of `old`, with its mode, owner and attributes, modified at `modified` (ns).

        At any time there is the one file or the other, whole, under the name. Raises FileError (changed) where
        something else wrote to the old one or replaced it meanwhile.
        """
        new = Path(self.new.name)
        with contextlib.suppress(PermissionError):  # only root gives files away
            os.chown(new, self._status.st_uid, self._status.st_gid)
        shutil.copystat(self._path, new)
        os.utime(new, ns=(self._status.st_atime_ns, modified))
        self.flush()
        now = self._path.stat()
        if (now.st_dev, now.st_ino, _stamp(now)) != (self._status.st_dev, self._status.st_ino, _stamp(self._status)):
            raise FileError(FileOutcome.CHANGED, "something else changed it meanwhile")
        new.replace(self._path)
        _sync_folder(self._path.parent)


@contextlib.contextmanager
def rewriting(uri: str, expected: Stamp) -> Iterator[Rewriting]:
    """Open a file on disk to be replaced by `Rewriting.commit`; without that, nothing happens to it.

    Links are followed, and stay. The new file has a hidden name in the same folder, always the same: what a killed job
    left is written over. Raises FileError as `check_rewritable` does, and where its stamp is not `expected`.
    """
    if check_rewritable(uri) != expected:
        raise FileError(FileOutcome.CHANGED, "something else changed it meanwhile")
    path = Path(local_path(uri)).resolve()
    with _reasons():
        try:
            with path.open("rb") as old, _beside(path).open("w+b") as new:
                status = os.fstat(old.fileno())
                if _stamp(status) != expected:
                    raise FileError(FileOutcome.CHANGED, "something else changed it meanwhile")
                yield Rewriting(path, old, new, status)
        finally:
            _beside(path).unlink(missing_ok=True)


def remove_left_over(uri: str) -> None:
    """Remove what a killed job left beside a file on disk that it was rewriting."""
    with contextlib.suppress(OSError):
        _beside(Path(local_path(uri)).resolve()).unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    name = hashlib.sha256(str(path).encode(errors="surrogateescape")).hexdigest()[:32]
    return path.with_name(f".{name}.part")


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not every filesystem does that to folders
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def _reasons() -> Iterator[None]:
    """Turn the system's errors into FileErrors."""
    try:
        yield
    except OSError as error:
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            raise FileError(FileOutcome.FAILED, "no such file") from None
        is_forbidden = isinstance(error, PermissionError) or error.errno == errno.EROFS
        outcome = FileOutcome.READ_ONLY if is_forbidden else FileOutcome.FAILED
        raise FileError(outcome, error.strerror or str(error)) from error
