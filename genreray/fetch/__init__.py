"""FMA's archives: downloaded, checked, and unpacked to a folder or a bucket; what is there already is left."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from genreray import storage
from genreray.errors import UserError
from genreray.fetch import archives, room, unpack
from genreray.fetch.archives import Archive
from genreray.fetch.download import Download, digest, wrong
from genreray.storage.reasons import reason


@dataclass(frozen=True)
class Fetched:
    """What `fetch` leaves, and what of it is new."""

    folder: str  # URI
    files: dict[str, int]  # bytes, by path in the folder
    written: int  # files
    received: int  # bytes
    archive: str | None  # where it still lies

    @property
    def size(self) -> int:
        """Return the bytes of all files."""
        return sum(self.files.values())


def fetch(
    name: str,
    dest: str,
    console: Console,
    *,
    base_url: str = archives.HOST,
    cache: str | None = None,
    keep_archive: bool = False,
) -> Fetched:
    """Download an archive of FMA and unpack it into `dest`, a folder or bucket: `dest`/fma_small/000/000002.mp3.

    Meanwhile the archive lies in the local folder `cache` (by default `dest`, or ~/.cache/genreray for a bucket) as a
    .part file, which a later call goes on with, and which is deleted in the end. An archive without .part in that
    folder is somebody's own: it is used, and stays. `dest`/fma_small.fetch.json is written last and lists the files;
    where it and all of them are, there is nothing to do.

    Raises UserError: no such archive; a server that cannot be reached or has another file; a wrong checksum; no room.
    """
    archive = archives.find(name)
    storage.refuse_password(base_url, "--base-url", "give it in ~/.netrc")
    dest = storage.absolute(dest)
    folder, mark = storage.join(dest, archive.folder), storage.join(dest, f"{archive.folder}.fetch.json")
    for uri in (dest, folder):
        if storage.is_file(uri):
            raise UserError(f"{uri} is a file: give another folder")
    cached = _cache(dest, cache)
    own, part = cached / archive.file, cached / f"{archive.file}.part"
    there = dict(storage.list_sizes(folder))
    listed = _listed(mark, archive)
    written = received = 0
    if listed is None or any(there.get(path) != size for path, size in listed.items()):
        storage.make_folder(dest)
        if not storage.is_local(dest):  # which shows, before hours of download, whether the store can be written
            storage.write_json(mark, _mark(archive, None))
        source, received = _archive(archive, own, part, base_url, dest, sum(there.values()), console)
        listed, written = unpack.unpack(source, dest, archive.folder, console)
        storage.write_json(mark, _mark(archive, listed))
    _tidy(own, part, keep_archive)
    return Fetched(folder, listed, written, received, str(own) if own.exists() else None)


def _cache(dest: str, cache: str | None) -> Path:
    if cache is None and storage.is_local(dest):
        cache = dest
    if cache is None:
        cache = storage.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "genreray")
    if not storage.is_local(cache):
        raise UserError(f"{cache} is not on this machine: the archive can lie in a local folder alone")
    return Path(storage.filesystem(cache)[1])


def _listed(mark: str, archive: Archive) -> dict[str, int] | None:
    """Return the files, with their sizes, that an earlier call has left, or None where none came to its end."""
    if not storage.is_file(mark):
        return None
    found = storage.read_json(mark)
    is_ours = isinstance(found, dict) and found.get("sha1") == archive.sha1 and isinstance(found.get("files"), dict)
    return found["files"] if is_ours else None


def _mark(archive: Archive, files: dict[str, int] | None) -> dict[str, Any]:
    """Return what the mark says; without `files` it marks a folder that is not whole yet."""
    sums = {} if files is None else {"n_files": len(files), "bytes": sum(files.values())}
    return {"made_by": "genreray fetch", "archive": archive.file, "sha1": archive.sha1, **sums, "files": files}


def _archive(
    archive: Archive, own: Path, part: Path, base_url: str, dest: str, unpacked: int, console: Console
) -> tuple[Path, int]:
    """Return where the whole archive lies, unharmed, and how many bytes of it came now."""
    if own.exists():
        sha1 = digest(own, console)[1].hexdigest()
        if sha1 != archive.sha1:
            raise wrong(own, sha1, archive)
        return own, 0
    storage.make_folder(str(part.parent))
    download = Download(archive, part, console)

    def check_room() -> None:
        needs = [(part.parent, download.size - download.have)]
        if storage.is_local(dest):  # what is unpacked takes no less than the archive
            needs.append((Path(storage.filesystem(dest)[1]), max(0, download.size - unpacked)))
        room.require(needs, f"{archive.file}, with what is in it,")

    if not download.whole:
        download.run(f"{base_url.rstrip('/')}/{archive.file}", check_room)
    return part, download.received


def _tidy(own: Path, part: Path, keep: bool) -> None:
    try:
        if keep and part.exists() and not own.exists():
            part.replace(own)
        part.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{part} cannot be removed: {reason(error)}") from error
