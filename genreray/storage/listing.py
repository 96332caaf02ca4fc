"""Every file below a folder, on disk and in stores."""

import collections
import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

import fsspec

from genreray.storage.access import faults, filesystem, is_object_store
from genreray.storage.uris import absolute, is_local, join, local_uri


def list_files(uri: str) -> Iterator[tuple[str, str]]:
    """Yield (path relative to `uri`, URI) of every file below the folder `uri` but hidden ones; none where it is not.

    Local links to folders are followed. No folder is entered twice, and one under its own name before its links.
    Raises UserError where a folder cannot be listed.
    """
    base = absolute(uri)
    fs, root = filesystem(uri)
    if is_local(uri):
        yield from ((path, join(base, path)) for path in _walk_local(root))
        return
    start = root.rstrip("/") + "/"
    fs.invalidate_cache()  # other processes write too
    for path in _objects(fs, root, uri) if is_object_store(fs) else _walk_store(fs, root, uri):
        relative = path.removeprefix(start)
        if relative != path and not relative.endswith("/") and not re.search(r"(^|/)\.", relative):
            yield relative, base + relative if base.endswith("/") else f"{base}/{relative}"


def _walk_local(root: str) -> Iterator[str]:
    """Yield the path from `root` of every file below it, hidden ones and those in hidden folders left out."""
    folders, links = collections.deque([root]), collections.deque[str]()
    seen: set[tuple[int, int]] = set()
    while folders or links:
        for entry, is_folder in _entries((folders or links).popleft(), seen):
            if not is_folder:
                yield entry.path.removeprefix(root).lstrip("/")
            else:
                (links if entry.is_symlink() else folders).append(entry.path)


def _entries(folder: str, seen: set[tuple[int, int]]) -> list[tuple["os.DirEntry[str]", bool]]:
    """Return what is in a folder but not hidden, by name, and whether it is a folder; nothing a second time."""
    with faults(local_uri(folder), "listed"):
        try:
            status = Path(folder).stat()
        except FileNotFoundError:
            return []
        if (status.st_dev, status.st_ino) in seen:
            return []
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            shown = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda e: e.name)
    return [(entry, _leads_to_folder(entry)) for entry in shown]


def _leads_to_folder(entry: "os.DirEntry[str]") -> bool:
    with faults(local_uri(entry.path), "looked at"):
        try:
            return entry.is_dir()
        except OSError as error:
            if error.errno == errno.ELOOP:  # a link to itself: a file that cannot be read
                return False
            raise


def _objects(fs: fsspec.AbstractFileSystem, root: str, uri: str) -> list[str]:
    with faults(uri, "listed"):
        try:
            found: list[str] = fs.find(root)
        except FileNotFoundError:  # the bucket
            return []
    return found


def _walk_store(fs: fsspec.AbstractFileSystem, root: str, uri: str) -> Iterator[str]:
    """Yield the path of every file below `root`, folder by folder."""
    folders = collections.deque([root])
    seen = {root}
    while folders:
        folder = folders.popleft()
        entries = []
        with faults(uri if folder == root else folder, "listed"), contextlib.suppress(FileNotFoundError):
            entries = fs.ls(folder, detail=True)
        for entry in entries:
            path = entry["name"].rstrip("/")
            if entry["type"] != "directory":
                yield path
            elif path not in seen:
                seen.add(path)
                folders.append(path)
