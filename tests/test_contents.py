import threading
import time

import pytest

from genreray import contents, storage
from genreray.errors import Status, TrackError, UserError
from genreray.storage import reading


def reader(uris):
    open_track = contents.opener(uris)

    def read(uri):
        with open_track(uri) as file:
            return file.read()

    return read


def test_contents_come_in_order_whatever_store_they_are_in(bucket, tmp_path):
    uris = [storage.join(home, f"{i}.mp3") for i in range(9) for home in (bucket, str(tmp_path))]
    for i, uri in enumerate(uris):
        storage.write_bytes(uri, bytes([i]) * i)
    read = reader(uris)
    assert [read(uri) for uri in uris] == [bytes([i]) * i for i in range(len(uris))]


def test_a_track_is_one_request(bucket, s3):
    uris = [f"{bucket}/{i}.mp3" for i in range(5)]
    for uri in uris:
        storage.write_bytes(uri, b"x" * 100_000)
    s3.asked.clear()
    read = reader(uris)
    for uri in uris:
        read(uri)
    assert sorted(s3.asked) == [("GET", uri.removeprefix("s3:/")) for uri in uris]


def test_the_next_are_fetched_while_one_is_used(bucket, s3):
    uris = [f"{bucket}/{i}.mp3" for i in range(20)]
    for uri in uris:
        storage.write_bytes(uri, b"x")
    s3.asked.clear()
    read = reader(uris)
    read(uris[0])
    deadline = time.monotonic() + 10
    while len(s3.asked) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    assert len(s3.asked) == 5  # the one that was asked for, and four ahead


def test_a_missing_track_costs_its_own_row_alone(bucket):
    for name in "ac":
        storage.write_bytes(f"{bucket}/{name}", name.encode())
    read = reader([f"{bucket}/{name}" for name in "abc"])
    assert read(f"{bucket}/a") == b"a"
    with pytest.raises(TrackError) as caught:
        read(f"{bucket}/b")
    assert caught.value.status == Status.NOT_FOUND
    assert read(f"{bucket}/c") == b"c"


@pytest.mark.parametrize("size", [0, 9, 10, 11, 20, 35])
def test_of_large_files_the_first_piece_is_fetched_ahead(bucket, s3, monkeypatch, size):
    monkeypatch.setattr(reading, "WHOLE", 10)
    uri, content = f"{bucket}/a.flac", bytes(range(size))
    storage.write_bytes(uri, content)
    s3.asked.clear()
    assert storage.read_first(uri) == content[:10]
    assert reader([uri])(uri) == storage.read_bytes(uri) == content
    # Only where there may be more is the size asked for.
    assert {method for method, _ in s3.asked} == ({"GET"} if size < 10 else {"GET", "HEAD"})


def test_a_store_that_is_not_there_ends_the_job(bucket):
    """No track of it could be read: rows that say so would count as done."""
    with pytest.raises(UserError, match="^s3://no-such-bucket does not exist: make the bucket"):
        reader(["s3://no-such-bucket/a.mp3"])("s3://no-such-bucket/a.mp3")


def test_files_on_disk_are_read_by_nobody_else(tmp_path, monkeypatch):
    (tmp_path / "a.mp3").write_bytes(b"x")
    threads = []
    opened = storage.open_track
    monkeypatch.setattr(storage, "open_track", lambda uri: threads.append(threading.current_thread()) or opened(uri))
    uri = str(tmp_path / "a.mp3")
    assert reader([uri])(uri) == b"x"
    assert threads == [threading.main_thread()]
