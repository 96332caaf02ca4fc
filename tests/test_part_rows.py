import collections
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from making import feature_rows, write_features

from genreray import part_rows, parts, tables
from genreray.errors import UserError
from genreray.parts import Parts

N = 147


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Parts of 70, 70 and 7 tracks, in row groups of 32."""
    return write_features(tmp_path_factory.mktemp("parts") / "features", feature_rows(N)[:N], block_size=70)


@pytest.fixture
def places(folder):
    return parts.read_with_place(Parts(folder, tables.FEATURES).files(), ["track_id"], tables.FEATURES)


@pytest.fixture
def groups(monkeypatch):
    """The row groups that are read, one list for each time."""
    read, original = [], pq.ParquetFile.read_row_groups

    def counted(file, groups, *more, **options):
        read.append(groups)
        return original(file, groups, *more, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", counted)
    return read


def read_ids(places):
    found = part_rows.read(places.select(["part", "row"]), ["track_id"])
    return [track_id for table in found for track_id in table.column("track_id").to_pylist()]


ORDER = np.random.default_rng(0).permutation(N)
CHOSEN = {"all": np.arange(N), "any": ORDER, "three": ORDER[:3], "one": np.array([7]), "some": np.sort(ORDER[:40])}


@pytest.mark.parametrize("chosen", CHOSEN)
def test_rows_are_found_by_their_places_in_any_order(places, chosen):
    some = places.take(CHOSEN[chosen])
    assert read_ids(some) == some.column("track_id").to_pylist()


def test_each_row_group_is_read_once_and_no_other(places, groups):
    assert len(read_ids(places)) == N
    assert sorted(group for each in groups for group in each) == [0, 0, 0, 1, 1, 2, 2]
    groups.clear()
    (part, *_) = [part for part, n in collections.Counter(places.column("part").to_pylist()).items() if n == 70]
    of_one = places.filter(pa.compute.equal(places["part"].cast(pa.string()), part))
    (run,) = part_rows.runs(of_one.select(["part", "row"]).slice(60, 7), ["track_id"])
    assert [len(table) for table in run.tables()] == [4, 3]
    assert groups == [[1], [2]]
    groups.clear()
    (run,) = part_rows.runs(of_one, ["track_id"])  # which comes with the places
    assert pa.concat_tables(run.tables()).equals(of_one.select(["track_id"]))
    assert groups == []
    to_and_fro = of_one.take([69, 0, 68, 1])
    assert read_ids(to_and_fro) == to_and_fro.column("track_id").to_pylist()
    assert groups == [[0, 2]]


def test_of_a_store_all_that_is_wanted_of_a_part_is_asked_for_at_once(bucket, groups):
    uri = write_features(bucket, feature_rows(70)[:70], block_size=70)
    places = parts.read_with_place(Parts(uri, tables.FEATURES).files(), ["track_id"], tables.FEATURES)
    some = places.take([3, 5, 40, 69])
    assert read_ids(some) == some.column("track_id").to_pylist()
    assert groups == [[0, 1, 2]]


def test_what_comes_with_the_places_stands_in_for_the_column_of_the_part(places):
    given = places.select(["part", "row"]).append_column("genre", pa.array([f"genre {i}" for i in range(N)]))
    expected = dict(zip(places.column("track_id").to_pylist(), given.column("genre").to_pylist(), strict=True))
    for order in (np.arange(N), ORDER):
        table = pa.concat_tables(part_rows.read(given.take(order), ["track_id", "genre"]))
        assert dict(zip(*table.to_pydict().values(), strict=True)) == expected


@pytest.fixture
def part(places):
    """A part, which is as it was after the test."""
    path = Path(places.column("part")[0].as_py())
    content = path.read_bytes()
    yield path
    path.write_bytes(content)


def test_a_part_damaged_since_is_named(places, part):
    with part.open("r+b") as file:
        file.truncate(100)
    with pytest.raises(UserError, match="damaged part"):
        read_ids(places)


def test_a_part_that_lost_rows_since_is_told(places, part):
    pq.write_table(pq.read_table(part).slice(0, 5), part)
    with pytest.raises(UserError, match=f"^{part} has lost rows since .*: run the same command again$"):
        read_ids(places)


def test_runs_are_cut_where_the_part_changes(places):
    lengths = [len(run) for run in part_rows.runs(places, ["track_id"])]
    assert sorted(lengths) == [7, 70, 70]
    mixed = places.take([0, 100, 1, 101])
    assert [len(run) for run in part_rows.runs(mixed, [])] == [1] * 4
