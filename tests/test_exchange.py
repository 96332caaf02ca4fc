import os
import subprocess
import sys

import pytest

from genreray import exchange


@pytest.fixture
def room():
    descriptor = exchange.open_room()
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize(
    "value",
    [
        None,
        {"status": "ok", "duration": 30.0, "n_frames": 1292, "mel": b"\x80" * 165_376, "mfcc": b"\x3c" * 51_680},
        {"clips": [{"start": 0.0, "mel": b"a" * 5000}, {"start": 30.0, "mel": b"b" * 5000}]},
        [b"", b"small", b"x" * 4095, b"y" * 4096],
    ],
)
def test_values_arrive_as_they_were(room, value):
    writer, reader = exchange.Writer(room), exchange.Reader(room)
    assert reader.loads(writer.dumps("before")) == "before"
    assert reader.loads(writer.dumps(value)) == value


def test_large_bytes_are_not_in_the_message_but_taken_from_where_they_lie(room):
    message = exchange.Writer(room).dumps({"mel": b"x" * 10**6})
    assert len(message) < 200
    os.pwrite(room, b"y", 0)
    assert exchange.Reader(room).loads(message) == {"mel": b"y" + b"x" * (10**6 - 1)}


def test_memory_of_what_is_read_goes_back(room):
    writer, reader = exchange.Writer(room), exchange.Reader(room)
    held = []
    for _ in range(20):
        message = writer.dumps([b"x" * 10**6, b"y" * 5000])
        held.append(os.fstat(room).st_blocks * 512)
        reader.loads(message)
    assert min(held) > 10**6
    assert max(held) < 1.1 * 10**6
    assert os.fstat(room).st_blocks == 0


def test_what_the_memory_has_no_room_for_is_in_the_message(room):
    os.ftruncate(room, 16_384)
    writer, reader = exchange.Writer(room), exchange.Reader(room)
    messages = [writer.dumps(bytes([i]) * 6000) for i in range(4)]
    assert [len(message) > 6000 for message in messages] == [False, False, True, True]
    assert [reader.loads(message) for message in messages] == [bytes([i]) * 6000 for i in range(4)]


def test_all_is_in_the_message_where_there_is_no_such_memory(monkeypatch):
    monkeypatch.delattr(os, "memfd_create")
    descriptor = exchange.open_room()
    writer, reader = exchange.Writer(descriptor), exchange.Reader(descriptor)
    assert reader.loads(writer.dumps([b"x" * 10**6, 1])) == [b"x" * 10**6, 1]
    os.close(descriptor)


def test_what_another_process_wrote_is_there_when_it_has_ended():
    descriptor = exchange.open_room()
    reader = exchange.Reader(descriptor)
    code = "import sys; from genreray.exchange import Writer;"
    code += f"sys.stdout.buffer.write(Writer({descriptor}).dumps(b'z' * 10**6))"
    written = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, pass_fds=[descriptor], check=True)
    os.close(descriptor)
    assert reader.loads(written.stdout) == b"z" * 10**6
