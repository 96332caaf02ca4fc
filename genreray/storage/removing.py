"""Files and folders removed."""

import concurrent.futures
import contextlib
import glob
from collections.abc import Sequence
from pathlib import Path

from genreray.storage.access import exists, faults, filesystem
from genreray.storage.uris import is_local

_DELETERS = 16  # files removed at a time


def delete(uri: str) -> None:
    """Remove a file or a folder with all below it; nothing where nothing is.

    Raises UserError where it cannot be removed.
    """
    fs, path = filesystem(uri)
    if exists(uri):
        with faults(uri, "removed"):
            # fsspec takes [, * and ? for patterns everywhere but on disk, and would remove what else they match.
            fs.rm(path if is_local(uri) else glob.escape(path), recursive=True)


def delete_files(uris: Sequence[str], below: str) -> None:
    """Remove these files and nothing else, and on disk the folders inside `below` that are empty then.

    Files that are not there are passed over. Raises UserError where one cannot be removed.
    """

    def remove(uri: str) -> None:
        fs, path = filesystem(uri)
        with faults(uri, "removed"), contextlib.suppress(FileNotFoundError):
            fs.rm_file(path)

    with concurrent.futures.ThreadPoolExecutor(_DELETERS) as pool:
        for _ in pool.map(remove, uris):
            pass
    top = Path(filesystem(below)[1])
    if is_local(below):
        folders = {folder for uri in uris for folder in Path(filesystem(uri)[1]).parents if top in folder.parents}
        for folder in sorted(folders, key=lambda folder: -len(folder.parts)):
            with contextlib.suppress(OSError):  # not empty
                folder.rmdir()
