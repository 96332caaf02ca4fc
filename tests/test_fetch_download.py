"""Downloads over a bad line, from servers that fail, onto disks that are full."""

import hashlib
import os
import signal
import threading
import time

import pytest
from mirrors import FILES, found, zipped
from rich.console import Console

from genreray import cli
from genreray.errors import UserError

pytest_plugins = ["fetching"]


def half(content: bytes) -> bytes:
    """About half; whole pieces, since a cut connection loses the one it was at."""
    n = len(content) // 2
    return content[: n - n % 65536]


# A bad line


def test_a_cut_connection_goes_on_with_the_rest(publish, get, server, tmp_path, no_pauses):
    content = publish(zipped(FILES))
    server.faults = [half, 503, half]
    done = get(tmp_path)
    assert found(tmp_path / "fma_small") == FILES
    assert done.received == len(content)
    assert server.ranges() == [None, "bytes=327680-", "bytes=327680-", "bytes=458752-"]
    assert no_pauses == [1, 2, 1]  # from one on again after an attempt that brought something
    assert "the server answers 503 Service Unavailable at 320 KiB of 684 KiB, again in 2 s" in get.said


@pytest.fixture
def ctrl_c():
    """Ctrl-C as in a terminal: what runs in the background is started without."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: os.kill(os.getpid(), signal.SIGINT)
    signal.signal(signal.SIGINT, before)


def test_an_interrupted_download_asks_for_the_rest_only(publish, server, tmp_path, capsys, ctrl_c):
    content = publish(zipped(FILES))
    part = tmp_path / "fma_small.zip.part"

    def interrupt() -> None:
        """Come when half is there."""
        while not part.exists() or part.stat().st_size < len(half(content)):
            time.sleep(0.01)
        ctrl_c()

    watching = threading.Thread(target=interrupt, daemon=True)
    watching.start()
    server.faults = [half]
    argv = ["fetch", "fma-small", str(tmp_path), "--base-url", server.url]
    with pytest.raises(KeyboardInterrupt):  # what the command then says and does is tested with its process
        cli.run(argv, Console())
    watching.join()
    assert part.read_bytes() == half(content)
    assert cli.main(argv) == 0
    assert server.ranges() == [None, "bytes=327680-"]
    assert found(tmp_path / "fma_small") == FILES
    said = capsys.readouterr().out
    assert "fma_small.zip: 684 KiB to download, 320 KiB of it here" in said
    assert "downloaded now  364 KiB" in said


def test_a_server_that_stays_away_is_one_line_that_says_how_to_go_on(publish, get, server, tmp_path, no_pauses):
    content = publish(zipped(FILES))
    server.faults = [half, *[500] * 9]
    with pytest.raises(UserError, match="500 Internal Server Error; 320 KiB are kept: the same command goes on"):
        get(tmp_path)
    assert no_pauses == [1, 2, 4, 8, 16]
    assert (tmp_path / "fma_small.zip.part").read_bytes() == half(content)
    server.faults.clear()
    assert get(tmp_path).received == len(content) - len(half(content))


def test_a_server_without_ranges_is_read_from_the_beginning_again(publish, get, server, tmp_path):
    content = publish(zipped(FILES))
    (tmp_path / "fma_small.zip.part").write_bytes(content[:100_000])
    server.knows_ranges = False
    server.faults = [half, lambda content: content[:1000], lambda content: content[:-1000]]
    get(tmp_path)
    assert found(tmp_path / "fma_small") == FILES


def test_a_server_that_does_not_say_how_much_there_is_may_be_cut_off_too(publish, get, server, tmp_path):
    publish(zipped(FILES))
    server.tells_lengths = False
    server.faults = [half]
    get(tmp_path)
    assert found(tmp_path / "fma_small") == FILES
    assert server.ranges() == [None, "bytes=327680-"]
    assert "the connection was cut at 320 KiB" in get.said


def test_nobody_there_is_one_line(publish, get, server, tmp_path, no_pauses):
    publish(zipped(FILES))
    with pytest.raises(UserError, match="cannot be downloaded: .*not-a-url"):
        get(tmp_path, base_url="not-a-url")
    assert no_pauses == []
    with pytest.raises(UserError, match=r"http://127.0.0.1:9/fma_small.zip cannot be downloaded: connection refused$"):
        get(tmp_path, base_url="http://127.0.0.1:9")
    assert len(no_pauses) == 5


# A server that has something else


def test_an_archive_that_is_not_there_is_asked_for_once(get, server, tmp_path):
    with pytest.raises(UserError, match=r"/fma/fma_full.zip cannot be downloaded: the server answers 404 Not Found"):
        get(tmp_path, "fma-full")
    assert len(server.asked) == 1
    assert found(tmp_path) == {}


def test_no_password_and_no_signature_is_shown(get, server, tmp_path):
    with pytest.raises(UserError, match=r"^--base-url holds a password, .*: give it in ~/.netrc$"):
        get(tmp_path, base_url="http://me:pass-word@host/fma")
    with pytest.raises(UserError, match=r"\?X-Amz-Signature=\*\*\* cannot be downloaded: the server answers 404"):
        get(tmp_path, "fma-full", base_url=f"{server.url}?X-Amz-Signature=0123abcd")


def test_a_page_instead_of_the_archive_is_not_kept(publish, get, server, tmp_path):
    publish(zipped(FILES))
    server.files["fma_small.zip"] = b"<html>Please log in</html>"
    with pytest.raises(UserError, match=r"is no fma_small.zip: it has 26 bytes and not 684 KiB"):
        get(tmp_path)
    assert found(tmp_path) == {}


def test_a_wrong_checksum_is_told_and_deletes_nothing(publish, get, server, tmp_path):
    content = publish(zipped(FILES), sha1="0" * 40)
    for _ in range(2):  # the second time there is nothing more to download
        with pytest.raises(UserError, match=f"is not FMA's .*its SHA-1 is {hashlib.sha1(content).hexdigest()}, not 00"):
            get(tmp_path)
        assert found(tmp_path) == {"fma_small.zip.part": content}
    assert server.ranges() == [None, f"bytes={len(content)}-"]


def test_a_longer_file_than_the_servers_is_told(publish, get, tmp_path):
    content = publish(zipped(FILES))
    (tmp_path / "fma_small.zip.part").write_bytes(content + b"more")
    with pytest.raises(UserError, match=r"part is not FMA's fma_small.zip, or damaged: .* delete it"):
        get(tmp_path)


# No room


def test_a_disk_without_room_is_told_before_anything_is_written(publish, get, tmp_path, monkeypatch):
    publish(zipped(FILES))
    few = os.statvfs_result((4096, 4096, 999, 300, 300, 0, 0, 0, 0, 255))  # 1.2 MB, where twice 0.7 are needed
    monkeypatch.setattr(os, "statvfs", lambda path: few)
    with pytest.raises(UserError, match=r"has 1 MiB free, but fma_small.zip, .* needs 1 MiB there: make room"):
        get(tmp_path / "new")
    assert found(tmp_path) == {}
    get("memory://test/room", cache=str(tmp_path))  # for the archive alone there is room
    unknown = os.statvfs_result((4096, 4096, 0, 0, 0, 0, 0, 0, 0, 255))  # as some mounts of stores answer
    monkeypatch.setattr(os, "statvfs", lambda path: unknown)
    get(tmp_path / "new")


def test_a_disk_that_fills_up_keeps_what_came(publish, get, server, tmp_path, full_disk):
    content = publish(zipped(FILES))
    with full_disk(500_000), pytest.raises(UserError, match=r"zip.part cannot be written: .*; 196 KiB more are needed"):
        get(tmp_path)
    kept = (tmp_path / "fma_small.zip.part").read_bytes()
    assert kept == content[:500_000]
    get(tmp_path)
    assert server.ranges() == [None, "bytes=500000-"]
    assert found(tmp_path / "fma_small") == FILES


def test_no_space_left_is_told_with_what_is_needed(publish, get, tmp_path):
    publish(zipped(FILES))
    (tmp_path / "fma_small.zip.part").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"no space left on device; 684 KiB more are needed and .* free: make room"):
        get(tmp_path)
