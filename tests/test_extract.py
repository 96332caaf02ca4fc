import errno

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile as sf
from rich.console import Console

from genreray import audio, features, isolation, pipeline, storage, tables
from genreray.cluster import Cluster
from genreray.errors import Status, UserError
from genreray.extract import extract, extract_block, extract_part, feature_stage
from genreray.features import FeatureConfig
from genreray.isolation import map_isolated
from genreray.parts import Parts
from genreray.progress import Progress
from genreray.track import extract_track

CONFIG = FeatureConfig(duration=3.0)


@pytest.fixture(scope="module")
def tracks(tmp_path_factory, tone):
    """A folder with ten good tracks and one of each kind of bad one, as rows of a catalog."""
    folder = tmp_path_factory.mktemp("tracks")
    for i in range(10):
        sf.write(folder / f"good {i} ü.wav", tone(22050, 3.5, 220.0 * (i + 1)), 22050)
    (folder / "empty.mp3").touch()
    (folder / "page.mp3").write_text("<html>not found</html>")
    sf.write(folder / "short.wav", tone(22050, 0.5, 440.0), 22050)
    sf.write(folder / "silent.wav", tone(22050, 4.0, 440.0) * 0, 22050)
    (folder / "folder.mp3").mkdir()
    names = [*(p.name for p in folder.iterdir()), "missing.mp3"]
    rows = [{"track_id": name, "uri": str(folder / name), "genre": "Rock", "split": "training"} for name in names]
    return pa.Table.from_pylist(rows, schema=tables.CATALOG)


EXPECTED = {"empty.mp3": "empty", "page.mp3": "undecodable", "short.wav": "too_short", "silent.wav": "silent"}
EXPECTED |= {"folder.mp3": "unreadable", "missing.mp3": "not_found"}


def run(catalog, folder, config=CONFIG, **options):
    return extract(
        catalog,
        str(folder),
        config,
        split_method="official",
        cluster=Cluster(),
        progress=Progress(Console(), "extract"),
        **options,
    )


def test_a_row_holds_what_decoding_and_features_give(tracks):
    uri = tracks.filter(pa.compute.starts_with(tracks["track_id"], "good")).to_pylist()[0]["uri"]
    y = audio.decode(storage.read_bytes(uri), CONFIG.sr, CONFIG.duration)
    expected = features.extract(y, CONFIG)
    row = extract_track(uri, CONFIG)
    assert row["mel"] == expected.mel.tobytes()
    assert row["mfcc"] == expected.mfcc.tobytes()
    assert (row["n_frames"], row["duration"]) == (expected.mel.shape[1], len(y) / CONFIG.sr)
    assert row["mel_ref"] == expected.mel_ref


def test_each_row_comes_out_once_with_its_status(tracks):
    out = extract_block(tracks, CONFIG)
    assert out.schema.equals(tables.FEATURES)
    assert out.select(tables.CATALOG.names).equals(tracks)
    for row in out.to_pylist():
        assert row["status"] == EXPECTED.get(row["track_id"], "ok")
        assert (row["error"] is None) == (row["status"] == "ok") == (row["mel"] is not None)


