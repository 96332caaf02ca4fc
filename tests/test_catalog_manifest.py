import csv
import io
import json

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from genreray import catalog
from genreray.errors import UserError
from genreray.tables import CATALOG


def write(folder, name, content):
    file = folder / name
    file.write_text(content, encoding="utf-8")
    return str(file)


def ids(table):
    return table["track_id"].to_pylist()


ROWS = [
    {
        "path": "a/one.mp3",
        "track_id": "000123",
        "genre": "Rock",
        "genres": ["Rock", "Punk"],
        "artist": "Ünder",
        "split": "train",
    },
    {"path": "/abs/two.flac", "track_id": "7", "genre": None, "genres": None, "artist": None, "split": "dev"},
    {"path": "s3://b/three.ogg", "track_id": None, "genre": "Pop", "genres": ["Pop"], "artist": "x", "split": None},
    {"path": "./c/../four.mp3", "track_id": None, "genre": None, "genres": None, "artist": None, "split": "test"},
]


def write_rows(folder, kind, rows=ROWS):
    file = folder / f"list.{kind}"
    if kind == "csv":
        frame = pd.DataFrame(rows)
        frame["genres"] = [None if genres is None else ";".join(genres) for genres in frame["genres"]]
        frame.to_csv(file, index=False)
    elif kind == "jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), file)
    return str(file)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_the_same_manifest_in_each_format_is_the_same_catalog(tmp_path, kind):
    table = catalog.read_catalog(write_rows(tmp_path, kind))
    assert table.schema == CATALOG
    assert table.to_pydict() == {
        "track_id": ["000123", "7", "s3://b/three.ogg", "four.mp3"],
        "uri": [f"{tmp_path}/a/one.mp3", "/abs/two.flac", "s3://b/three.ogg", f"{tmp_path}/c/../four.mp3"],
        "genre": ["Rock", None, "Pop", None],
        "genres": [["Rock", "Punk"], None, ["Pop"], None],
        "artist": ["Ünder", None, "x", None],
        "split": ["training", "validation", None, "test"],
    }


def test_a_catalog_written_as_parquet_reads_back_equal(tmp_path):
    first = catalog.read_catalog(write_rows(tmp_path, "csv"))
    pq.write_table(first, tmp_path / "catalog.parquet")
    assert catalog.read_catalog(str(tmp_path / "catalog.parquet")).equals(first)


def test_a_manifest_in_a_bucket_takes_paths_from_its_folder():
    files = fsspec.filesystem("memory")
    files.pipe("/bucket/lists/list.csv", b"path\na.mp3\n../b.mp3\nhttps://x.org/c.mp3\n")
    try:
        table = catalog.read_catalog("memory://bucket/lists/list.csv")
    finally:
        files.rm("/bucket", recursive=True)
    assert table["uri"].to_pylist() == [
        "memory://bucket/lists/a.mp3",
        "memory://bucket/b.mp3",
        "https://x.org/c.mp3",
    ]


@pytest.mark.parametrize(
    ("cell", "genres"),
    [
        ("Rock; Punk", ["Rock", "Punk"]),
        ("Rock|Punk|", ["Rock", "Punk"]),
        ("Old-Time / Historic", ["Old-Time / Historic"]),
        ('["Rock", "Drum, and Bass"]', ["Rock", "Drum, and Bass"]),
        ("['Rock', 'Punk']", ["Rock", "Punk"]),
        ("[]", None),
        (" ", None),
    ],
)
def test_genres_in_a_cell_of_csv(tmp_path, cell, genres):
    text = io.StringIO()
    csv.writer(text).writerows([["path", "genres"], ["a.mp3", cell]])
    assert catalog.read_catalog(write(tmp_path, "l.csv", text.getvalue()))["genres"].to_pylist() == [genres]


def test_a_spreadsheets_csv_reads_with_its_byte_order_mark_and_blank_lines(tmp_path):
    manifest = write(tmp_path, "list.CSV", "\ufeffpath,genre\r\na.mp3,Rock\r\n\r\nb.mp3\r\n")
    table = catalog.read_catalog(manifest)
    assert ids(table) == ["a.mp3", "b.mp3"]
    assert table["genre"].to_pylist() == ["Rock", None]


def test_texts_that_look_like_nothing_stay_texts(tmp_path):
    manifest = write(tmp_path, "list.csv", "path,track_id,artist,genre\n1e5.mp3,0010,NA,None\n nan ,1.50,null,nan\n")
    table = catalog.read_catalog(manifest)
    assert ids(table) == ["0010", "1.50"]
    assert table["artist"].to_pylist() == ["NA", "null"]
    assert table["genre"].to_pylist() == ["None", "nan"]
    assert table["uri"].to_pylist() == [f"{tmp_path}/1e5.mp3", f"{tmp_path}/ nan "]


