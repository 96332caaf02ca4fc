"""Files written whole: no reader ever sees a half of one, on disk or in an object store."""

import contextlib
import hashlib
import posixpath
import uuid
from collections.abc import Iterable
from pathlib import Path

from genreray.storage import s3
from genreray.storage.access import faults, filesystem, is_object_store
from genreray.storage.uris import is_local, join


def make_folder(uri: str) -> None:
    """Create the folder `uri` where folders are real.

    Raises UserError where it cannot be made.
    """
    fs, path = filesystem(uri)
    if not is_object_store(fs):  # where this would make a missing bucket
        with faults(uri, "made"):
            fs.makedirs(path, exist_ok=True)


def check_writable(uri: str) -> None:
    """Write an empty hidden file into the folder `uri`, which is made where need be, and remove it.

    Raises UserError where that cannot be done, which is better known before hours of work.
    """
    make_folder(uri)
    probe = join(uri, f".{uuid.uuid4().hex}.probe")
    with faults(uri, "written to"):
        fs, path = filesystem(probe)
        fs.pipe_file(path, b"")
        with contextlib.suppress(Exception):  # some may write and not remove: it is hidden
            fs.rm_file(path)


def write_bytes(uri: str, content: bytes | memoryview) -> None:
    """Write a whole file, replacing what is there; on disk and in object stores no reader ever sees a half of it.

    Stores take bytes alone. Raises UserError where it cannot be written.
    """
    fs, path = filesystem(uri)
    with faults(uri, "written"):
        if is_local(uri):
            _write_local(Path(path), [content], uuid.uuid4().hex)
            return
        if not is_object_store(fs):
            fs.makedirs(posixpath.dirname(path), exist_ok=True)
        fs.pipe_file(path, content)


def write_pieces(uri: str, pieces: Iterable[bytes]) -> None:
    """Write a whole file piece by piece, as `write_bytes` does, by one writer at a time.

    Where a piece cannot be had or written nothing stays; what the pieces raise is raised. Stores other than S3 may
    show the file while it grows. Raises UserError where it cannot be written.
    """
    fs, path = filesystem(uri)
    if is_local(uri):
        with faults(uri, "written"):
            # The same name each time: what a killed job left is written over.
            _write_local(Path(path), pieces, hashlib.sha256(path.encode(errors="surrogateescape")).hexdigest()[:32])
        return
    with faults(uri, "written"):
        if not is_object_store(fs):
            fs.makedirs(posixpath.dirname(path), exist_ok=True)
        file = fs.open(path, "wb", **({"autocommit": False} if s3.is_s3(uri) else {}))
        try:
            for piece in pieces:
                file.write(piece)
            file.close()
        except BaseException:
            with contextlib.suppress(Exception):
                file.close()
            with contextlib.suppress(Exception):
                file.discard() if s3.is_s3(uri) else fs.rm_file(path)
            raise
        if s3.is_s3(uri):
            file.commit()


def _write_local(target: Path, pieces: Iterable[bytes | memoryview], name: str) -> None:
    """Write a file under another name, and rename it when it is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{name}.part")
    try:
        with temporary.open("wb") as file:
            for piece in pieces:
                file.write(piece)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
