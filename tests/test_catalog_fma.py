import csv
import io
from pathlib import Path

import pandas as pd
import pytest

from genreray import catalog
from genreray.errors import UserError
from genreray.tables import CATALOG

GENUINE = Path(__file__).parents[2] / "shared/data/fma"
genuine = pytest.mark.skipif(not GENUINE.exists(), reason="FMA's metadata is not here")

GENRES_CSV = "genre_id,#tracks,parent,title,top_level\n21,9,0,Hip-Hop,21\n10,9,0,Pop,10\n76,4,10,Experimental Pop,10\n"
HEADER = [
    ["", "album", "artist", "artist", "set", "set", "track", "track", "track"],
    ["", "title", "bio", "name", "split", "subset", "genre_top", "genres", "genres_all"],
    ["track_id", "", "", "", "", "", "", "", ""],
]
TRACKS = [
    ["2", "A", "two\nlines, quoted", "AWOL", "training", "small", "Hip-Hop", "[21]", "[21]"],
    ["10", "B", "", "NULL", "validation", "medium", "Pop", "[76]", "[76, 10]"],
    ["134", "C", "", "Ünder", "test", "large", "", "[]", "[]"],
    ["155320", "D", "", "", "training", "", "", "[21]", "[21]"],
]


def write_fma(folder, *, tracks=TRACKS, header=HEADER, genres=GENRES_CSV, audio="fma_medium"):
    """Write FMA's metadata as FMA writes it; return the audio folder and the metadata folder as texts."""
    (folder / audio).mkdir(exist_ok=True)
    metadata = folder / "fma_metadata"
    metadata.mkdir(exist_ok=True)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([*header, *tracks])
    (metadata / "tracks.csv").write_text(text.getvalue(), encoding="utf-8")
    (metadata / "genres.csv").write_text(genres, encoding="utf-8")
    return str(folder / audio), str(metadata)


def ids(table):
    return table["track_id"].to_pylist()


@genuine
@pytest.mark.parametrize(("subset", "count"), [("small", 58), ("medium", 194), ("large", 682), ("full", 682)])
def test_the_genuine_subsets_have_their_sizes(subset, count):
    table = catalog.read_catalog(str(GENUINE / "fma_medium"), fma_metadata=str(GENUINE / "fma_metadata"), subset=subset)
    assert table.num_rows == count
    assert table.schema == CATALOG


@genuine
def test_the_genuine_medium_has_the_published_splits_and_genres():
    labels = pd.read_csv(GENUINE / "medium_labels.csv", dtype=str).set_index("track_id")
    metadata = str(GENUINE / "fma_metadata")
    table = catalog.read_catalog(str(GENUINE / "fma_medium"), fma_metadata=metadata)  # medium by its name
    expected = labels.loc[ids(table)]
    assert table["split"].to_pylist() == expected["split"].tolist()
    assert table["genre"].to_pylist() == expected["genre_top"].tolist()
    assert table["genres"].to_pylist() == [text.split(";") for text in expected["genres_all"]]
    assert table["artist"].null_count == 0
    assert table["uri"][0].as_py() == str(GENUINE / "fma_medium/000/000002.mp3")
    small = catalog.read_catalog(str(GENUINE / "fma_medium"), fma_metadata=metadata, subset="small")
    assert ids(small) == expected.index[expected["subset"] == "small"].tolist()


@pytest.mark.parametrize(
    ("subset", "expected"),
    [
        ("small", ["000002"]),
        ("medium", ["000002", "000010"]),
        ("large", ["000002", "000010", "000134"]),
        ("full", ["000002", "000010", "000134", "155320"]),
    ],
)
def test_each_subset_holds_the_smaller_ones(tmp_path, subset, expected):
    audio, metadata = write_fma(tmp_path)
    assert ids(catalog.read_catalog(audio, fma_metadata=metadata, subset=subset)) == expected


