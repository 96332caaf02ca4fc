"""Files written whole: no reader ever sees a half of one, on disk or in an object store."""

import contextlib
import hashlib
import posixpath
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

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


def write_row_groups(uri: str, schema: pa.Schema, tables: Iterable[pa.Table], **options: Any) -> None:
    """Write tables as the row groups of one Parquet file, as `write_bytes` does; `options` as pyarrow's ParquetWriter.

    On disk each is written when it comes: no more than one is in memory. What the tables raise is raised.
    """
    if not is_local(uri):
        buffer = pa.BufferOutputStream()
        _write_groups(uri, buffer, schema, tables, options)
        write_bytes(uri, buffer.getvalue().to_pybytes())  # s3fs takes nothing but bytes
        return
    _, path = filesystem(uri)
    with contextlib.ExitStack() as stack:
        with faults(uri, "written"):
            temporary = stack.enter_context(_placed(Path(path), uuid.uuid4().hex))
            file = stack.enter_context(pa.OSFile(str(temporary), "wb"))
        _write_groups(uri, file, schema, tables, options)
        with faults(uri, "written"):
            stack.close()


def _write_groups(
    uri: str, sink: pa.NativeFile, schema: pa.Schema, tables: Iterable[pa.Table], options: dict[str, Any]
) -> None:
    with faults(uri, "written"):
        writer = pq.ParquetWriter(sink, schema, **options)
    try:
        for table in tables:
            with faults(uri, "written"):
                writer.write_table(table)
    except BaseException:
        with contextlib.suppress(Exception):  # or it would try once more, with nobody to hear, when it is collected
            writer.close()
        raise
    with faults(uri, "written"):
        writer.close()


def _write_local(target: Path, pieces: Iterable[bytes | memoryview], name: str) -> None:
    with _placed(target, name) as temporary, temporary.open("wb") as file:
        for piece in pieces:
            file.write(piece)


@contextlib.contextmanager
def _placed(target: Path, name: str) -> Iterator[Path]:
    """Give the path of a file to be written, which takes the place of `target` when it is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{name}.part")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
