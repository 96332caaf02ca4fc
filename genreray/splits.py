"""Who trains and who tests: the catalog's own split, or an artist-disjoint stratified one made here."""

import warnings

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from genreray.tables import SPLITS

OFFICIAL = "official"
ARTISTS = "artist-disjoint stratified 80/10/10"
TRACKS = "stratified 80/10/10"
SHARED = "stratified 80/10/10, artists in several parts (fewer than 3 of them)"
TOO_FEW = "all training (fewer than 3 tracks with a genre)"
NONE = "none (no track has a genre)"

_TRAINING, _VALIDATION, _TEST = range(len(SPLITS))
_FOLDS = 10

_Ints = NDArray[np.int64]


def assign(catalog: pa.Table, seed: int = 0) -> tuple[pa.Table, str]:
    """Return the catalog with `split` filled, and a phrase that says how.

    A catalog that has a split anywhere keeps it as it is, nulls included. Any other is split about 80/10/10
    among the tracks that have a genre, each genre alike, and no artist in two parts where artists are known
    (a track without one counts as an artist of its own); a track without a genre stays null. The genre of a track
    that has only a list of several, for training on all of them, is here the first of them. Every genre is
    in every part where it has three artists (or tracks) that other genres do not need elsewhere. The result
    depends on the set of rows and on `seed`, never on the order of the rows.
    """
    if catalog["split"].null_count < catalog.num_rows:
        return catalog, OFFICIAL
    strata = _strata(catalog)
    labelled = pc.indices_nonzero(strata.is_valid()).to_numpy()
    if len(labelled) == 0:
        return catalog, NONE
    ids = catalog["track_id"].take(labelled)
    # The rows in an order that only their ids and the seed decide; every tie below falls by it.
    shuffle = np.random.default_rng(seed).permutation(len(labelled))
    rows = labelled[pc.sort_indices(ids).to_numpy()[shuffle]]
    genres = _codes(strata.take(rows))
    groups, how = _groups(catalog["artist"].take(rows))
    if len(rows) < len(SPLITS):
        parts, how = np.full(len(rows), _TRAINING), TOO_FEW
    else:
        parts = _cover(_split(genres, groups), genres, groups)
    names = np.full(catalog.num_rows, None, dtype=object)
    names[rows] = np.array(SPLITS, dtype=object)[parts]
    place = catalog.schema.get_field_index("split")
    return catalog.set_column(place, catalog.schema.field(place), pa.array(names, pa.string())), how


def keep(catalog: pa.Table, earlier: pa.Table) -> pa.Table:
    """Return the catalog with the splits that `earlier` (track_id, artist, split) has given already.

    For a catalog that has grown: a track keeps its split, and a new track goes where its artist's earlier ones
    are; were it to follow the new assignment, an artist could come to be in two parts.
    """
    by_track = {row["track_id"]: row["split"] for row in earlier.select(["track_id", "split"]).to_pylist()}
    by_artist = {
        row["artist"]: row["split"]
        for row in earlier.select(["artist", "split"]).to_pylist()
        if row["artist"] is not None and row["split"] is not None
    }
    kept = [
        by_track[row["track_id"]]
        if row["track_id"] in by_track
        else by_artist.get(row["artist"], row["split"])
        if row["split"] is not None
        else None
        for row in catalog.select(["track_id", "artist", "split"]).to_pylist()
    ]
    place = catalog.schema.get_field_index("split")
    return catalog.set_column(place, catalog.schema.field(place), pa.array(kept, pa.string()))


def _strata(catalog: pa.Table) -> pa.ChunkedArray:
    """Return the genre of each track, or else the first of its genres, or null."""
    several = catalog["genres"].to_pylist()
    first = pa.array([genres[0] if genres else None for genres in several], pa.string())
    return pc.coalesce(catalog["genre"], pa.chunked_array([first]))


def _codes(values: pa.ChunkedArray) -> _Ints:
    """Return each value as a number, counted from 0 as they first appear."""
    codes: _Ints = values.combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    return codes


