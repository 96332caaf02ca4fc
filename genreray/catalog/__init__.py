"""Where tracks come from: FMA's metadata, a manifest, a folder or bucket prefix; each becomes a CATALOG."""

import pyarrow as pa

from genreray import storage
from genreray.catalog import fma, folder, manifest
from genreray.errors import UserError


def read_catalog(
    uri: str,
    *,
    fma_metadata: str | None = None,
    subset: str | None = None,
    genre_column: str | None = None,
) -> pa.Table:
    """Return the tracks at `uri` as a table of `tables.CATALOG`; no audio is opened.

    `uri` is one of
    - FMA's audio folder, with `fma_metadata` the folder of its tracks.csv and genres.csv, and `subset` one
      of small, medium, large, full, each holding the ones before; by default what the folder is named after;
    - a manifest (.csv, .parquet, .jsonl; see `manifest.read`), with `genre_column` the column to take
      `genre` from;
    - a folder or bucket prefix: every audio file below it;
    - one audio file.

    Raises UserError where there is nothing to read, where it is not what it should be, and where no track is
    left. Whether the audio files are there is not asked: a missing one becomes a row's status later.
    """
    if fma_metadata is not None:
        if genre_column is not None:
            raise UserError("--genre-column is for a manifest: FMA's genres come from its metadata")
        return fma.read(uri, fma_metadata, subset)
    if subset is not None:
        raise UserError("--subset chooses among FMA's tracks: give --fma-metadata too, or leave it out")
    # A file first: over http a manifest full of links lists like a folder.
    if manifest.is_manifest(uri) and storage.is_file(uri):
        return manifest.read(uri, genre_column)
    if genre_column is not None:
        raise UserError(f"--genre-column needs a manifest ({manifest.KINDS}), and {uri} is none")
    if folder.is_audio(uri) and storage.is_file(uri):
        return folder.read_one(uri)
    if storage.is_folder(uri):
        return folder.read(uri)
    if storage.exists(uri):
        raise UserError(f"{uri} is not a catalog: give a folder, a manifest ({manifest.KINDS}) or an audio file")
    raise UserError(f"{uri} does not exist: give a folder, a manifest ({manifest.KINDS}) or an audio file")


def genre_parents(fma_metadata: str | None) -> dict[str, str]:
    """Return the parent of each genre that has one: of FMA's tree, where its metadata are given; else of none."""
    return {} if fma_metadata is None else fma.read_tree(fma_metadata).by_child()
