"""Labels into the files' own tags, and out again: a row for each track in a table of what happened."""

import contextlib
import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from genreray import storage
from genreray.errors import FileOutcome, Status, UserError
from genreray.outputs import retagging, undo
from genreray.outputs.answers import Row, View
from genreray.outputs.retagging import Result
from genreray.progress import Progress

UNDO_FILE = "undo.jsonl"
WRITTEN_FILE = "written.csv"
DRY_RUN_FILE = "dry_run.csv"
UNTAGGED_FILE = "untagged.csv"
COLUMNS = ("track_id", "uri", "outcome", "reason", "genre_before", "genre_after")

_SHOWN = 20  # changes that a dry run prints
_ASKED = ("track_id", "uri", "status", "error", "genre", "confidence", "genres", "file_size", "file_modified")


def check(uris: Sequence[str], tags_uri: str) -> None:
    """Raise UserError where no label can be written into a file, which is better known before any work."""
    if not storage.is_local(tags_uri):
        raise UserError(f"{tags_uri} is not on a disk of this machine, as the undo file must be: give a local folder")
    if not any(storage.is_local(uri) for uri in uris):
        raise UserError(
            f"no track of the catalog is on a disk of this machine (as {uris[0]}): leave out --write-tags, or copy the "
            "files here"
        )


def write(
    files: Sequence[str],
    view: View,
    only: set[str] | None,
    total: int,
    tags_uri: str,
    progress: Progress,
    *,
    overwrite: bool,
    dry_run: bool,
) -> dict[str, int]:
    """Write the genres in the parts `files` into the files' tags; return how many files per outcome.

    `only` those tracks, or all, `total` in number. written.csv gets a row for each, as the job goes, and its name when
    all are done; with `dry_run` nothing else is written than dry_run.csv, of the same form.
    """
    counts: Counter[str] = Counter()
    shown = 0

    def lines(log: undo.Log | None) -> Iterator[tuple[Row, Result]]:
        nonlocal shown
        with progress.track(total) as advance:
            for rows in view.rows(files, _ASKED):
                for row in (row for row in rows if only is None or row["track_id"] in only):
                    result = _one(row, log, overwrite=overwrite, dry_run=dry_run)
                    counts[result.outcome.value] += 1
                    if dry_run and result.outcome is FileOutcome.WRITTEN and shown < _SHOWN:
                        shown += 1
                        progress.line(f"{row['uri']}: {result.genre_before or 'no genre'} -> {result.genre_after}")
                    yield row, result
                    advance(1)

    place = storage.join(tags_uri, UNDO_FILE)
    with contextlib.ExitStack() as opened:
        log = opened.enter_context(undo.log(place)) if not dry_run or storage.exists(place) else None
        name = DRY_RUN_FILE if dry_run else WRITTEN_FILE
        storage.write_pieces(storage.join(tags_uri, name), _csv(lines(log)))
    return ordered(counts)


def _one(row: Row, log: undo.Log | None, *, overwrite: bool, dry_run: bool) -> Result:
    if row["status"] != Status.OK.value:
        return Result(FileOutcome.FAILED, f"{row['status']}: {row['error']}")
    if row["genre"] is None:
        return Result(FileOutcome.ABSTAINED, "it has no label")
    seen = None if row["file_size"] is None else storage.Stamp(row["file_size"], row["file_modified"])
    genre = " ".join(row["genre"].split())
    return retagging.write_genre(row["uri"], genre, seen, log, overwrite=overwrite, dry_run=dry_run)


def restore(tags_uri: str, progress: Progress) -> dict[str, int]:
    """Take all changes in the undo file of TAGS back; return how many files per outcome, and write untagged.csv.

    Raises UserError where there is no undo file.
    """
    place = storage.join(tags_uri, UNDO_FILE)
    if not storage.is_file(place):
        raise UserError(f"{tags_uri} has no {UNDO_FILE}: nothing was written into files from here")
    counts: Counter[str] = Counter()

    def lines(log: undo.Log) -> Iterator[tuple[Row, Result]]:
        with progress.track(log.n_files) as advance:
            for uri, changes in log.files():
                result = retagging.restore(uri, changes)
                counts[result.outcome.value] += 1
                yield {"uri": uri}, result
                advance(1)

    with undo.log(place) as log:
        storage.write_pieces(storage.join(tags_uri, UNTAGGED_FILE), _csv(lines(log), COLUMNS[1:]))
    return ordered(counts)


def ordered(counts: Counter[str]) -> dict[str, int]:
    """Return the counts, the highest first."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _csv(rows: Iterable[tuple[Row, Result]], columns: Sequence[str] = COLUMNS) -> Iterator[bytes]:
    """Yield a CSV of rows and what became of them, line by line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")

    def line(cells: Iterable[str | None]) -> bytes:
        text.seek(0)
        text.truncate()
        writer.writerow(cells)
        return text.getvalue().encode()

    yield line(columns)
    for row, result in rows:
        known = {**row, **vars(result), "outcome": result.outcome.value}
        yield line(known[name] for name in columns)
