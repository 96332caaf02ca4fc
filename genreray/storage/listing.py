"""Every file below a folder, on disk and in stores."""

import collections
import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

import fsspec

from genreray.storage import s3
from genreray.storage.access import faults, filesystem, is_object_store
from genreray.storage.uris import absolute, is_local, join, local_uri


def list_files(uri: str) -> Iterator[tuple[str, str]]:
    """Yield (path relative to `uri`, URI) of every file below the folder `uri` but hidden ones; none where it is not.

    They come as they are found, on disk and on S3 without any list of them all, and in no order. Local links to
    folders are followed. No folder is entered twice, and one under its own name before its links.
    Raises UserError where a folder cannot be listed.
    """
    base = absolute(uri)
    if is_local(uri):
        yield from ((path, join(base, path)) for path in _walk_local(filesystem(uri)[1]))
        return
    for path, _ in _remote(uri):
        yield path, base + path if base.endswith("/") else f"{base}/{path}"


def list_sizes(uri: str) -> Iterator[tuple[str, int]]:
    """Yield (path relative to `uri`, bytes) of the files that `list_files` yields; raises as that does."""
    if not is_local(uri):
        yield from _remote(uri)
        return
    _, root = filesystem(uri)
    for path in _walk_local(root):
        with faults(local_uri(root), "looked at"), contextlib.suppress(FileNotFoundError):  # gone, or a broken link
            yield path, Path(root, path).stat().st_size


def _remote(uri: str) -> Iterator[tuple[str, int]]:
    fs, root = filesystem(uri)
    start = root.rstrip("/") + "/"
    fs.invalidate_cache()  # other processes write too
    for path, size in _objects(fs, root, uri) if is_object_store(fs) else _walk_store(fs, root, uri):
        relative = path.removeprefix(start)
        if relative != path and not relative.endswith("/") and not re.search(r"(^|/)\.", relative):
            yield relative, size


def _walk_local(root: str) -> Iterator[str]:
    """Yield the path from `root` of every file below it, hidden ones and those in hidden folders left out."""
    folders, links = collections.deque([root]), collections.deque[str]()
    seen: set[tuple[int, int]] = set()
    while folders or links:
        below: list[str] = []
        linked: list[str] = []
        for entry in _entries((folders or links).popleft(), seen):
            if not _leads_to_folder(entry):
                yield entry.path.removeprefix(root).lstrip("/")
            else:
                (linked if entry.is_symlink() else below).append(entry.path)
        folders.extend(sorted(below))
        links.extend(sorted(linked))


def _entries(folder: str, seen: set[tuple[int, int]]) -> Iterator["os.DirEntry[str]"]:
    """Yield what is in a folder but not hidden; nothing a second time."""
    with faults(local_uri(folder), "listed"):
        try:
            status = Path(folder).stat()
        except FileNotFoundError:
            return
        if (status.st_dev, status.st_ino) in seen:
            return
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            yield from (entry for entry in entries if not entry.name.startswith("."))


def _leads_to_folder(entry: "os.DirEntry[str]") -> bool:
    with faults(local_uri(entry.path), "looked at"):
        try:
            return entry.is_dir()
        except OSError as error:
            if error.errno == errno.ELOOP:  # a link to itself: a file that cannot be read
                return False
            raise


def _objects(fs: fsspec.AbstractFileSystem, root: str, uri: str) -> Iterator[tuple[str, int]]:
    """Yield the path and the size of every object below `root`: by pages on S3, elsewhere when all are listed."""
    with faults(uri, "listed"), contextlib.suppress(FileNotFoundError):  # the bucket
        if s3.is_s3(uri):
            for page in s3.pages(fs, root):
                yield from page
        else:
            yield from ((path, found["size"]) for path, found in fs.find(root, detail=True).items())


def _walk_store(fs: fsspec.AbstractFileSystem, root: str, uri: str) -> Iterator[tuple[str, int]]:
    """Yield the path and the size of every file below `root`, folder by folder."""
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
                yield path, entry["size"]
            elif path not in seen:
                seen.add(path)
                folders.append(path)
