"""Links: how a web page refers to a track's file, and which of them a browser can play."""

import os
import posixpath
import re
import urllib.parse

from genreray import storage
from genreray.storage.uris import local_path

_HOST = re.compile(r"[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]")


def link(uri: str, folder: str) -> str | None:
    """Return the URL by which a page in `folder` plays the file at `uri`; None where browsers have none for it.

    A file on disk is relative to a page on disk, so that both can be moved, or served, together; what URLs give a
    meaning to is in it as %XX, bytes that are not UTF-8 too. http and https stay as they are.
    """
    if not storage.is_local(uri):
        return uri if origin(uri) else None
    path = os.fsencode(local_path(uri))
    if not storage.is_local(folder):
        return "file://" + urllib.parse.quote(path)
    return urllib.parse.quote(posixpath.relpath(path, os.fsencode(local_path(folder))))


def origin(url: str) -> str | None:
    """Return scheme, host and port of an http or https URL, as a page's content security policy names them."""
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    host = parts.netloc.rpartition("@")[2].removesuffix(f":{port}")
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host):
        return None
    return f"{parts.scheme}://{host}" + (f":{port}" if port is not None else "")
