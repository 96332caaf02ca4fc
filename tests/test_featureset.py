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


def test_the_index_names_the_place_of_each_row(features):
    for row in features.index.to_pylist():
        assert pq.read_table(row["part"], columns=["track_id"]).column(0)[row["row"]].as_py() == row["track_id"]


def test_usable_rows_have_a_genre_and_features(tmp_path):
    rows = feature_rows(12)
    rows.append(feature_row("unlabelled", None, "training", 100, SMALL))
    features = FeatureSet.open(write_features(tmp_path, rows))
    assert features.usable("training").num_rows == 12
    assert features.rows("training").num_rows == 14


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
