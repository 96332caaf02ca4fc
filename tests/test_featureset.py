import pyarrow.parquet as pq
import pytest
from making import PARENTS, SMALL, feature_row, feature_rows, write_features

from genreray import tables
from genreray.errors import UserError
from genreray.featureset import FeatureSet, table_settings
from genreray.parts import Parts


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


def test_a_tree_of_genres_is_found_and_one_that_is_not_there_is_empty(tmp_path):
    with_tree = write_features(tmp_path / "fma", feature_rows(6), genre_parents=PARENTS)
    assert FeatureSet.open(with_tree).genre_parents == PARENTS
    assert FeatureSet.open(write_features(tmp_path / "manifest", feature_rows(6))).genre_parents == {}


def test_features_with_a_tree_and_without_are_refused_together(tmp_path):
    folder = write_features(tmp_path, feature_rows(6), genre_parents=PARENTS)
    other = [{**row, "track_id": f"other {row['track_id']}"} for row in feature_rows(6)]
    with pytest.raises(UserError, match=r"\(genre_parents are given there\): give another folder"):
        Parts(folder, tables.with_metadata(tables.FEATURES, table_settings(SMALL, "official"))).check_settings(
            Parts(folder, tables.FEATURES).files()
        )
    write_features(tmp_path, other)
    with pytest.raises(UserError, match="were made with different settings \\(genre_parents"):
        FeatureSet.open(folder)


def test_rows_with_a_list_of_genres_are_usable_for_several(tmp_path):
    rows = feature_rows(12)
    rows.append({**feature_row("several", None, "training", 100, SMALL), "genres": ["Jazz", "Soul"]})
    rows.append(feature_row("unlabelled", None, "training", 100, SMALL))
    features = FeatureSet.open(write_features(tmp_path, rows))
    assert features.usable("training").num_rows == 12
    assert features.usable("training", "genres").num_rows == 13
