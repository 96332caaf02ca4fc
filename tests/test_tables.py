import pyarrow as pa
import pytest

from genreray import tables
from genreray.errors import Status, TrackError, UserError


def test_settings_come_back_from_a_schema():
    schema = tables.with_metadata(tables.FEATURES, {"table": "features", "sr": 22050})
    assert tables.metadata_of(schema, "here") == {"table": "features", "sr": 22050}


def test_settings_leave_other_metadata_alone():
    schema = pa.schema([pa.field("a", pa.int64())], metadata={b"pandas": b"{}"})
    assert tables.with_metadata(schema, {"a": 1}).metadata[b"pandas"] == b"{}"


@pytest.mark.parametrize("raw", [None, b"not json", b"[1]"])
def test_a_schema_without_settings_is_not_ours(raw):
    schema = pa.schema([pa.field("a", pa.int64())], metadata=None if raw is None else {b"genreray": raw})
    with pytest.raises(UserError, match=r"here/x\.parquet .*not made by genreray"):
        tables.metadata_of(schema, "here/x.parquet")


def test_features_begin_with_the_catalog():
    assert tables.FEATURES.names[: len(tables.CATALOG.names)] == tables.CATALOG.names


def test_a_track_error_survives_the_way_between_processes():
    import pickle

    error = pickle.loads(pickle.dumps(TrackError(Status.EMPTY, "file has no bytes")))
    assert (error.status, error.message) == (Status.EMPTY, "file has no bytes")
