"""FMA as a catalog: its tracks.csv and genres.csv beside one of its audio folders (github.com/mdeff/fma)."""

import csv
import json
import posixpath
import re
from collections.abc import Iterator

import pandas as pd
import pyarrow as pa

from genreray import storage
from genreray.errors import UserError
from genreray.genres import GenreTree
from genreray.tables import CATALOG, SPLITS

SUBSETS = ("small", "medium", "large", "full")  # each holds the ones before it

_COLUMNS = {
    ("set", "split"): "split",
    ("set", "subset"): "subset",
    ("artist", "name"): "artist",
    ("track", "genre_top"): "genre",
    ("track", "genres_all"): "genres",
}


def read(audio: str, metadata: str, subset: str | None = None) -> pa.Table:
    """Return the CATALOG of a subset of FMA, in the order of tracks.csv, with the official split.

    `audio` is the folder that holds 000/000002.mp3, `metadata` the one that holds tracks.csv and genres.csv.
    `subset` is one of SUBSETS; None takes it from the audio folder's name (fma_medium). Every track of the
    subset is a row, its file there or not. Raises UserError where the files are not FMA's.
    """
    subset = subset or _subset_in_name(audio)
    if subset not in SUBSETS:
        raise UserError(f"FMA has no subset {subset!r}: --subset is one of {', '.join(SUBSETS)}")
    if not storage.is_folder(audio):
        raise UserError(f"{audio} is not a folder: give FMA's audio folder, the one that holds 000/000002.mp3")
    tree = read_tree(metadata)
    where = _existing(metadata, "tracks.csv")
    tracks = _tracks(where)
    tracks = tracks[_ranks(tracks["subset"], where) <= SUBSETS.index(subset)]
    if tracks.empty:
        raise UserError(f"{where} has no track of the subset {subset}: choose another --subset")
    ids = tracks["track_id"].str.zfill(6)
    folder = storage.absolute(audio)
    texts = {name: pa.array(tracks[name], pa.string(), from_pandas=True) for name in ("genre", "artist", "split")}
    return (
        pa.table(
            {
                "track_id": pa.array(ids, pa.string()),
                "uri": pa.array([storage.join(folder, i[:3], f"{i}.mp3") for i in ids], pa.string()),
                "genres": pa.array(_titles(tracks["genres"], tree, where), CATALOG.field("genres").type),
                **texts,
            }
        )
        .select(CATALOG.names)
        .cast(CATALOG)
    )


def read_tree(metadata: str) -> GenreTree:
    """Return the tree in the genres.csv of the folder `metadata`.

    Raises UserError where it is not there or not FMA's.
    """
    return GenreTree.from_csv(_content(metadata, "genres.csv"), storage.join(metadata, "genres.csv"))


def _subset_in_name(audio: str) -> str:
    name = posixpath.basename(storage.absolute(audio))
    prefix, _, subset = name.partition("_")
    if prefix != "fma" or subset not in SUBSETS:
        raise UserError(f"which tracks of FMA? {name!r} does not say: give --subset ({', '.join(SUBSETS)})")
    return subset


def _existing(metadata: str, name: str) -> str:
    uri = storage.join(metadata, name)
    if not storage.is_file(uri):
        raise UserError(f"{uri} is not there: --fma-metadata is the folder that holds tracks.csv and genres.csv")
    return uri


def _content(metadata: str, name: str) -> bytes:
    with storage.open_file(_existing(metadata, name)) as file:
        content: bytes = file.read()
    return content


def _tracks(uri: str) -> pd.DataFrame:
    """Return track_id and `_COLUMNS` of tracks.csv as texts, checked.

    The other 47 columns, biographies among them, are most of its 260 MB, and are never held.
    """
    try:
        with storage.open_file(uri, "r", encoding="utf-8", newline="") as file:
            places = _places(csv.reader(file), uri)
            frame = pd.read_csv(
                file,
                header=None,
                usecols=list(places),
                dtype=str,
                keep_default_na=False,  # an artist may be called NULL or None
                na_values=[""],
            ).rename(columns=places)
    except (ValueError, csv.Error) as error:  # pandas' and Unicode's errors are ValueErrors
        raise UserError(f"{uri} is not FMA's tracks.csv: {' '.join(str(error).split())}") from error
    ids = frame["track_id"]
    if not (whole := ids.str.fullmatch("[0-9]{1,6}").fillna(False).astype(bool)).all():
        raise UserError(f"{uri} is not FMA's tracks.csv: {ids[~whole].iloc[0]!r} is no track id")
    if (again := ids.astype(int).duplicated()).any():
        raise UserError(f"{uri}: track {ids[again].iloc[0]} is there twice")
    if odd := sorted(set(frame["split"].dropna()) - set(SPLITS)):
        raise UserError(f"{uri}: the split {odd[0]!r} is none of {', '.join(SPLITS)}")
    return frame


def _places(rows: Iterator[list[str]], uri: str) -> dict[int, str]:
    """Return the name of each wanted column by its place, reading the three header rows and no more."""
    sections, names, index = next(rows, []), next(rows, []), next(rows, [])
    header = list(zip(sections, names, strict=False))
    if missing := [column for column in _COLUMNS if column not in header]:
        raise UserError(f"{uri} is not FMA's tracks.csv: its header lacks {missing[0]}")
    if index[:1] != ["track_id"]:
        raise UserError(f"{uri} is not FMA's tracks.csv: its third row does not begin with track_id")
    return {0: "track_id", **{header.index(column): name for column, name in _COLUMNS.items()}}


def _ranks(subsets: "pd.Series[str]", uri: str) -> "pd.Series[int]":
    """Return how far up SUBSETS each track begins to belong; a track of no subset belongs to full alone."""
    if odd := sorted(set(subsets.dropna()) - set(SUBSETS)):
        raise UserError(f"{uri}: the subset {odd[0]!r} is none of {', '.join(SUBSETS)}")
    return subsets.fillna(SUBSETS[-1]).map(SUBSETS.index)


def _titles(genres: "pd.Series[str]", tree: GenreTree, uri: str) -> list[list[str] | None]:
    """Return the titles of each track's genres, in order, from texts like '[76, 103]'; None where none."""
    known: dict[str, list[str] | None] = {}
    for text in genres.dropna().unique():
        if not re.fullmatch(r"\[[\d, ]*\]", text):
            raise UserError(f"{uri}: genres_all is {text!r}, not a list of genre ids")
        try:
            known[text] = [tree.titles[genre_id] for genre_id in json.loads(text)] or None
        except ValueError:
            raise UserError(f"{uri}: genres_all is {text!r}, not a list of genre ids") from None
        except KeyError as error:
            raise UserError(f"{uri}: genre {error} is not in genres.csv: take both from one archive") from None
    return [known.get(text) for text in genres]