def test_every_column_of_fma_is_read_and_missing_files_stay(tmp_path):
    audio, metadata = write_fma(tmp_path, audio="fma_full")
    table = catalog.read_catalog(audio, fma_metadata=metadata)  # full by its name
    assert table.schema == CATALOG
    assert table.to_pydict() == {
        "track_id": ["000002", "000010", "000134", "155320"],
        "uri": [f"{audio}/{name}.mp3" for name in ("000/000002", "000/000010", "000/000134", "155/155320")],
        "genre": ["Hip-Hop", "Pop", None, None],
        "genres": [["Hip-Hop"], ["Experimental Pop", "Pop"], None, ["Hip-Hop"]],
        "artist": ["AWOL", "NULL", "Ünder", None],
        "split": ["training", "validation", "test", "training"],
    }


def test_a_folder_named_otherwise_needs_a_subset(tmp_path):
    audio, metadata = write_fma(tmp_path, audio="clips")
    with pytest.raises(UserError, match="give --subset"):
        catalog.read_catalog(audio, fma_metadata=metadata)
    assert catalog.read_catalog(audio, fma_metadata=metadata, subset="small").num_rows == 1


def changed(column, value):
    return [[*TRACKS[0][:column], value, *TRACKS[0][column + 1 :]]]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"header": [HEADER[0][:8], HEADER[1][:8], HEADER[2][:8]]}, r"lacks \('track', 'genres_all'\)"),
        ({"header": HEADER[:2]}, "third row does not begin with track_id"),
        ({"header": [["track_id", "split"]]}, "its header lacks"),
        ({"tracks": []}, "not FMA's tracks.csv"),
        ({"tracks": [TRACKS[2]]}, "no track of the subset medium"),
        ({"tracks": [TRACKS[0], TRACKS[0]]}, "track 2 is there twice"),
        ({"tracks": changed(0, "two")}, "'two' is no track id"),
        ({"tracks": changed(4, "train")}, "the split 'train' is none of"),
        ({"tracks": changed(5, "tiny")}, "the subset 'tiny' is none of"),
        ({"tracks": changed(8, "Hip-Hop")}, "genres_all is 'Hip-Hop'"),
        ({"tracks": changed(8, "[99]")}, "genre 99 is not in genres.csv"),
        ({"genres": "something,else\n"}, "not FMA's genres.csv"),
    ],
)
def test_metadata_that_is_not_fmas_is_refused(tmp_path, files, message):
    audio, metadata = write_fma(tmp_path, **files)
    with pytest.raises(UserError, match=message) as error:
        catalog.read_catalog(audio, fma_metadata=metadata)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b'2,"cut', b"2,\xff\xfe"])
def test_a_damaged_tracks_csv_is_refused(tmp_path, content):
    audio, metadata = write_fma(tmp_path)
    with Path(metadata, "tracks.csv").open("ab") as file:
        file.write(content)
    with pytest.raises(UserError, match=r"not FMA's tracks\.csv"):
        catalog.read_catalog(audio, fma_metadata=metadata)


@pytest.mark.parametrize("name", ["tracks.csv", "genres.csv"])
def test_missing_metadata_is_named(tmp_path, name):
    audio, metadata = write_fma(tmp_path)
    Path(metadata, name).unlink()
    with pytest.raises(UserError, match=rf"{name} is not there: --fma-metadata"):
        catalog.read_catalog(audio, fma_metadata=metadata)


def test_fma_with_wrong_arguments_is_refused(tmp_path):
    audio, metadata = write_fma(tmp_path)
    with pytest.raises(UserError, match="no subset 'tiny'"):
        catalog.read_catalog(audio, fma_metadata=metadata, subset="tiny")
    with pytest.raises(UserError, match="genre-column is for a manifest"):
        catalog.read_catalog(audio, fma_metadata=metadata, genre_column="style")
    with pytest.raises(UserError, match="not a folder"):
        catalog.read_catalog(f"{audio}/000", fma_metadata=metadata, subset="small")


def test_the_tree_is_read_by_child_and_other_catalogs_have_none(tmp_path):
    _, metadata = write_fma(tmp_path)
    assert catalog.genre_parents(metadata) == {"Experimental Pop": "Pop"}
    assert catalog.genre_parents(None) == {}
