import functools
import random
import warnings
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest

from genreray import splits
from genreray.tables import CATALOG, SPLITS


@pytest.fixture(autouse=True)
def _warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def catalog_of(rows):
    """A CATALOG of (genre, artist) or (genre, artist, split) rows, ids counted from 0."""
    table = [
        {"track_id": f"{i:05d}", "uri": f"/{i}.mp3", "genre": row[0], "artist": row[1], "split": [*row, None][2]}
        for i, row in enumerate(rows)
    ]
    return pa.Table.from_pylist(table, schema=CATALOG)


@functools.cache
def collection():
    """2,000 tracks of 5 unequal genres; artists have 1 to 12 tracks, some of them in two genres."""
    rng = random.Random(3)
    rows = []
    for genre, size in {"Rock": 900, "Electronic": 600, "Folk": 300, "Jazz": 120, "Blues": 80}.items():
        artist = 0
        while size > 0:
            artist += 1
            tracks = min(size, rng.choice([1, 1, 1, 2, 3, 5, 12]))
            size -= tracks
            name = f"{genre} {artist}"
            rows += [("Folk" if rng.random() < 0.05 else genre, name) for _ in range(tracks)]
    return catalog_of(rows)


@functools.cache
def split_collection(seed):
    return splits.assign(collection(), seed)


def by_id(table):
    return dict(zip(table["track_id"].to_pylist(), table["split"].to_pylist(), strict=True))


def shares(table):
    """Share of each split in each genre."""
    counts = defaultdict(lambda: dict.fromkeys(SPLITS, 0))
    for row in table.to_pylist():
        counts[row["genre"]][row["split"]] += 1
    return {g: {s: c / sum(split.values()) for s, c in split.items()} for g, split in counts.items()}


def splits_of(table, column, value):
    return {row["split"] for row in table.to_pylist() if row[column] == value}


def test_an_official_split_stays_as_it_is():
    catalog = catalog_of([("Rock", "a", "training"), ("Rock", "b", "test"), ("Rock", "c", None)])
    table, how = splits.assign(catalog)
    assert table.equals(catalog)
    assert how == "official"


def test_no_artist_is_in_two_splits():
    table, how = split_collection(0)
    assert how == "artist-disjoint stratified 80/10/10"
    where = defaultdict(set)
    for row in table.to_pylist():
        where[row["artist"]].add(row["split"])
    assert {len(found) for found in where.values()} == {1}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_genre_is_split_eighty_ten_ten_by_artists(seed):
    for genre, share in shares(split_collection(seed)[0]).items():
        assert share == pytest.approx({"training": 0.8, "validation": 0.1, "test": 0.1}, abs=0.04), genre


def test_every_genre_is_split_eighty_ten_ten_by_tracks_where_no_artist_is_known():
    catalog = catalog_of([(g, None) for g, n in {"Rock": 500, "Folk": 200, "Blues": 37}.items() for _ in range(n)])
    table, how = splits.assign(catalog)
    assert how == "stratified 80/10/10"
    for genre, share in shares(table).items():
        assert share == pytest.approx({"training": 0.8, "validation": 0.1, "test": 0.1}, abs=0.03), genre


def test_artists_of_one_track_each_give_the_same_shares():
    table, how = splits.assign(catalog_of([("Rock", f"a{i}") for i in range(100)]))
    assert how == "artist-disjoint stratified 80/10/10"
    assert shares(table)["Rock"] == {"training": 0.8, "validation": 0.1, "test": 0.1}


def test_the_split_depends_on_the_rows_not_on_their_order():
    catalog = collection()
    shuffled = catalog.take(np.random.default_rng(0).permutation(catalog.num_rows))
    table, _ = splits.assign(shuffled)
    assert by_id(table) == by_id(split_collection(0)[0])
    assert table.drop_columns("split").equals(shuffled.drop_columns("split"))


def test_the_split_is_the_same_each_time_and_another_with_another_seed():
    first, other = by_id(split_collection(0)[0]), by_id(split_collection(1)[0])
    assert first == by_id(splits.assign(collection(), 0)[0])
    changed = sum(first[i] != other[i] for i in first) / len(first)
    assert changed > 0.2  # of two unrelated splits a third differs: 1 - (0.64 + 0.01 + 0.01)


def test_the_schema_is_the_catalogs():
    assert split_collection(0)[0].schema == CATALOG


def test_tracks_without_a_genre_have_no_split():
    table, _ = splits.assign(catalog_of([("Rock", None), (None, None)] * 20))
    assert splits_of(table, "genre", None) == {None}
    assert splits_of(table, "genre", "Rock") == set(SPLITS)


def test_tracks_with_a_list_of_genres_alone_are_split_as_if_by_the_first_of_them():
    by_genre = collection()
    place = by_genre.schema.get_field_index("genre")
    lists = pa.array([[genre, "Soul"] for genre in by_genre["genre"].to_pylist()], pa.list_(pa.string()))
    by_list = by_genre.set_column(place, by_genre.schema.field(place), pa.nulls(len(by_genre), pa.string()))
    by_list = by_list.set_column(place + 1, by_genre.schema.field("genres"), lists)
    (ours, how), (expected, as_well) = splits.assign(by_list), splits.assign(by_genre)
    assert ours["split"].equals(expected["split"])
    assert how == as_well