def test_numbers_in_parquet_become_the_texts_they_show(tmp_path):
    columns = {
        "uri": ["a", "b", "c"],
        "track_id": [12.0, 3.0, None],
        "genre": pa.array(["Pop", None, ""]).dictionary_encode(),
    }
    pq.write_table(pa.table(columns), tmp_path / "list.parquet")
    table = catalog.read_catalog(str(tmp_path / "list.parquet"))
    assert ids(table) == ["12", "3", "c"]
    assert table["genre"].to_pylist() == ["Pop", None, None]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_genre_comes_from_the_column_asked_for(tmp_path, kind):
    rows = [{**row, "style": style} for row, style in zip(ROWS, ["x", "y", "", "z"], strict=True)]
    manifest = write_rows(tmp_path, kind, rows)
    table = catalog.read_catalog(manifest, genre_column="style")
    assert table["genre"].to_pylist() == ["x", "y", None, "z"]
    with pytest.raises(UserError, match=r"no column mood: its columns are path, .*, style$"):
        catalog.read_catalog(manifest, genre_column="mood")


@pytest.mark.parametrize(
    ("split", "expected"),
    [("train", "training"), ("Training", "training"), ("valid", "validation"), ("val", "validation"), ("TEST", "test")],
)
def test_usual_names_of_the_splits_are_understood(tmp_path, split, expected):
    table = catalog.read_catalog(write(tmp_path, "list.csv", f"path,split\na.mp3,{split}\n"))
    assert table["split"].to_pylist() == [expected]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("l.csv", "path,split\na.mp3,test\nb.mp3,holdout\n", "line 3: the split is 'holdout'"),
        ("l.csv", "file,genre\na.mp3,Rock\n", "no column path or uri: its columns are file, genre"),
        ("l.csv", "", "its columns are none"),
        ("l.csv", "path,genre\n", "has no rows"),
        ("l.csv", "path,genre\na.mp3,\n,Rock\n", "line 3: no path"),
        ("l.csv", "path,track_id\na,1\nb,2\nc,1\n", "'1' is both in line 2 and in line 4"),
        ("l.csv", "path\na.mp3\n./a.mp3\n", "'a.mp3' is both in line 2 and in line 3"),
        ("l.csv", "path,genre\na, b.mp3,Rock\n", "line 2: more cells than columns"),
        ("l.csv", 'path,genre\n"a.mp3,Rock\nb.mp3,Rock\n', "not valid CSV"),
        ("l.csv", "path,genre,genre\na.mp3,x,y\n", "two columns called genre"),
        ("l.csv", 'path,genres\na.mp3,"[Rock"\n', r"line 2: genres is '\[Rock', which begins like a list"),
        ("l.jsonl", '{"path": "a"}\n\n{"path": \n', "line 3: not valid JSON"),
        ("l.jsonl", '{"path": "a"}\n["b"]\n', "line 2: not a JSON object"),
        ("l.jsonl", '{"path": "a"}\n{"genre": "x"}\n', "line 2: no path"),
        ("l.jsonl", '{"path": "a", "genre": ["x"]}\n', r"line 1: genre is \['x'\], not one text"),
        ("l.jsonl", '{"path": "a", "genre": "\\ud800"}\n', "not Unicode"),
        ("l.jsonl", "\n", "its columns are none"),
        ("l.parquet", "not Parquet", "cannot be read as Parquet"),
        ("l.parquet", "", "cannot be read as Parquet"),
    ],
)  # fmt: skip
def test_a_faulty_manifest_is_refused_in_one_line(tmp_path, name, content, message):
    with pytest.raises(UserError, match=message) as error:
        catalog.read_catalog(write(tmp_path, name, content))
    assert "\n" not in str(error.value)
    assert str(tmp_path / name) in str(error.value)


def test_a_csv_in_another_encoding_is_refused(tmp_path):
    (tmp_path / "list.csv").write_bytes("path,genre\na.mp3,Électro\n".encode("latin-1"))
    with pytest.raises(UserError, match="not UTF-8"):
        catalog.read_catalog(str(tmp_path / "list.csv"))


def test_a_library_exported_by_beets_is_a_catalog(tmp_path):
    """As `beet export -l -f csv -i path,genre,artist` writes it."""
    export = 'path,genre,artist\r\n"/music/A, B/01 Ü.mp3",Rock,"A, B"\r\n/music/c.flac,,C\r\n'
    (tmp_path / "songs.csv").write_bytes(export.encode())
    found = catalog.read_catalog(str(tmp_path / "songs.csv")).select(["uri", "genre", "artist"]).to_pylist()
    assert found == [
        {"uri": "/music/A, B/01 Ü.mp3", "genre": "Rock", "artist": "A, B"},
        {"uri": "/music/c.flac", "genre": None, "artist": "C"},
    ]
