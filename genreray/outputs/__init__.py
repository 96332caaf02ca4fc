"""What `tag` makes of PREDICTIONS for people and their programs: lists, playlists, tags in the files."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import pyarrow as pa
import tyro

from genreray import storage
from genreray.errors import UserError
from genreray.outputs import files as audio_files
from genreray.outputs import lists, playlists
from genreray.outputs.answers import View
from genreray.outputs.genre_map import GenreMap
from genreray.progress import Progress

SUMMARY_FILE = "summary.json"
LOST_WITH_FRESH = (lists.CSV_FILE, lists.JSONL_FILE, audio_files.WRITTEN_FILE, audio_files.DRY_RUN_FILE, SUMMARY_FILE)
# Never deleted: without it what was written into files would stay there.
KEPT_WITH_FRESH = (audio_files.UNDO_FILE, audio_files.UNTAGGED_FILE)


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What is to be written beside PREDICTIONS and tags.csv."""

    map: Annotated[str | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """CSV (genre,name) of other names for the genres of RUN: the same name merges genres, no name ignores one."""
    min_confidence: float = 0.0
    """Probability, 0 to 1, of the best genre, below which a track gets none; evaluate --target-accuracy names one."""
    write_tags: bool = False
    """Write the genre into the tags of files that have none, on disks of this machine; untag takes it out again."""
    overwrite: bool = False
    """With --write-tags: write it where a file has a genre too."""
    dry_run: bool = False
    """With --write-tags: only say what would be written, in dry_run.csv, and leave the files alone."""
    playlists: bool = False
    """Write a playlist (M3U8) for each genre, the surest tracks first."""
    jsonl: bool = False
    """Write tags.jsonl too, a JSON object a track with all that is known of it."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_confidence <= 1:
            raise UserError(f"min confidence is {self.min_confidence}: give a probability from 0 to 1")
        for name, is_given in (("overwrite", self.overwrite), ("dry-run", self.dry_run)):
            if is_given and not self.write_tags:
                raise UserError(f"--{name} is for tags in files: give --write-tags too, or leave it out")

    def view(self, genres: Sequence[str], top_k: int | None, parents: Mapping[str, str]) -> View:
        """Return how predictions of a model of these genres are shown; raises UserError as `GenreMap.read` does."""
        names = None if self.map is None else GenreMap.read(self.map, genres)
        return View(top_k, names, parents, self.min_confidence)

    def check(self, catalog: pa.Table, tags_uri: str) -> None:
        """Raise UserError where it cannot be written, before any work."""
        if self.write_tags:
            audio_files.check(catalog.column("uri").to_pylist(), tags_uri)
        if self.playlists:
            playlists.check(tags_uri)


def is_ours(name: str, *, with_predictions: bool) -> bool:
    """Return whether a file in TAGS, outside the predictions, has the name of one that this job writes.

    Where there are no predictions beside it, only what an undo needs is taken for one.
    """
    kept = name in KEPT_WITH_FRESH
    return kept or (with_predictions and (name in LOST_WITH_FRESH or name.startswith(f"{playlists.FOLDER}/")))


def made_before(tags_uri: str) -> list[str]:
    """Return the URIs of what --fresh deletes beside the predictions: not what an undo needs."""
    return [*(storage.join(tags_uri, name) for name in LOST_WITH_FRESH), *playlists.check(tags_uri)]


def write(
    files: Sequence[str],
    columns: Sequence[str],
    catalog: pa.Table,
    n_rows: int,
    wanted: Wanted,
    view: View,
    tags_uri: str,
    progress: Progress,
) -> dict[str, Any]:
    """Write what is wanted of the predictions in the parts `files`; return what the summary tells of it.

    They hold `n_rows` rows of `columns`, each track in one part alone. Into tags of files go the tracks of `catalog`
    alone; all else has every track that the parts hold.
    """
    facts: dict[str, Any] = lists.write_csv(files, view, storage.join(tags_uri, lists.CSV_FILE))
    if wanted.jsonl:
        facts["jsonl"] = storage.join(storage.absolute(tags_uri), lists.JSONL_FILE)
        lists.write_jsonl(files, columns, view, facts["jsonl"])
    if wanted.playlists:
        facts["playlists"] = playlists.write(files, view, tags_uri)
    if wanted.write_tags:
        counts = audio_files.write(
            files,
            view,
            None if n_rows == len(catalog) else set(catalog.column("track_id").to_pylist()),
            len(catalog),
            tags_uri,
            Progress(progress.console, "write tags", "files"),
            overwrite=wanted.overwrite,
            dry_run=wanted.dry_run,
        )
        facts["dry_run" if wanted.dry_run else "files"] = counts
    return facts
