import contextlib
import errno
import io
import os
import pickle
import resource
import socket
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import pytest

from genreray import storage
from genreray.errors import Status, TrackError, UserError
from genreray.storage import writing


def listed(uri):
    return sorted(storage.list_files(uri))


# Reading a track


def test_a_file_is_read_whole(place):
    content = bytes(range(256)) * 1000
    storage.write_bytes(storage.join(place, "a b/é.mp3"), content)
    assert storage.read_bytes(storage.join(place, "a b/é.mp3")) == content


@pytest.mark.parametrize("path", ["nowhere.mp3", "nowhere/a.mp3", "a.mp3/below-a-file.mp3"])
def test_a_missing_file_is_not_found(place, path):
    storage.write_bytes(storage.join(place, "a.mp3"), b"x")
    with pytest.raises(TrackError) as caught:
        storage.read_bytes(storage.join(place, path))
    assert (caught.value.status, caught.value.message) == (Status.NOT_FOUND, "no such file")


def test_what_is_no_file_is_unreadable_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp3")
    (tmp_path / "folder.mp3").mkdir()
    (tmp_path / "itself.mp3").symlink_to("itself.mp3")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.mp3"))
        for name in ("pipe.mp3", "folder.mp3", "socket.mp3", "itself.mp3", "n" * 300 + ".mp3"):
            with pytest.raises(TrackError) as caught:
                storage.read_bytes(str(tmp_path / name))
            assert caught.value.status == Status.UNREADABLE


def test_a_disk_that_fails_while_a_large_file_is_read_is_a_fault_of_the_track(monkeypatch):
    class Failing(io.BytesIO):
        def read(self, *_):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(storage.reading, "open_track", lambda uri: Failing())
    with pytest.raises(TrackError) as caught:
        storage.read_bytes("/music/a.wav")
    assert (caught.value.status, caught.value.message) == (Status.UNREADABLE, "input/output error")


