"""One file: its genre written into its tags, and put back."""

import dataclasses
import mmap
from collections.abc import Sequence
from typing import BinaryIO

from genreray import storage
from genreray.errors import FileError, FileOutcome, UserError
from genreray.outputs import delta, file_tags, undo
from genreray.outputs.undo import Change, Log
from genreray.storage import Stamp


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of a file."""

    outcome: FileOutcome
    reason: str | None = None
    genre_before: str | None = None
    genre_after: str | None = None


def write_genre(uri: str, genre: str, seen: Stamp | None, log: Log | None, *, overwrite: bool, dry_run: bool) -> Result:
    """Write a genre into the tags of a file, and before that into the undo file what takes it out again.

    `seen` is the file's stamp when it was labelled: what is something else by now is left alone, but for what an
    earlier run wrote. So is what has a genre, without `overwrite`. With `dry_run` nothing is written, and the result
    is what it would be; `log` is then None where there is no undo file.
    """
    before: str | None = None
    try:
        stamp = storage.check_rewritable(uri)
        earlier = _earlier(uri, stamp, log)
        if stamp != seen and earlier is None:
            return Result(FileOutcome.CHANGED, "it is not the file that was labelled (size or time)")
        with storage.open_file(uri) as file:
            found = file_tags.read(file)
        before = found.genre
        if earlier is not None and earlier.genre_after == genre == before:
            return Result(FileOutcome.WRITTEN, "by an earlier run", earlier.genre_before, genre)
        if before is not None and not overwrite:
            return Result(FileOutcome.KEPT, "it has a genre", before, before)
        if found.elsewhere is not None:
            return Result(FileOutcome.UNSUPPORTED, f"its genre is in {found.elsewhere}, which stays", before, before)
        if before == genre:
            return Result(FileOutcome.KEPT, "it has this genre", before, before)
        if log is not None and not dry_run:
            _rewrite(uri, stamp, found, genre, log)
        return Result(FileOutcome.WRITTEN, None, before, genre)
    except FileError as error:
        return Result(error.outcome, error.reason, before, before)
    except UserError as error:  # of a file that went away, or cannot be read
        return Result(FileOutcome.FAILED, str(error), before, before)


def _earlier(uri: str, stamp: Stamp, log: Log | None) -> Change | None:
    """Return the change that made a file what it is, as far as that shows without reading it."""
    changes = [] if log is None else log.of(uri)
    return next((one for one in reversed(changes) if one.after.stamp == stamp), None)


def _rewrite(uri: str, stamp: Stamp, found: file_tags.Tagged, genre: str, log: Log) -> None:
    with storage.rewriting(uri, stamp) as files:
        files.copy()
        file_tags.write(files.new, found.kind, genre)
        files.flush()
        with _mapped(files.old) as old, _mapped(files.new) as new:
            change = undo.change(uri, old, new, stamp.modified, found.genre, genre)
        log.append(change)
        files.commit(stamp.modified)


def restore(uri: str, changes: Sequence[Change]) -> Result:
    """Take the changes of a file back, the last one first, where it is byte for byte what one of them made of it."""
    storage.remove_left_over(uri)
    first, last = changes[0].genre_before, changes[-1].genre_after
    is_done = False
    try:
        left = len(changes)
        stamp, content = _content(uri)
        while (i := _made_by(changes[:left], content)) is not None:
            _take_back(uri, stamp, changes[i])
            is_done, left = True, i
            stamp, content = changes[i].before.stamp, changes[i].before.sha256
        if content not in {one.before.sha256 for one in changes}:
            return Result(FileOutcome.CHANGED, "something else changed it since")
    except FileError as error:
        return Result(error.outcome, error.reason, last)
    except UserError as error:
        return Result(FileOutcome.FAILED, str(error), last)
    outcome = FileOutcome.RESTORED if is_done else FileOutcome.AS_BEFORE
    return Result(outcome, None, last if is_done else first, first)


def _content(uri: str) -> tuple[Stamp, str]:
    stamp = storage.check_rewritable(uri)
    with storage.open_file(uri) as file:
        return stamp, undo.digest(iter(lambda: file.read(2**20), b""))


def _made_by(changes: Sequence[Change], content: str) -> int | None:
    """Return the last change after which a file had this content."""
    return next((i for i in reversed(range(len(changes))) if changes[i].after.sha256 == content), None)


def _take_back(uri: str, stamp: Stamp, change: Change) -> None:
    with storage.rewriting(uri, stamp) as files:
        try:
            with _mapped(files.old) as made:
                for piece in delta.rebuilt(change.made_of, made):
                    files.new.write(piece)
        except ValueError as error:
            raise FileError(FileOutcome.FAILED, f"the undo file does not fit: {error}") from None
        files.new.flush()
        with _mapped(files.new) as content:
            if undo.digest(undo.whole(content)) != change.before.sha256:
                raise FileError(FileOutcome.FAILED, "the undo file does not give what was there before")
        files.commit(change.before.modified)


def _mapped(file: BinaryIO) -> mmap.mmap:
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
