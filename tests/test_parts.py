import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from making import SMALL, feature_rows, write_features

from genreray import parts, tables
from genreray.errors import UserError
from genreray.features import FeatureConfig
from genreray.featureset import FeatureSet
from genreray.parts import Parts


@pytest.fixture
def folder(tmp_path):
    return write_features(tmp_path / "features", feature_rows())


def test_pandas_polars_and_duckdb_read_the_same_table(folder):
    expected = {row["track_id"]: row.get("mel") for row in feature_rows()}
    by_pandas = pd.read_parquet(folder)
    by_polars = pl.read_parquet(folder)
    by_duckdb = duckdb.sql(f"select track_id, mel from '{folder}/*.parquet'").fetchall()
    assert dict(zip(by_polars["track_id"], by_polars["mel"], strict=True)) == expected
    assert dict(by_duckdb) == expected
    found = dict(zip(by_pandas["track_id"], by_pandas["mel"], strict=True))
    assert {k: None if pd.isna(v) else v for k, v in found.items()} == expected


def test_an_image_is_read_with_numpy_alone(folder):
    row = pq.read_table(folder, filters=[("track_id", "=", "0001")]).to_pylist()[0]
    mel = np.frombuffer(row["mel"], np.uint8).reshape(SMALL.n_mels, row["n_frames"])
    assert mel[12:16].min() >= 150 > mel[:12].max()  # Jazz is the band from 12


def test_large_columns_have_no_dictionary_and_no_compression(folder):
    file = pq.ParquetFile(Parts(folder, tables.FEATURES).files()[0])
    columns = {c["path_in_schema"]: c for c in (file.metadata.row_group(0).column(i).to_dict() for i in range(13))}
    assert "RLE_DICTIONARY" not in columns["mel"]["encodings"]
    assert {columns[name]["compression"] for name in ("mel", "mfcc")} == {"UNCOMPRESSED"}
    assert columns["uri"]["compression"] == "LZ4"


def test_images_are_in_row_groups_of_some_megabytes(tmp_path):
    folder = write_features(tmp_path, feature_rows(65)[:65], block_size=65)
    (part,) = Parts(folder, tables.FEATURES).files()
    metadata = pq.ParquetFile(part).metadata
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [32, 32, 1]


def test_the_same_tracks_give_the_same_file(tmp_path):
    rows = feature_rows()
    write_features(tmp_path, rows)
    names = sorted(p.name for p in tmp_path.iterdir())
    write_features(tmp_path, rows)
    assert sorted(p.name for p in tmp_path.iterdir()) == names


def test_a_folder_with_something_else_in_it_is_refused(folder, tmp_path):
    (tmp_path / "features" / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(UserError, match=r"holds holiday\.jpg"):
        FeatureSet.open(folder)


def test_parquet_of_another_program_is_refused(tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "part-0.parquet")
    with pytest.raises(UserError, match="not made by genreray"):
        FeatureSet.open(str(tmp_path))


@pytest.mark.parametrize("keep", [0, 10, 5000])
def test_a_part_cut_short_is_named(folder, tmp_path, keep):
    part = sorted((tmp_path / "features").iterdir())[1]
    part.write_bytes(part.read_bytes()[:keep])
    with pytest.raises(UserError, match=rf"{part.name} is not a whole Parquet file"):
        FeatureSet.open(folder)


def test_features_of_two_settings_are_refused_together(folder, tmp_path):
    other = FeatureConfig(n_mels=32, n_mfcc=13, duration=3.0, hop_length=256)
    rows = [{**row, "track_id": f"other {row['track_id']}"} for row in feature_rows(6, other)]
    write_features(tmp_path / "features", rows, other)
    with pytest.raises(UserError, match=r"different settings \(hop_length (256, not 512|512, not 256)\)"):
        FeatureSet.open(folder)


def test_settings_that_differ_are_named_before_any_work(folder):
    schema = tables.with_metadata(tables.FEATURES, {"table": "features", "split_method": "official"})
    output = Parts(folder, tables.with_metadata(schema, {"split_method": "stratified"}))
    with pytest.raises(UserError, match="split_method official, not stratified"):
        output.check_settings(output.files())


def test_statuses_are_counted_most_frequent_first(folder):
    statuses = parts.read(Parts(folder, tables.FEATURES).files(), ["status"], tables.FEATURES).column("status")
    assert list(parts.count_statuses(statuses).items()) == [("ok", 48), ("undecodable", 3)]


@pytest.mark.parametrize(
    ("n_tracks", "n_cpus", "expected"),
    [(1, 2, 1), (166, 2, 42), (1000, 2, 250), (1000, 64, 8), (10**6, 64, 256), (3, 0, 2)],
)
def test_a_part_is_large_where_there_is_much_to_do_for_each_cpu(n_tracks, n_cpus, expected):
    assert parts.part_size(n_tracks, n_cpus) == expected