def test_a_fault_that_passes_is_tried_again(faulty, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    storage.write_bytes("faulty://test/a", b"content")
    fs = faulty("cat_file", OSError(errno.EIO, "slow down"), ValueError("no answer"))
    assert storage.read_bytes("faulty://test/a") == b"content"
    assert fs.calls == 3


def test_pauses_grow_and_attempts_end(faulty, monkeypatch):
    pauses = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    fs = faulty("cat_file", *[TimeoutError("slow")] * 9)
    with pytest.raises(TrackError) as caught:
        storage.read_bytes("faulty://test/a")
    assert (caught.value.status, caught.value.message) == (Status.UNREADABLE, "slow")
    assert fs.calls == 4
    assert pauses == pytest.approx([0.2, 0.4, 0.8])


@pytest.mark.parametrize(
    ("fault", "status"),
    [(FileNotFoundError("faulty://test/a"), Status.NOT_FOUND), (PermissionError("Access Denied"), Status.UNREADABLE)],
)
def test_a_fault_that_stays_is_not_tried_again(fault, status, faulty):
    fs = faulty("cat_file", fault)
    with pytest.raises(TrackError) as caught:
        storage.read_bytes("faulty://test/a")
    assert (caught.value.status, fs.calls) == (status, 1)


# Writing


def test_writing_replaces_what_is_there(place):
    uri = storage.join(place, "new/a.bin")
    for content in (b"first, and longer", b"second"):
        storage.write_bytes(uri, content)
        assert storage.read_bytes(uri) == content
    assert [path for path, _ in listed(place)] == ["new/a.bin"]


@contextlib.contextmanager
def full_disk():
    """Lets no file grow beyond 8 MB, so that writing more fails when half is done; logs of these tests are smaller."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_000_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_fails_halfway_leaves_what_was_there(tmp_path):
    uri = str(tmp_path / "a.json")
    storage.write_bytes(uri, b"old")
    with full_disk(), pytest.raises(UserError, match="a.json cannot be written: file too large"):
        storage.write_bytes(uri, bytes(16_000_000))
    with full_disk(), pytest.raises(UserError, match="cannot be written"):
        storage.write_bytes(str(tmp_path / "b.json"), bytes(16_000_000))
    assert os.listdir(tmp_path) == ["a.json"]  # noqa: PTH208 (hidden files too)
    assert storage.read_bytes(uri) == b"old"


def test_a_stream_that_fails_halfway_leaves_what_was_there(tmp_path):
    """As Ray Train writes checkpoints, and the list of them."""
    fs, path = storage.output_filesystem(str(tmp_path / "run"))
    fs = pickle.loads(pickle.dumps(fs))  # as it goes to the workers
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "a.json").write_bytes(b"old")
    pa.fs.copy_files(str(tmp_path / "new"), path, destination_filesystem=fs)
    (tmp_path / "new" / "a.json").write_bytes(bytes(16_000_000))
    with full_disk(), pytest.raises(UserError, match="a.json cannot be written: file too large"):
        pa.fs.copy_files(str(tmp_path / "new"), path, destination_filesystem=fs)
    with full_disk(), pytest.raises(UserError), fs.open_output_stream(f"{path}/a.json") as file:
        file.write(bytes(16_000_000))
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["a.json"]
    assert storage.read_bytes(str(tmp_path / "run" / "a.json")) == b"old"


def test_what_is_written_by_a_stream_is_there_when_it_is_closed(anywhere):
    uri = storage.join(anywhere, "a")
    storage.write_bytes(uri, b"old")
    fs, path = storage.output_filesystem(uri)
    file = fs.open_output_stream(path)
    file.write(b"new")
    assert storage.read_bytes(uri) == b"old"
    file.close()
    assert storage.read_bytes(uri) == b"new"


def test_no_reader_sees_a_half_written_file(tmp_path, monkeypatch):
    uri, seen = str(tmp_path / "a"), []
    storage.write_bytes(uri, b"old")
    replace = Path.replace

    def watched(self, target):
        seen.append((storage.read_bytes(uri), listed(str(tmp_path)), self.read_bytes()))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    storage.write_bytes(uri, b"new")
    assert seen == [(b"old", [("a", uri)], b"new")]
    assert storage.read_bytes(uri) == b"new"


def test_a_name_as_long_as_names_may_be_can_be_written(tmp_path):
    uri = str(tmp_path / ("n" * 255))
    storage.write_bytes(uri, b"x")
    assert storage.read_bytes(uri) == b"x"


def test_what_cannot_be_written_is_one_clear_error(tmp_path, faulty):
    (tmp_path / "file").touch()
    for name in ("", "file/below"):
        with pytest.raises(UserError, match="cannot be written: "):
            storage.write_bytes(str(tmp_path / name), b"x")
    with pytest.raises(UserError, match="file/below cannot be made: "):
        storage.make_folder(str(tmp_path / "file/below"))
    for fault in (PermissionError("Access Denied"), RuntimeError("no credentials")):
        faulty("pipe_file", fault)
        with pytest.raises(UserError, match=f"faulty://test/a cannot be written: .*{fault}"):
            storage.write_bytes("faulty://test/a", b"x")


def test_a_bucket_is_never_made(faulty):
    fs = faulty("makedirs")
    storage.make_folder("bucket://test/a")
    storage.write_bytes("bucket://test/a/b", b"")
    assert fs.calls == 0
    storage.make_folder("faulty://test/a")
    assert fs.calls == 1
    assert storage.is_folder("faulty://test/a")


def test_json_comes_back_as_it_was(place):
    value = {"genre": "Soul-RnB é", "n": [1, 2.5, None, True]}
    uri = storage.join(place, "a.json")
    storage.write_json(uri, value)
    assert storage.read_json(uri) == value
    assert "é" in storage.read_bytes(uri).decode()


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": \xe9}', b"[" * 100_000, b"nul"])
def test_what_is_not_json_is_one_clear_error(place, content):
    uri = storage.join(place, "a.json")
    storage.write_bytes(uri, content)
    with pytest.raises(UserError, match=r"a\.json is not valid JSON: ") as caught:
        storage.read_json(uri)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_opened_is_one_clear_error(place, tmp_path):
    uri = storage.join(place, "nowhere.json")
    for read in (storage.read_json, storage.open_file):
        with pytest.raises(UserError, match=r"nowhere\.json cannot be opened: no such file"):
            read(uri)
    with pytest.raises(UserError, match="is a directory"):
        storage.open_file(str(tmp_path))


def test_parquet_is_read_through_the_arrow_filesystem(place):
    table = pa.table({"a": [1, 2, 3]})
    uri = storage.join(place, "a.parquet")
    storage.write_parquet(uri, table, compression="lz4")
    fs, path = storage.arrow_filesystem(uri)
    assert pq.read_table(path, filesystem=fs) == table


# Removing


def test_removing_takes_what_is_named_and_nothing_else(place):
    for path in ("run[1]/a", "run[1]/b/c", "run1/a", "x*", "xy"):
        storage.write_bytes(storage.join(place, path), b"")
    for path in ("run[1]", "x*", "nowhere", "no[w]here"):
        storage.delete(storage.join(place, path))
    assert [path for path, _ in listed(place)] == ["run1/a", "xy"]
    assert not storage.exists(storage.join(place, "run[1]"))


def test_removing_a_link_leaves_what_it_leads_to(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real/a").touch()
    (tmp_path / "link").symlink_to("real")
    storage.delete(str(tmp_path / "link"))
    assert [path for path, _ in listed(str(tmp_path))] == ["real/a"]


def test_what_cannot_be_removed_is_one_clear_error(faulty):
    storage.write_bytes("faulty://test/a", b"")
    faulty("rm", PermissionError("Access Denied"))
    with pytest.raises(UserError, match="faulty://test/a cannot be removed: Access Denied"):
        storage.delete("faulty://test/a")


def test_parquet_is_handed_over_as_bytes(monkeypatch):
    """s3fs refuses a pyarrow Buffer."""
    written = []
    monkeypatch.setattr(writing, "write_bytes", lambda uri, content: written.append(content))
    storage.write_parquet("memory://x.parquet", pa.table({"a": [1]}))
    assert type(written[0]) is bytes
