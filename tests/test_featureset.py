import pyarrow.parquet as pq
import pytest
from making import SMALL, feature_row, feature_rows, write_features

from genreray.errors import UserError
from genreray.featureset import FeatureSet


@pytest.fixture
def features(tmp_path):
    return FeatureSet.open(write_features(tmp_path / "features", feature_rows()))


def test_settings_and_tracks_are_found(features):
    assert features.config == SMALL
    assert features.split_method == "official"
    assert len(features.index) == 51


def test_the_index_names_the_part_of_each_row(features):
    for row in features.index.to_pylist():
        assert row["track_id"] in pq.read_table(row["part"], columns=["track_id"]).column(0).to_pylist()


def test_usable_rows_have_a_genre_and_features(tmp_path):
    rows = feature_rows(12)
    rows.append(feature_row("unlabelled", None, "training", 100, SMALL))
    features = FeatureSet.open(write_features(tmp_path, rows))
    assert features.usable("training").num_rows == 12
    assert features.rows("training").num_rows == 14


def test_blocks_leave_out_parts_without_wanted_rows(features):
    index = features.index.to_pylist()
    wanted = {row["part"] for row in index if row["split"] == "test"}
    blocks = features.blocks("test", usable_only=True, n_rows=4)
    assert {part for block in blocks for part in block} <= wanted
    assert len(wanted) < len({row["part"] for row in index})


def test_blocks_hold_enough_rows(features):
    index = features.index.to_pylist()
    for block in features.blocks(None, usable_only=False, n_rows=20)[:-1]:
        assert sum(row["part"] in block for row in index) >= 20


def test_an_unknown_split_says_which_there_are(tmp_path):
    rows = [row for row in feature_rows() if row["split"] != "test"]
    features = FeatureSet.open(write_features(tmp_path, rows))
    with pytest.raises(UserError, match="no tracks in split 'test': it has training, validation"):
        features.rows("test")


def test_a_missing_or_empty_folder_says_how_to_make_features(tmp_path):
    with pytest.raises(UserError, match="there are no features at .*genreray extract"):
        FeatureSet.open(str(tmp_path / "nothing"))
    with pytest.raises(UserError, match="holds no features.*genreray extract"):
        FeatureSet.open(str(tmp_path))
