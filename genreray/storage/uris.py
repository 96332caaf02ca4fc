"""A URI as text: a local path, s3://, any URL that fsspec reads."""

import os
import posixpath
import re
import urllib.parse
from pathlib import Path

from genreray.errors import UserError

_FILE = "file://"
_PASSWORD = re.compile(r"[^/@]*:[^/@]*@")
_SCHEME = re.compile(r"(?:[A-Za-z][\w+.-]*::)*[A-Za-z][\w+.-]*://")


def is_local(uri: str) -> bool:
    """Return whether `uri` names a file or folder of this machine: a plain path or a file:// URL."""
    return uri.startswith(_FILE) or not _SCHEME.match(uri)


def absolute(uri: str) -> str:
    """Return `uri` as every worker can open it and every table hold it: local paths made absolute, URLs as they are.

    A local name that is not UTF-8 becomes a file:// URL, its bytes as %XX (RFC 8089).
    Raises UserError for what cannot be a path.
    """
    if is_local(uri):
        return local_uri(local_path(uri))
    scheme, path = split(uri)
    if _PASSWORD.match(path):
        raise UserError(
            f"{scheme}***@... holds a password, which tables and logs would show: give it to fsspec in its "
            "configuration, as in FSSPEC_FTP_USERNAME and FSSPEC_FTP_PASSWORD"
        )
    return scheme + path.rstrip("/")


def refuse_password(url: str, name: str, instead: str) -> None:
    """Raise UserError where `url`, given as `name`, has a user or a password before its host: logs would show it."""
    if "@" in split(url)[1].partition("/")[0]:
        raise UserError(f"{name} holds a password, which logs would show: {instead}")


def join(uri: str, *parts: str) -> str:
    """Return the URI of something below `uri`."""
    scheme, path = split(local_path(uri) if uri.startswith(_FILE) else uri)
    if scheme:
        return scheme + posixpath.join(path.rstrip("/"), *parts)
    return local_uri(posixpath.join(path.rstrip("/") or "/", *parts))


def parent(uri: str) -> str:
    """Return the URI of the folder that holds `uri`; of a bucket, the scheme alone."""
    scheme, path = split(absolute(uri))
    return scheme + posixpath.dirname(path)


def name(uri: str) -> str:
    """Return the last part of a URI as text that any table can hold; bytes that are not UTF-8 show as \\xNN."""
    path = local_path(uri) if is_local(uri) else split(uri)[1]
    return posixpath.basename(path).encode(errors="surrogateescape").decode(errors="backslashreplace")


def relative(uri: str, folder: str) -> str:
    """Return the path of a file on disk as seen from a folder on disk; the URI itself where one is elsewhere.

    Links among the folders are followed on both ways, as `..` is taken from where a folder really lies. What is not
    UTF-8 stays a URI.
    """
    if not (is_local(uri) and is_local(folder)):
        return uri
    where, base = posixpath.split(local_path(uri))
    path = posixpath.relpath(posixpath.join(os.path.realpath(where), base), os.path.realpath(local_path(folder)))
    return path if local_uri(path) == path else uri


def split(uri: str) -> tuple[str, str]:
    """Return the scheme with its ://, empty for a plain path, and what follows."""
    match = _SCHEME.match(uri)
    return (match.group(), uri[match.end() :]) if match else ("", uri)


def local_path(uri: str) -> str:
    """Return the absolute path of a local URI as Python opens it: bytes that are not UTF-8 as surrogates.

    Raises UserError for what cannot be a path.
    """
    if uri.startswith(_FILE):
        uri = urllib.parse.unquote(uri.removeprefix(_FILE), errors="surrogateescape")
    if not uri or "\0" in uri:
        raise UserError(f"{uri!r} cannot be a path: give a file or a folder")
    path = Path(uri)
    return str((path.expanduser() if path.parts[:1] == ("~",) else path).absolute())


def local_uri(path: str) -> str:
    """Return a local path as text that any table can hold: itself where it is UTF-8, else a file:// URL."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return _FILE + urllib.parse.quote(os.fsencode(path))
    return path