def test_a_track_without_an_artist_is_its_own_artist():
    table, how = splits.assign(catalog_of([("Rock", "a")] * 20 + [("Rock", None)] * 60))
    assert how == "artist-disjoint stratified 80/10/10"
    assert len(splits_of(table, "artist", "a")) == 1
    assert splits_of(table, "artist", None) == set(SPLITS)
    assert shares(table)["Rock"]["training"] == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize("seed", range(5))
def test_a_genre_of_three_artists_is_in_every_split_of_a_large_catalog(seed):
    rare = [(f"Rare {g}", f"{g}{artist}") for g in range(6) for artist in range(3) for _ in range(2)]
    table, _ = splits.assign(catalog_of([("Rock", f"r{i // 3}") for i in range(300)] + rare), seed)
    for g in range(6):
        assert splits_of(table, "genre", f"Rare {g}") == set(SPLITS)


@pytest.mark.parametrize("seed", range(5))
def test_a_genre_of_one_artist_is_trained_on(seed):
    rare = [(f"Rare {g}", f"rare {g}") for g in range(6)]
    table, _ = splits.assign(catalog_of([("Rock", f"r{i // 3}") for i in range(90)] + rare), seed)
    assert {split for g in range(6) for split in splits_of(table, "genre", f"Rare {g}")} == {"training"}


@pytest.mark.parametrize("n_artists", [3, 4, 7, 9])
def test_fewer_than_ten_artists_still_give_three_splits(n_artists):
    table, how = splits.assign(catalog_of([("Rock", f"a{i % n_artists}") for i in range(5 * n_artists)]))
    assert how == "artist-disjoint stratified 80/10/10"
    held_out = 5 / (5 * n_artists)  # one artist each
    assert shares(table)["Rock"] == pytest.approx(
        {"training": 1 - 2 * held_out, "validation": held_out, "test": held_out}
    )


def test_an_artist_with_most_of_the_tracks_is_trained_on():
    for seed in range(5):
        rows = [("Rock", "a")] * 80 + [("Rock", f"b{i // 2}") for i in range(20)]
        table, _ = splits.assign(catalog_of(rows), seed)
        assert splits_of(table, "artist", "a") == {"training"}


def test_two_artists_cannot_be_kept_apart_and_the_phrase_says_so():
    table, how = splits.assign(catalog_of([("Rock", f"a{i % 2}") for i in range(40)]))
    assert how == "stratified 80/10/10, artists in several parts (fewer than 3 of them)"
    assert shares(table)["Rock"] == {"training": 0.8, "validation": 0.1, "test": 0.1}


@pytest.mark.parametrize("n_genres", [1, 2, 3, 5])
@pytest.mark.parametrize("n_tracks", [3, 4, 9, 11])
def test_a_handful_of_tracks_gives_three_splits_mostly_training(n_tracks, n_genres):
    table, _ = splits.assign(catalog_of([(f"g{i % n_genres}", None) for i in range(n_tracks)]))
    found = table["split"].to_pylist()
    assert set(found) == set(SPLITS)
    assert found.count("training") >= max(found.count("validation"), found.count("test"))


def test_two_tracks_are_both_trained_on():
    table, how = splits.assign(catalog_of([("Rock", "a"), ("Folk", "b")]))
    assert table["split"].to_pylist() == ["training", "training"]
    assert how == "all training (fewer than 3 tracks with a genre)"


@pytest.mark.parametrize("rows", [[], [(None, "a"), (None, None)]])
def test_without_genres_nothing_is_split(rows):
    table, how = splits.assign(catalog_of(rows))
    assert table["split"].null_count == len(rows)
    assert how == "none (no track has a genre)"


@pytest.mark.parametrize("seed", range(25))
def test_any_small_catalog_splits_with_artists_apart_and_genres_together(seed):
    rng = random.Random(seed)
    genres = rng.randint(1, 5)
    artists = rng.randint(1, 12)
    rows = [(f"g{a % genres}", f"a{a}") for a in (rng.randrange(artists) for _ in range(rng.randint(3, 40)))]
    table, how = splits.assign(catalog_of(rows), seed)
    assert {row["split"] for row in table.to_pylist()} == set(SPLITS)
    if how == splits.SHARED:
        assert len({artist for _, artist in rows}) < 3
        return
    for artist in {artist for _, artist in rows}:
        assert len(splits_of(table, "artist", artist)) == 1
    for genre in {genre for genre, _ in rows}:
        if len({artist for g, artist in rows if g == genre}) >= 3:
            assert splits_of(table, "genre", genre) == set(SPLITS)


def test_a_catalog_that_grows_keeps_its_artists_apart():
    whole, _ = splits.assign(collection())
    rng = np.random.default_rng(0)
    first = np.sort(rng.permutation(whole.num_rows)[:700])
    unsplit = collection()
    earlier, _ = splits.assign(unsplit.take(first))
    assert earlier["split"].to_pylist() != whole.take(first)["split"].to_pylist()  # else this shows nothing
    grown = splits.keep(whole, earlier)
    assert grown.take(first).equals(earlier)
    parts = defaultdict(set)
    for artist, split in zip(grown["artist"].to_pylist(), grown["split"].to_pylist(), strict=True):
        parts[artist].add(split)
    assert all(len(found) == 1 for artist, found in parts.items() if artist is not None)


def test_new_tracks_without_a_genre_stay_out_of_every_split():
    earlier = catalog_of([("Rock", "a", "training"), ("Rock", "b", "test")])
    grown = catalog_of([("Rock", "a", "test"), ("Rock", "b", "test"), (None, "a", None), ("Rock", "c", "validation")])
    assert splits.keep(grown, earlier)["split"].to_pylist() == ["training", "test", None, "validation"]