def _groups(artists: pa.ChunkedArray) -> tuple[_Ints, str]:
    """Return the group of each row, the rows of which must stay together, and how that splits."""
    alone: _Ints = np.arange(len(artists))
    if artists.null_count == len(artists):
        return alone, TRACKS
    unknown = artists.is_null().to_numpy()
    groups = _codes(artists.fill_null(""))
    groups[unknown] = len(artists) + alone[unknown]
    groups = _codes(pa.chunked_array([groups]))
    return (groups, ARTISTS) if groups.max() + 1 >= len(SPLITS) else (alone, SHARED)


def _split(genres: _Ints, groups: _Ints) -> _Ints:
    """Return the part of each row: of ten folds one for testing, one for validation, eight for training.

    The two folds held out are those nearest to a tenth of every genre: all folds are near where artists are
    small, and a fold filled by one large artist stays in training.
    """
    fold = _folds(genres, groups)
    counts = np.zeros((int(fold.max()) + 1, int(genres.max()) + 1))
    np.add.at(counts, (fold, genres), 1)
    distance = np.abs(counts - counts.sum(axis=0) / _FOLDS).sum(axis=1)
    test, validation = np.argsort(distance, kind="stable")[:2]
    return np.where(fold == test, _TEST, np.where(fold == validation, _VALIDATION, _TRAINING))


def _folds(genres: _Ints, groups: _Ints) -> _Ints:
    """Return the fold of each row, from 0: scikit-learn's ten, or a fold a group where there are no more."""
    n_groups = int(groups.max()) + 1
    if n_groups <= _FOLDS:
        return groups
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # takes a second

    strata = genres if np.bincount(genres).max() >= _FOLDS else np.zeros_like(genres)
    alone = n_groups == len(groups)
    # Not shuffled by these: the order of the rows is random already, and they follow it.
    folding = StratifiedKFold(_FOLDS) if alone else StratifiedGroupKFold(_FOLDS)
    fold: _Ints = np.empty(len(genres), dtype=np.int64)
    with warnings.catch_warnings():
        # Genres with fewer tracks than folds; `_cover` sees to them.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        for number, (_, chosen) in enumerate(folding.split(genres, strata, None if alone else groups)):
            fold[chosen] = number
    return fold


def _cover(parts: _Ints, genres: _Ints, groups: _Ints) -> _Ints:
    """Return `parts` with whole groups moved so that each part has each genre, where there are enough.

    Folds spread a genre of few artists by chance over ten places, two of which are looked at. Training comes
    first: a genre that nobody trains on cannot be tested. Then no part is left empty, and then what a part
    lacks comes from where it can be spared, so that no genre leaves a part that has it.
    """
    pairs = np.unique(np.stack([groups, genres], axis=1), axis=0)
    genres_of = np.split(pairs[:, 1], np.flatnonzero(np.diff(pairs[:, 0])) + 1)
    sizes = np.bincount(groups)
    part_of = np.empty(len(sizes), dtype=np.int64)
    part_of[groups] = parts
    present = np.zeros((len(SPLITS), int(genres.max()) + 1), dtype=np.int64)  # groups by part and genre
    np.add.at(present, (part_of[pairs[:, 0]], pairs[:, 1]), 1)

    def smallest_first(candidates: _Ints) -> _Ints:
        return candidates[np.argsort(sizes[candidates], kind="stable")]

    def can_be_spared(group: int) -> bool:
        return bool((present[part_of[group], genres_of[group]] > 1).all())

    def move(group: int, part: int) -> None:
        present[part_of[group], genres_of[group]] -= 1
        present[part, genres_of[group]] += 1
        part_of[group] = part

    for genre in range(present.shape[1]):
        if present[_TRAINING, genre] == 0:
            move(smallest_first(pairs[pairs[:, 1] == genre, 0])[0], _TRAINING)
    for part in (_TEST, _VALIDATION):
        if not (part_of == part).any():
            n_groups = np.bincount(part_of, minlength=len(SPLITS))
            free = smallest_first(np.flatnonzero(n_groups[part_of] > 1))
            move(next((group for group in free if can_be_spared(group)), free[0]), part)
    for part in (_TEST, _VALIDATION):
        for genre in range(present.shape[1]):
            if present[part, genre] == 0:
                candidates = smallest_first(pairs[pairs[:, 1] == genre, 0])
                spared = next((group for group in candidates if can_be_spared(group)), None)
                if spared is not None:
                    move(spared, part)
    return part_of[groups]
