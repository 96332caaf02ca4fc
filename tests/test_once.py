import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from making import SMALL, failed_row, feature_row, feature_rows, write_features

from genreray import part_rows, parts, storage, tables
from genreray.errors import UserError
from genreray.featureset import FeatureSet, table_settings
from genreray.parts import Parts

SCHEMA = tables.with_metadata(tables.FEATURES, table_settings(SMALL, "official"))
ROWS = feature_rows(12)  # and three that failed


def output(folder: Path) -> Parts:
    return Parts(str(folder), SCHEMA)


def ids(folder: Path) -> list[str]:
    """What any reader of Parquet finds."""
    return sorted(pq.read_table(folder)["track_id"].to_pylist())


@pytest.fixture
def twice(tmp_path):
    """What two jobs at once leave: the same tracks in blocks of 4 and of 5, one of which failed in one of them."""
    folder = tmp_path / "features"
    write_features(folder, ROWS, block_size=4)
    other = [failed_row("0003", "Folk", "training") if row["track_id"] == "0003" else row for row in ROWS]
    write_features(folder, other, block_size=5)
    assert len(ids(folder)) == 2 * len(ROWS)
    return folder


def test_tracks_that_were_written_twice_are_read_once(twice):
    index = FeatureSet.open(str(twice)).index
    assert sorted(index["track_id"].to_pylist()) == sorted(row["track_id"] for row in ROWS)
    known = parts.read(output(twice).files(), ["track_id", "status", "error"], tables.FEATURES)
    assert dict(zip(known["track_id"].to_pylist(), known["status"].to_pylist(), strict=True)) == {
        row["track_id"]: row["status"] for row in ROWS
    }


def test_what_is_read_is_at_the_places_that_the_index_names(twice):
    index = FeatureSet.open(str(twice)).index.filter(pa.compute.field("status") == "ok")
    found = pa.concat_tables(part_rows.read(index.select(["part", "row"]), ["track_id", "mel"]))
    assert found["track_id"].to_pylist() == index["track_id"].to_pylist()
    mels = {row["track_id"]: row["mel"] for row in ROWS if row["status"] == "ok"}
    assert all(mels[row["track_id"]] == row["mel"] for row in found.to_pylist())


def test_which_row_counts_depends_on_no_order_of_writing(tmp_path):
    """The one that is ok, and of two such the one in the first part by name."""
    one, other = (feature_row("a", "Jazz", "training", n, SMALL) for n in (100, 120))
    failed = failed_row("a", "Jazz", "training")
    blocks = [[failed, ROWS[0]], [one, ROWS[1]], [other, ROWS[2]]]
    chosen = set()
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2]):
        folder = tmp_path / "-".join(map(str, order))
        for i in order:
            write_features(folder, blocks[i])
        index = FeatureSet.open(str(folder)).index.filter(pa.compute.field("track_id") == "a").to_pylist()
        assert len(index) == 1
        chosen.add((index[0]["status"], index[0]["n_frames"], index[0]["part"].rsplit("/", 1)[1]))
        assert index[0]["part"] == min(p for p in output(folder).files() if 100 <= frames_of_a(p) <= 120)
    assert len(chosen) == 1


def frames_of_a(part: str) -> int:
    row = next(
        row for row in pq.read_table(part, columns=["track_id", "n_frames"]).to_pylist() if row["track_id"] == "a"
    )
    return row["n_frames"] or 0


def test_a_job_leaves_each_track_in_one_part_for_other_readers_too(twice):
    before = {row["track_id"]: row for row in ROWS}
    known = output(twice).settle(output(twice).files())
    assert sorted(known["track_id"].to_pylist()) == ids(twice) == sorted(before)
    for row in pq.read_table(twice).to_pylist():
        assert (row["status"], row["mel"]) == (before[row["track_id"]]["status"], before[row["track_id"]].get("mel"))
    assert FeatureSet.open(str(twice)).config == SMALL  # the settings are still there
    files = {path: path.stat().st_mtime_ns for path in twice.iterdir()}
    output(twice).settle(output(twice).files())
    assert {path: path.stat().st_mtime_ns for path in twice.iterdir()} == files


@pytest.mark.parametrize("writes", range(4))
def test_killed_while_it_takes_rows_out_no_track_is_lost(twice, monkeypatch, writes):
    real, left = parts._remove_run, [writes]
    lock = threading.Lock()

    def killed(run):
        with lock:
            left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        real(run)

    monkeypatch.setattr(parts, "_remove_run", killed)
    with pytest.raises(KeyboardInterrupt):
        output(twice).settle(output(twice).files())
    monkeypatch.undo()
    assert set(ids(twice)) == {row["track_id"] for row in ROWS}
    output(twice).settle(output(twice).files())
    assert ids(twice) == sorted(row["track_id"] for row in ROWS)


def test_tracks_to_be_done_again_leave_the_others_as_they_are(tmp_path):
    folder = tmp_path / "features"
    write_features(folder, ROWS, block_size=4)
    before = {row["track_id"]: row for row in pq.read_table(folder).to_pylist()}
    again = ["bad-training", "bad-validation", "bad-test"]  # a part of their own among others
    output(folder).remove(output(folder).files(), pa.array(again))
    assert {row["track_id"]: row for row in pq.read_table(folder).to_pylist()} == {
        track_id: row for track_id, row in before.items() if track_id not in again
    }
    assert len(list(folder.iterdir())) == 3


def test_a_part_that_goes_away_while_it_is_read_is_one_line(tmp_path):
    folder = tmp_path / "features"
    write_features(folder, ROWS, block_size=4)
    files = output(folder).files()
    Path(files[1]).unlink()
    for read in (output(folder).settle, output(folder).check_settings):
        with pytest.raises(UserError, match="a part of .* went away while it was read: run the same command again"):
            read(files)


def test_parts_of_another_kind_of_table_are_not_ours(tmp_path):
    folder = tmp_path / "features"
    write_features(folder, ROWS, block_size=4)
    predictions = tables.with_metadata(tables.PREDICTIONS, {"table": "predictions"})
    assert len(output(folder).ours()) == 4
    Parts(str(folder), predictions).write(tables.PREDICTIONS.empty_table())
    with pytest.raises(UserError, match="is no part of features, and --fresh deletes nothing else"):
        output(folder).ours()


def test_named_files_are_deleted_and_no_others(place):
    for name in ("a/b/1", "a/b/2", "a/3", "[ab]*"):
        storage.write_text(storage.join(place, name), "x")
    gone = [storage.join(place, name) for name in ("a/b/1", "a/b/2", "[ab]*", "never there")]
    storage.delete_files(gone, place)
    assert {name for name, _ in storage.list_files(place)} == {"a/3"}
    storage.delete_files([storage.join(place, "a/3")], place)
    assert list(storage.list_files(place)) == []


def test_folders_left_empty_go_but_not_the_one_above(tmp_path):
    storage.write_text(str(tmp_path / "run/training/checkpoint/config.json"), "x")
    (tmp_path / "run/mine").mkdir()
    storage.delete_files([str(tmp_path / "run/training/checkpoint/config.json")], str(tmp_path / "run"))
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["mine"]
