import os
import unicodedata
from pathlib import Path

import fsspec
import pytest

from genreray import catalog, storage
from genreray.errors import UserError
from genreray.tables import CATALOG


def ids(table):
    return table["track_id"].to_pylist()


def touch(folder, *paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()


def test_every_audio_file_below_a_folder_is_a_row_sorted_by_id(tmp_path):
    nfc, nfd = (unicodedata.normalize(form, "Ünder/é.mp3") for form in ("NFC", "NFD"))
    paths = ["b/song.mp3", "a/song.mp3", "a/song.flac", "Z.WAV", "x.mp3/deep/er/1.M4a", nfc, nfd, "no way?.ogg"]
    touch(tmp_path, *paths, "a/cover.jpg", "mp3", "notes.txt", ".hidden.mp3", ".cache/x.mp3", "a/song.mp3.part")
    table = catalog.read_catalog(f"{tmp_path}/")
    assert table.schema == CATALOG
    assert ids(table) == sorted(paths)
    assert table["uri"].to_pylist() == [f"{tmp_path}/{path}" for path in sorted(paths)]
    for name in ("genre", "genres", "artist", "split"):
        assert table[name].null_count == len(paths)


def test_every_audio_suffix_is_found_in_any_case(tmp_path):
    names = ["1.mp3", "2.flac", "3.ogg", "4.oga", "5.opus", "6.wav", "7.aiff", "8.aif", "9.m4a", "A.aac", "B.mp4"]
    names += ["C.wma", "D.MP3", "E.Flac"]
    touch(tmp_path, *names)
    assert ids(catalog.read_catalog(str(tmp_path))) == names


def odd_file(folder, name, content=b""):
    path = os.fsencode(folder) + b"/" + name
    try:
        Path(os.fsdecode(path)).write_bytes(content)
    except OSError:
        pytest.skip("this filesystem holds UTF-8 names only")
    return os.fsdecode(path)


def test_a_name_that_is_not_utf8_is_a_row_that_can_be_read(tmp_path):
    path = odd_file(tmp_path, b"my caf\xe9.mp3", b"found")
    touch(tmp_path, "ok.mp3")
    expected = f"file://{tmp_path}/my%20caf%E9.mp3"
    table = catalog.read_catalog(str(tmp_path))
    assert ids(table) == ["my caf\\xe9.mp3", "ok.mp3"]
    assert table["uri"].to_pylist() == [expected, f"{tmp_path}/ok.mp3"]
    assert storage.read_bytes(expected) == b"found"
    one = catalog.read_catalog(path)
    assert (ids(one), one["uri"].to_pylist()) == (["my caf\\xe9.mp3"], [expected])


def test_two_names_that_read_the_same_are_refused(tmp_path):
    odd_file(tmp_path, b"caf\xe9.mp3")
    odd_file(tmp_path, b"caf\\xe9.mp3")
    with pytest.raises(UserError, match="rename one"):
        catalog.read_catalog(str(tmp_path))


def test_a_folder_in_a_bucket_reads_as_a_local_one():
    files = fsspec.filesystem("memory")
    files.pipe({"/bucket/music/b/é.mp3": b"", "/bucket/music/a.ogg": b"", "/bucket/other.mp3": b""})
    try:
        table = catalog.read_catalog("memory://bucket/music/")
    finally:
        files.rm("/bucket", recursive=True)
    assert ids(table) == ["a.ogg", "b/é.mp3"]
    assert table["uri"].to_pylist() == ["memory://bucket/music/a.ogg", "memory://bucket/music/b/é.mp3"]


def test_a_relative_folder_gives_absolute_uris(tmp_path, monkeypatch):
    touch(tmp_path, "music/a.mp3")
    monkeypatch.chdir(tmp_path)
    assert catalog.read_catalog("music")["uri"].to_pylist() == [f"{tmp_path}/music/a.mp3"]


def test_a_plain_folder_with_fma_metadata_inside_is_a_plain_folder(tmp_path):
    touch(tmp_path, "fma_metadata/tracks.csv", "fma_metadata/genres.csv", "fma_medium/000/000002.mp3")
    table = catalog.read_catalog(str(tmp_path))
    assert ids(table) == ["fma_medium/000/000002.mp3"]
    assert table["genre"].to_pylist() == [None]


def test_one_audio_file_is_a_catalog_of_one_row(tmp_path):
    touch(tmp_path, "é 1.MP3")
    table = catalog.read_catalog(str(tmp_path / "é 1.MP3"))
    assert table.schema == CATALOG
    assert (ids(table), table["uri"].to_pylist()) == (["é 1.MP3"], [f"{tmp_path}/é 1.MP3"])


def test_what_is_no_catalog_is_refused(tmp_path):
    touch(tmp_path, "notes.txt", "folder/cover.jpg", "songs/a.mp3")
    for path, message in {
        "folder": "holds no audio file",
        "notes.txt": "is not a catalog",
        "nowhere": "does not exist",
        "nowhere.csv": "does not exist",
        "nowhere.mp3": "does not exist",
    }.items():
        with pytest.raises(UserError, match=message):
            catalog.read_catalog(str(tmp_path / path))
    with pytest.raises(UserError, match="needs a manifest"):
        catalog.read_catalog(str(tmp_path / "songs"), genre_column="genre")


@pytest.mark.parametrize("uri", [".", "list.csv"])
def test_a_subset_without_fma_metadata_is_refused(tmp_path, uri):
    with pytest.raises(UserError, match="give --fma-metadata too"):
        catalog.read_catalog(str(tmp_path / uri), subset="small")
