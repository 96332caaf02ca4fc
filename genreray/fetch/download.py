"""An archive over a bad line: into a .part file that any later call goes on with, checked when it is whole."""

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import requests
from rich.console import Console

from genreray.errors import UserError
from genreray.fetch.archives import MIB, Archive
from genreray.fetch.room import human, not_written
from genreray.progress import Progress
from genreray.storage.reasons import reason, without_secrets

_ATTEMPTS = 6  # in a row that bring nothing
_FIRST_PAUSE = 1.0  # seconds; doubles with each of them
_TIMEOUT = (30.0, 60.0)  # seconds to connect, and between two pieces
_PASSING = {408, 425, 429}  # and all from 500: answers that another attempt may not get
_PIECE = 2**16  # bytes: what a cut connection loses at most
_TOLERANCE = 0.05  # of the published sizes, which are rounded


class Download:
    """The archive as far as it is here: `have` bytes in the file `part`, and their SHA-1."""

    def __init__(self, archive: Archive, part: Path, console: Console) -> None:
        self.archive = archive
        self.part = part
        self.console = console
        self.size = archive.size  # until the server says it exactly
        self._least = (1 - _TOLERANCE) * archive.size  # where less has come the line was cut
        self.have, self._sha1 = digest(part, console) if part.is_file() else (0, _sha1())
        self.received = 0  # bytes of this call alone

    @property
    def whole(self) -> bool:
        """Return whether all of the archive is here, unharmed."""
        return self._sha1.hexdigest() == self.archive.sha1

    def run(self, url: str, check_room: Callable[[], None]) -> None:
        """Download what is missing, with as many attempts as it takes while each brings something.

        `check_room` is called before anything is written, when `size` is exact. On the way out, however that is,
        `part` holds all that came. Raises UserError where the server cannot be reached, does not have the archive or
        sends another file, and where the disk is full.
        """
        failures = 0
        while True:
            before = self.received
            try:
                self._attempt(url, check_room)
                break
            except requests.RequestException as error:
                failures = 1 if self.received > before else failures + 1
                self._wait(url, failures, error)
        if not self.whole:
            raise wrong(self.part, self._sha1.hexdigest(), self.archive)

    def _wait(self, url: str, failures: int, error: requests.RequestException) -> None:
        """Say what went wrong and pause; raise UserError where there were too many failures, or none can help."""
        is_hopeless = isinstance(error, ValueError | requests.TooManyRedirects)  # a URL that is none
        if failures >= _ATTEMPTS or is_hopeless:
            kept = f"; {human(self.have)} are kept: the same command goes on from there" if self.have else ""
            raise UserError(f"{without_secrets(url)} cannot be downloaded: {_why(error)}{kept}") from error
        pause = _FIRST_PAUSE * 2 ** (failures - 1)
        Progress(self.console, "download").line(
            f"{self.archive.file}: {_why(error)} at {human(self.have)} of {human(self.size)}, again in {pause:g} s"
        )
        time.sleep(pause)

    def _attempt(self, url: str, check_room: Callable[[], None]) -> None:
        """Ask for what is missing and write it; raises RequestException where another attempt may do better."""
        headers = {"Accept-Encoding": "identity"}  # the bytes as they are: a range of a compressed file is another
        if self.have:
            headers["Range"] = f"bytes={self.have}-"
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
            start = self._start_of(response)
            check_room()
            try:
                self._write(_after(response.iter_content(_PIECE), self.have - start))
            except requests.RequestException:  # which is an OSError too
                raise
            except OSError as error:
                missing = self.size - (self.part.stat().st_size if self.part.exists() else 0)
                raise not_written(self.part, error, missing) from error
        if self.have < self._least:
            raise requests.ConnectionError("the connection was cut")

    def _start_of(self, response: requests.Response) -> int:
        """Return where in the archive the response begins, and take the archive's size from it."""
        status = response.status_code
        if status in _PASSING or status >= 500:
            raise requests.ConnectionError(f"the server answers {status} {response.reason}")
        found = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", response.headers.get("Content-Range", ""))
        start = int(found[1]) if status == 206 and found and found[1] else 0
        length = response.headers.get("Content-Length", "")
        if found and found[2] != "*":
            self._expect(int(found[2]), response.url)
        elif status == 200 and length.isdecimal():
            self._expect(int(length), response.url)
        if status not in (200, 206):
            url = without_secrets(response.url)  # of where a mirror sent us, which may be signed
            raise UserError(f"{url} cannot be downloaded: the server answers {status} {response.reason}")
        if start > self.have:
            raise requests.ConnectionError(f"the server sends what follows {human(start)} instead")
        return start

    def _expect(self, size: int, url: str) -> None:
        """Take the size that the server states; raise UserError where it is another file's, a page of an error's."""
        if abs(size - self.archive.size) > _TOLERANCE * self.archive.size:
            raise UserError(
                f"{without_secrets(url)} is no {self.archive.file}: it has {human(size)} and not "
                f"{human(self.archive.size)}"
            )
        self.size = self._least = size
        if self.have >= size:  # and it is not the archive, or it would not have been asked for
            raise wrong(self.part, self._sha1.hexdigest(), self.archive)

    def _write(self, pieces: Iterator[bytes]) -> None:
        progress = Progress(self.console, "download", "MiB")
        if not self.received:
            here = f", {human(self.have)} of it here" if self.have else ""
            progress.line(f"{self.archive.file}: {human(self.size)} to download{here}")
        with progress.track(-(-(self.size - self.have) // MIB)) as advance, self.part.open("ab") as file:
            count = _mebibytes(advance)
            for piece in pieces:
                file.write(piece)
                self._sha1.update(piece)
                self.have += len(piece)
                self.received += len(piece)
                count(len(piece))


def digest(path: Path, console: Console) -> tuple[int, "hashlib._Hash"]:
    """Return a file's size and SHA-1, which can be gone on with.

    Raises UserError where it cannot be read.
    """
    sha1, size = _sha1(), 0
    progress = Progress(console, "check", "MiB")
    try:
        with path.open("rb") as file, progress.track(-(-path.stat().st_size // MIB)) as advance:
            count = _mebibytes(advance)
            while piece := file.read(_PIECE):
                sha1.update(piece)
                size += len(piece)
                count(len(piece))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {reason(error)}") from error
    return size, sha1


def wrong(path: Path, sha1: str, archive: Archive) -> UserError:
    """Return the error to raise where a file is not the archive that it should be."""
    return UserError(
        f"{path} is not FMA's {archive.file}, or damaged: its SHA-1 is {sha1}, not {archive.sha1}; delete it, and the "
        "same command downloads it anew"
    )


def _sha1() -> "hashlib._Hash":
    return hashlib.sha1(usedforsecurity=False)


def _after(pieces: Iterator[bytes], skip: int) -> Iterator[bytes]:
    """Yield what follows the first `skip` bytes, which a server that knows no ranges sends once more."""
    for piece in pieces:
        if skip < len(piece):
            yield piece[skip:]
        skip = max(0, skip - len(piece))


def _mebibytes(advance: Callable[[int], None]) -> Callable[[int], None]:
    """Return a function that takes bytes and hands on whole MiB."""
    left = 0

    def count(n_bytes: int) -> None:
        nonlocal left
        whole, left = divmod(left + n_bytes, MIB)
        if whole:
            advance(whole)

    return count


def _why(error: Exception) -> str:
    """Say in a few words what a request failed of: its innermost cause."""
    while isinstance(error.__context__, Exception):
        error = error.__context__
    return reason(error)