def test_an_exception_that_nobody_foresaw_is_a_row_too(tracks, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("by chance")

    monkeypatch.setattr(audio, "decode", fail)
    assert extract_track(tracks["uri"][0].as_py(), CONFIG) == {
        "status": Status.ERROR.value,
        "error": "ZeroDivisionError: by chance",
    }


def test_the_job_writes_every_row_once(ray_session, tracks, tmp_path):
    outcome = run(tracks, tmp_path / "features", block_size=5)
    assert outcome.counts == {"ok": 10, **dict.fromkeys(sorted(EXPECTED.values()), 1)}
    assert (outcome.n_done, outcome.n_before) == (16, 0)
    found = pq.read_table(tmp_path / "features")
    assert sorted(found["track_id"].to_pylist()) == sorted(tracks["track_id"].to_pylist())
    rows = [{**row, **extract_track(row["uri"], CONFIG)} for row in tracks.sort_by("track_id").to_pylist()]
    direct = pa.Table.from_pylist(rows, schema=tables.FEATURES)
    assert found.sort_by("track_id").cast(tables.FEATURES).equals(direct)


def test_features_carry_their_settings(ray_session, tracks, tmp_path):
    run(tracks, tmp_path / "features")
    part = next((tmp_path / "features").iterdir())
    found = tables.metadata_of(pq.read_schema(part), "part")
    assert found == {"table": "features", "features": CONFIG.to_json(), "split_method": "official"}


def test_a_second_run_does_what_is_missing_only(ray_session, tracks, tmp_path):
    folder = tmp_path / "features"
    run(tracks.slice(0, 7), folder, block_size=3)
    before = {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}
    outcome = run(tracks, folder, block_size=3)
    assert (outcome.n_done, outcome.n_before) == (9, 7)
    assert sum(outcome.counts.values()) == 16
    assert {p.name: p.stat().st_mtime_ns for p in folder.iterdir() if p.name in before} == before
    again = run(tracks, folder)
    assert (again.n_done, again.n_before, again.counts) == (0, 16, outcome.counts)


def test_other_settings_are_refused_and_nothing_is_written(ray_session, tracks, tmp_path):
    folder = tmp_path / "features"
    run(tracks.slice(0, 2), folder)
    before = sorted(p.name for p in folder.iterdir())
    with pytest.raises(UserError, match="n_mels 128, not 64"):
        run(tracks, folder, FeatureConfig(duration=3.0, n_mels=64))
    assert sorted(p.name for p in folder.iterdir()) == before


def test_each_part_holds_one_split(ray_session, tracks, tmp_path):
    splits = pa.array(["test", "training"] * 8)
    catalog = tracks.set_column(tracks.schema.get_field_index("split"), "split", splits)
    run(catalog, tmp_path / "features", block_size=4)
    for part in (tmp_path / "features").iterdir():
        assert len(set(pq.read_table(part, columns=["split"])["split"].to_pylist())) == 1


def test_fetching_decoding_and_writing_are_one_task(ray_session, tracks, tmp_path):
    import ray.data

    parts = Parts(str(tmp_path), tables.with_metadata(tables.FEATURES, {}))
    written = pipeline.stage(ray.data.from_arrow(tracks), extract_part, parts=parts, config=CONFIG).materialize()
    assert written.stats().count("MapBatches") == 1
    assert set(written.schema().names) == {"track_id", "status"}  # all that came back through the object store


def test_what_is_made_of_a_block_in_memory_is_written_by_the_same_task(ray_session, tracks, tmp_path):
    import ray.data

    parts = Parts(str(tmp_path), tables.with_metadata(tables.FEATURES, {}))
    rows = feature_stage(ray.data.from_arrow(tracks), CONFIG)
    written = pipeline.stage(rows, pipeline.write_part, parts=parts).materialize()
    assert "MapBatches(extract_block)->MapBatches(write_part)" in written.stats()


def test_rows_are_written_as_they_come(tracks, tmp_path, monkeypatch):
    """No more of a part than one group of its rows is in memory, and what is on disk is the part that a table gives."""
    monkeypatch.setattr("genreray.extract.GROUP", 3)
    made, sizes = [], []
    parts = Parts(str(tmp_path / "parts"), tables.with_metadata(tables.FEATURES, {}))

    def counted(*arguments):
        for found in map_isolated(*arguments):
            made.append(found)
            yield found

    write_table = pq.ParquetWriter.write_table

    def write(writer, table, *more):
        sizes.append((len(made), len(table)))
        write_table(writer, table, *more)

    monkeypatch.setattr("genreray.extract.map_isolated", counted)
    monkeypatch.setattr(pq.ParquetWriter, "write_table", write)
    told = extract_part(tracks, parts, CONFIG)
    assert sizes == [(3, 3), (6, 3), (9, 3), (12, 3), (15, 3), (16, 1)]
    (part,) = parts.files()
    assert pq.ParquetFile(part).num_row_groups == 6
    expected = extract_block(tracks, CONFIG)
    assert pq.read_table(part).cast(tables.FEATURES).equals(expected)
    assert told.equals(expected.select(["track_id", "status"]))
    assert parts.write(expected) == part


def test_a_part_that_cannot_be_written_to_its_end_leaves_nothing(tracks, tmp_path, monkeypatch):
    monkeypatch.setattr("genreray.extract.GROUP", 3)
    parts = Parts(str(tmp_path / "parts"), tables.with_metadata(tables.FEATURES, {}))
    write_table = pq.ParquetWriter.write_table

    def write(writer, table, *more):
        if table["track_id"][0] == tracks["track_id"][3]:
            raise OSError(errno.ENOSPC, "Error writing bytes to file. Detail: [errno 28] No space left on device")
        write_table(writer, table, *more)

    monkeypatch.setattr(pq.ParquetWriter, "write_table", write)
    while isolation._idle:
        isolation._idle.pop().end()
    with pytest.raises(UserError, match="parts/part-[0-9a-f]+.parquet cannot be written: no space left on device$"):
        extract_part(tracks, parts, CONFIG)
    assert list((tmp_path / "parts").iterdir()) == []
    assert not isolation._idle  # who was at the rest was ended


def test_another_file_under_the_same_id_is_refused(ray_session, tracks, tmp_path):
    folder = tmp_path / "features"
    run(tracks.slice(0, 2), folder)
    other = tracks.set_column(
        1, tracks.schema.field(1), pa.array([f"/elsewhere{u}" for u in tracks["uri"].to_pylist()])
    )
    with pytest.raises(UserError, match="of another file .*give another folder"):
        run(other, folder)
    assert pq.read_table(folder).num_rows == 2


def test_a_refused_write_in_a_task_is_one_line(ray_session, capsys, tracks, tmp_path, monkeypatch):
    from genreray import cli

    def refuse(block, **arguments):
        raise UserError("the disk is full")

    monkeypatch.setattr("genreray.extract.extract_part", refuse)
    folder = str(tmp_path / "features")
    music = tracks["uri"][0].as_py().rsplit("/", 1)[0]
    assert cli.main(["extract", music, folder]) == cli.BAD_INPUT
    assert capsys.readouterr().err.splitlines()[-1] == "genreray: the disk is full"


@pytest.mark.parametrize(
    ("n_tracks", "size", "n_short", "starts"),
    [
        (300, 96, 2, [0, 8, 16, 112, 208]),  # 8, 8, 96, 96, 92 tracks
        (300, 96, 0, [0, 96, 192, 288]),
        (20, 3, 2, [0, 3, 6, 9, 12, 15, 18]),  # short already
        (16, 9, 2, [0, 8]),
        (3, 96, 2, [0]),
    ],
)
def test_the_first_blocks_are_short_and_no_track_is_in_two(n_tracks, size, n_short, starts):
    assert pipeline.block_starts(n_tracks, size, n_short) == starts
