"""Unpacking archives: whole files or none, below their folder alone, never held in memory."""

import io
import os
import random
import zipfile

import pytest
from mirrors import FILES, found, zipped

from genreray.errors import UserError

pytest_plugins = ["fetching"]


def test_a_disk_that_fills_up_while_unpacking_goes_on_without_a_download(publish, get, server, tmp_path, full_disk):
    publish(zipped({**FILES, "big.mp3": bytes(2_000_000)}))
    with full_disk(1_000_000), pytest.raises(UserError, match=r"big.mp3 cannot be written: .* goes on from there"):
        get(tmp_path)
    there = os.listdir(tmp_path / "fma_small")  # noqa: PTH208 (hidden files too)
    assert "big.mp3" not in there
    assert not [name for name in there if name.endswith(".part")]
    assert (tmp_path / "fma_small.zip.part").exists()
    assert get(tmp_path).received == 0
    assert len(server.asked) == 1
    assert found(tmp_path / "fma_small")["big.mp3"] == bytes(2_000_000)


def test_a_disk_without_room_for_what_is_missing_is_told_before_it_fills_up(publish, get, tmp_path, monkeypatch):
    (tmp_path / "fma_small.zip").write_bytes(publish(zipped({**FILES, "big.mp3": bytes(2_000_000)})))
    few = os.statvfs_result((4096, 4096, 999, 500, 500, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: few)
    with pytest.raises(UserError, match=r"fma_small has 2 MiB free, but what is in fma_small.zip needs 3 MiB there"):
        get(tmp_path)
    assert found(tmp_path).keys() == {"fma_small.zip"}


# What an archive may hold


@pytest.mark.parametrize(
    "name",
    [
        "fma_small/../../evil",
        "/etc/evil",
        "evil",
        "fma_small//evil",
        "other/evil",
        "fma_small/./evil",
        "../evil",
        "fma_small",
    ],
)
def test_a_member_outside_of_the_folder_is_refused_before_any_is_written(publish, get, tmp_path, name):
    content = io.BytesIO(zipped(FILES))
    with zipfile.ZipFile(content, "a") as archive:
        archive.writestr(name, b"evil")
    publish(content.getvalue())
    with pytest.raises(UserError, match=r"which is not in fma_small/: nothing was unpacked"):
        get(tmp_path / "dest")
    assert set(found(tmp_path)) == {"dest/fma_small.zip.part"}


def test_a_damaged_member_leaves_no_file_that_could_pass_for_it(publish, get, place, tmp_path):
    content = bytearray(zipped(FILES, zipfile.ZIP_STORED))
    content[len(content) // 2] ^= 1  # in 000002.mp3, whose CRC is known at its end alone
    publish(bytes(content))
    with pytest.raises(UserError, match=r"damaged at fma_small/000/000002.mp3: Bad CRC-32.* delete it"):
        get(place)
    assert "fma_small/000/000002.mp3" not in found(place)


def test_what_is_no_zip_file_or_encrypted_is_one_line(publish, get, tmp_path):
    publish(random.randbytes(1000))
    with pytest.raises(UserError, match="is not a zip file"):
        get(tmp_path / "a")
    content = bytearray(zipped(FILES, zipfile.ZIP_STORED))
    entry = content.rindex(b"PK\x01\x02")
    content[entry + 8] |= 1  # of the flags: encrypted
    publish(bytes(content))
    with pytest.raises(UserError, match=r"README.txt, which cannot be unpacked: .*encrypted"):
        get(tmp_path / "b")


def test_no_member_is_held_in_memory(publish, get, tmp_path):
    import tracemalloc

    publish(zipped({"long.mp3": bytes(60_000_000)}))
    tracemalloc.start()
    try:
        get(tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (tmp_path / "fma_small/long.mp3").stat().st_size == 60_000_000
    assert peak < 12_000_000
