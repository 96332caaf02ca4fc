import errno
import os
from pathlib import Path

import pyarrow as pa
import pytest

from genreray import storage
from genreray.errors import UserError


def odd(folder, name):
    """The path of a file whose name is not UTF-8, made in `folder`."""
    path = os.fsdecode(os.fsencode(folder) + b"/" + name)
    try:
        Path(path).write_bytes(b"odd")
    except OSError:
        pytest.skip("this filesystem holds UTF-8 names only")
    return path


def listed(uri):
    return sorted(storage.list_files(uri))


# What is there


def test_files_and_folders_are_told_apart(place):
    file = storage.join(place, "a/b.txt")
    storage.write_bytes(file, b"x")
    for uri, kind in {file: "file", storage.join(place, "a"): "folder", storage.join(place, "c"): None}.items():
        assert storage.exists(uri) == (kind is not None)
        assert storage.is_file(uri) == (kind == "file")
        assert storage.is_folder(uri) == (kind == "folder")
    assert not storage.exists(storage.join(file, "below-a-file"))


@pytest.mark.parametrize("fault", [PermissionError("Access Denied"), OSError(errno.EIO, "no route"), KeyError("token")])
@pytest.mark.parametrize("question", [storage.exists, storage.is_file, storage.is_folder])
def test_a_store_that_does_not_let_in_is_one_clear_error(question, fault, faulty):
    faulty("info", fault, fault, fault)
    with pytest.raises(UserError, match=r"^faulty://x/y cannot be looked at: ") as caught:
        question("faulty://x/y")
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None  # Ray's logs would show what the store's client says


def test_a_folder_that_may_not_be_entered_is_one_clear_error(tmp_path, monkeypatch):
    def denied(path, **options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(os, "stat", denied)
    with pytest.raises(UserError, match=f"{tmp_path}/x cannot be looked at: permission denied"):
        storage.exists(f"{tmp_path}/x")


# Listings


def test_every_file_is_listed_but_hidden_ones(place):
    shown = ["a.mp3", "b/c/d.mp3", "b/é ü.txt", "b/[1]*?.mp3", "b.mp3/e.mp3"]
    if not place.startswith("memory"):  # which takes :: for something else itself
        shown.append("Artist :: Title.mp3")
    for path in (*shown, ".hidden", ".git/a.mp3", "b/.c/d.mp3", "b/c/.d"):
        storage.write_bytes(storage.join(place, path), path.encode())
    storage.write_bytes(f"{place}-not/a.mp3", b"")
    found = listed(place)
    assert [path for path, _ in found] == sorted(shown)
    for path, uri in found:
        assert uri == f"{place}/{path}"
        assert storage.read_bytes(uri) == path.encode()
    assert listed(f"{place}/") == found
    assert listed(storage.join(place, "b/c")) == [("d.mp3", f"{place}/b/c/d.mp3")]


def test_sizes_are_those_of_the_files_that_are_there_now(place):
    assert dict(storage.list_sizes(place)) == {}
    for n, path in enumerate(("a/b.mp3", "c.mp3", ".hidden"), 1):
        storage.write_bytes(storage.join(place, path), bytes(n))
        assert dict(storage.list_sizes(place)) == dict([("a/b.mp3", 1), ("c.mp3", 2)][:n])


def test_nothing_is_listed_where_nothing_is(place):
    assert listed(storage.join(place, "nowhere")) == []


def test_what_another_process_writes_is_seen(faulty):
    fs, path = storage.filesystem("bucket://test")
    assert listed("bucket://test") == fs.find(path) == []
    fs.pipe_file(f"{path}/a", b"")
    assert fs.find(path) == []
    assert listed("bucket://test") == [("a", "bucket://test/a")]
    forgetting = faulty("invalidate_cache")
    assert storage.exists("bucket://test/a")
    assert forgetting.calls == 1


def test_a_name_that_is_not_utf8_can_be_listed_read_and_reached(tmp_path):
    (tmp_path / "é").mkdir()
    path = odd(tmp_path / "é", b"my caf\xe9.mp3")
    uri = f"file://{tmp_path}/%C3%A9/my%20caf%E9.mp3"
    assert listed(str(tmp_path)) == [("é/my caf\udce9.mp3", uri)]
    assert storage.absolute(path) == uri
    assert pa.array([uri])[0].as_py() == uri
    for name in (uri, path):
        assert storage.read_bytes(name) == b"odd"
        assert storage.is_file(name)
    with pytest.raises(UserError, match="is not UTF-8: rename it"):
        storage.arrow_filesystem(uri)


@pytest.mark.parametrize("wrong", ["sub", ""])
def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch, wrong):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.mp3").touch()
    scandir = os.scandir

    def denied(path):
        if Path(path) == tmp_path / wrong:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(UserError, match=f"^{tmp_path / wrong} cannot be listed: permission denied$"):
        listed(str(tmp_path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may enter every folder")
def test_a_folder_without_permission_is_named(tmp_path):
    (tmp_path / "sub").mkdir(mode=0)
    with pytest.raises(UserError, match="sub cannot be listed: permission denied"):
        listed(str(tmp_path))


@pytest.mark.parametrize(("scheme", "method"), [("faulty", "ls"), ("bucket", "find")])
def test_a_store_that_cannot_be_listed_is_one_clear_error(scheme, method, faulty):
    storage.write_bytes(f"{scheme}://test/a/b", b"")
    faulty(method, PermissionError("Access Denied"))
    with pytest.raises(UserError, match=f"^{scheme}://test cannot be listed: Access Denied$"):
        listed(f"{scheme}://test")


def test_a_file_is_no_folder_to_list(tmp_path):
    (tmp_path / "a.mp3").touch()
    with pytest.raises(UserError, match="a.mp3 cannot be listed: not a directory"):
        listed(f"{tmp_path}/a.mp3")


def test_links_to_folders_are_followed_once(tmp_path):
    music, other = tmp_path / "music", tmp_path / "other"
    for path in (music / "z/real", other / "far"):
        path.mkdir(parents=True)
        (path / "x.mp3").touch()
    (music / "a-link-inside").symlink_to(music / "z")
    (music / "b-loop").symlink_to(music)
    (music / "c-link-outside").symlink_to(other)
    (music / "d-again").symlink_to(other / "far")
    (music / "file.mp3").symlink_to(other / "far/x.mp3")
    (music / "broken.mp3").symlink_to("nowhere")
    (music / "itself.mp3").symlink_to("itself.mp3")
    found = dict(listed(str(music)))
    assert found.keys() == {"z/real/x.mp3", "c-link-outside/far/x.mp3", "file.mp3", "broken.mp3", "itself.mp3"}
    assert storage.read_bytes(found["c-link-outside/far/x.mp3"]) == b""
