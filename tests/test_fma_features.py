import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from genreray import storage
from genreray.catalog import fma_features
from genreray.errors import UserError

# The features of FMA's file and how many numbers each has, in alphabetical order as there: 74, times 7 statistics.
SIZES = {
    "chroma_cens": 12,
    "chroma_cqt": 12,
    "chroma_stft": 12,
    "mfcc": 20,
    "rmse": 1,
    "spectral_bandwidth": 1,
    "spectral_centroid": 1,
    "spectral_contrast": 7,
    "spectral_rolloff": 1,
    "tonnetz": 6,
    "zcr": 1,
}
STATISTICS = ("kurtosis", "max", "mean", "median", "min", "skew", "std")
COLUMNS = [(name, s, f"{i:02d}") for name, size in SIZES.items() for s in STATISTICS for i in range(1, size + 1)]


def features(ids=(2, 3, 140, 155320), seed=0):
    """A table as FMA's program writes it, with random numbers."""
    columns = pd.MultiIndex.from_tuples(COLUMNS, names=["feature", "statistics", "number"])
    values = np.random.default_rng(seed).normal(0, 100, (len(ids), len(COLUMNS))).astype(np.float32)
    return pd.DataFrame(values, pd.Index(ids, name="track_id"), columns)


def write(folder, frame, **options):
    path = folder / "features.csv"
    frame.to_csv(path, **{"float_format": "%.10e", **options})
    return str(path)


def rows(text):
    return list(csv.reader(io.StringIO(text)))


def test_the_made_up_file_has_the_shape_of_fmas(tmp_path):
    lines = rows(Path(write(tmp_path, features())).read_text(encoding="utf-8"))
    assert [line[0] for line in lines] == ["feature", "statistics", "number", "track_id", "2", "3", "140", "155320"]
    assert {len(line) for line in lines} == {519}


def test_every_track_has_its_statistics(tmp_path):
    frame = features()
    table = fma_features.read(write(tmp_path, frame))
    assert table.column("track_id").to_pylist() == ["000002", "000003", "000140", "155320"]
    for value, (_, row) in zip(table.column("mfcc_stats").to_pylist(), frame.iterrows(), strict=True):
        expected = [[row["mfcc", s, f"{i:02d}"] for i in range(1, 21)] for s in STATISTICS]
        assert np.array_equal(np.frombuffer(value, np.float32).reshape(7, 20), np.float32(expected))


def test_columns_are_found_by_name_whatever_their_order(tmp_path):
    frame = features()
    expected = fma_features.read(write(tmp_path, frame))
    shuffled = frame.sample(frac=1, axis=1, random_state=3)
    assert fma_features.read(write(tmp_path, shuffled)).equals(expected)
    unnamed = frame.rename_axis(index=None)  # without the row that names the index
    assert fma_features.read(write(tmp_path, unnamed)).equals(expected)


def test_rows_of_many_blocks_come_in_order(tmp_path, monkeypatch):
    path = write(tmp_path, features(range(1, 41)))
    whole = fma_features.read(path)
    monkeypatch.setattr(fma_features, "_BLOCK", 30_000)  # three rows
    pieces = fma_features.read(path)
    assert pieces.column("track_id").num_chunks > 5
    assert pieces.equals(whole)
    assert pieces.column("track_id").to_pylist() == [f"{i:06d}" for i in range(1, 41)]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_track_with_a_number_missing_has_no_statistics(tmp_path, value):
    frame = features()
    frame.loc[3, ("mfcc", "skew", "07")] = value
    frame.loc[140, ("zcr", "skew", "01")] = value
    table = fma_features.read(write(tmp_path, frame))
    assert [v is None for v in table.column("mfcc_stats").to_pylist()] == [False, True, False, False]


def test_a_file_in_a_store_is_read(tmp_path, place):
    path = write(tmp_path, features())
    uri = storage.join(place, "fma", "features.csv")
    storage.write_bytes(uri, Path(path).read_bytes())
    assert fma_features.read(uri).equals(fma_features.read(path))


def text_of(frame):
    return frame.to_csv(float_format="%.10e")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "its first rows do not begin with feature, statistics, number"),
        ("track_id,genre\n2,Rock\n", "its first rows do not begin with"),
        ("feature,mfcc\nstatistics,mean\nnumber,01\n2,1.0\n", "lacks the column mfcc kurtosis 01"),
        (b"PAR1\x00\xff\xfe", "can't decode"),
        (text_of(features([])), "Empty CSV file"),
        (text_of(features([2, 3, 2])), "track 000002 is there twice"),
        (text_of(features(["2", "x3"])), "'x3' is no track id"),
        (text_of(features(["2", "1234567"])), "'1234567' is no track id"),
        (text_of(features()) + "155321,1.0,2.0\n", r"Expected 519 columns, got 3"),
        (text_of(features().astype(object).replace({features().loc[3, ("mfcc", "min", "20")]: "loud"})), "loud"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, content, message):
    path = tmp_path / "features.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message) as error:
        fma_features.read(str(path))
    assert "\n" not in str(error.value)
    assert "features.csv" in str(error.value)


def test_a_folder_or_nothing_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "nothing.csv"):
        with pytest.raises(UserError, match=r"is not a file: give FMA's features\.csv"):
            fma_features.read(str(path))
