"""The filesystem behind a URI, what it says is there, and its errors as one line each."""

import contextlib
from collections.abc import Iterator

import fsspec
import pyarrow as pa
import pyarrow.fs

from genreray.errors import UserError
from genreray.storage import s3
from genreray.storage.reasons import reason, without_secrets
from genreray.storage.uris import absolute, is_local, local_path, local_uri, split

# Where folders are but prefixes of names, a write appears whole, and one request lists a thousand names at any depth.
_OBJECT_STORES = frozenset(["s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"])


def filesystem(uri: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """Return the fsspec filesystem of `uri` and the path in it.

    Raises UserError for a URL scheme that nothing installed can read.
    """
    if is_local(uri):
        return fsspec.filesystem("file"), local_path(uri)
    uri = absolute(uri)
    scheme, name = split(uri)
    options = s3.options(uri)
    try:
        if "::" in name and "://" not in name:  # part of a name, which fsspec would take for a chain of filesystems
            fs, _ = fsspec.core.url_to_fs(scheme + name.split("::")[0], **options)
            path = fs._strip_protocol(uri)
        else:
            fs, path = fsspec.core.url_to_fs(uri, **options)
    except Exception as error:  # each store has its own
        raise UserError(f"{without_secrets(uri)} cannot be opened: {reason(error)}") from None
    if s3.is_s3(uri):
        s3.prepare(fs)
    return fs, path


def arrow_filesystem(uri: str) -> tuple[pa.fs.FileSystem, str]:
    """Return the pyarrow filesystem of `uri` and the path in it.

    Raises UserError as `filesystem` does, and for a local name that is not UTF-8, which pyarrow cannot open.
    """
    fs, path = filesystem(uri)
    if not is_local(uri):
        return pa.fs.PyFileSystem(pa.fs.FSSpecHandler(fs)), path
    if (printable := local_uri(path)) != path:
        raise UserError(f"the name {printable} is not UTF-8: rename it, or give another")
    return pa.fs.LocalFileSystem(), path


def is_object_store(fs: fsspec.AbstractFileSystem) -> bool:
    """Return whether `fs` holds objects by name and has no folders of its own."""
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
    return not _OBJECT_STORES.isdisjoint(protocols)


@contextlib.contextmanager
def faults(uri: str, done: str) -> Iterator[None]:
    """Turn what a filesystem raises into a UserError that says what cannot be done.

    Its cause is kept for local files alone: what a store's client says may hold credentials, and Ray writes the
    tracebacks of tasks, causes included, into its logs.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        # Stores raise their clients' own errors too, such as botocore's for missing credentials.
        if is_local(uri) and not isinstance(error, OSError | ValueError):
            raise
        said = s3.fault(uri, error) or f"{without_secrets(uri)} cannot be {done}: {reason(error)}"
        raise UserError(said) from (error if is_local(uri) else None)


def exists(uri: str) -> bool:
    """Return whether there is a file or folder at `uri`.

    Raises UserError where that cannot be seen: no permission, no credentials, no network, no bucket.
    """
    return _is("exists", uri)


def is_folder(uri: str) -> bool:
    """Return whether `uri` is a folder (for an object store: a prefix with something below it).

    Raises UserError as `exists` does.
    """
    return _is("isdir", uri)


def is_file(uri: str) -> bool:
    """Return whether `uri` is a file.

    Raises UserError as `exists` does.
    """
    return _is("isfile", uri)


_KINDS = {"exists": ("file", "directory"), "isdir": ("directory",), "isfile": ("file",)}


def _is(question: str, uri: str) -> bool:
    fs, path = filesystem(uri)
    s3.check(uri)
    with faults(uri, "looked at"):
        fs.invalidate_cache()  # of listings: other processes write too
        asks_whole_listing = is_object_store(fs)  # s3fs lists all that a folder holds to see that it is one
        if not asks_whole_listing and getattr(fs, question)(path):
            return True
        # fsspec says no as well where it was not let in.
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            kind = fs.info(path)["type"]
            return asks_whole_listing and kind in _KINDS[question]
    return False
