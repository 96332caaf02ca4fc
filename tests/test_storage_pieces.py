import io
import os
import random

import numpy as np
import pytest
from sounds import FFMPEG, encode, encode_ffmpeg, noise, samples

from genreray import audio, storage
from genreray.errors import Status, TrackError
from genreray.storage import pieces, reading


@pytest.fixture
def small(monkeypatch):
    """Limits that files of some kilobytes exceed."""
    monkeypatch.setattr(reading, "WHOLE", 1000)
    monkeypatch.setattr(pieces, "PIECE", 300)
    monkeypatch.setattr(reading.time, "sleep", lambda seconds: None)


def as_words(file):
    return iter(lambda: file.read(7), b"")


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 1299, 1300, 1301, 5000])
def test_an_opened_track_reads_as_its_bytes_do(place, small, size):
    content = random.Random(0).randbytes(size)
    uri = storage.join(place, "a.mp3")
    storage.write_bytes(uri, content)
    with storage.open_track(uri) as file:
        assert file.read() == content
        assert file.read() == b""
        file.seek(0)
        assert b"".join(as_words(file)) == content
        chance = random.Random(1)
        for _ in range(60):
            place_, length = chance.randint(0, size + 10), chance.randint(0, 700)
            assert file.seek(place_) == place_
            assert file.read(length) == content[place_ : place_ + length]
        assert file.seek(0, io.SEEK_END) == size


def test_of_a_large_object_only_what_is_read_is_fetched(place, faulty, small):
    if not place.startswith("bucket"):
        pytest.skip("counts the requests to a store")
    storage.write_bytes(f"{place}/a", bytes(100_000))
    fs = faulty("cat_file")
    with storage.open_track(f"{place}/a") as file:
        assert fs.calls == 1
        file.read(1000)
        assert fs.calls == 1
        file.seek(50_000)
        file.read(10)
        assert fs.calls == 2
        file.seek(-100, io.SEEK_END)
        file.read(10)
        assert fs.calls == 3


def test_a_fault_in_a_piece_is_tried_again(faulty, small):
    content = random.Random(0).randbytes(5000)
    storage.write_bytes("faulty://test/a", content)
    with storage.open_track("faulty://test/a") as file:
        fs = faulty("cat_file", TimeoutError("slow"))
        assert file.read() == content
        assert fs.calls == 4000 // 300 + 1 + 1
        faulty("cat_file", *[TimeoutError("slow")] * 9)
        file.seek(1500)
        with pytest.raises(TrackError) as caught:
            file.read(2000)
    assert (caught.value.status, caught.value.message) == (Status.UNREADABLE, "slow")


def test_a_store_that_fails_while_it_is_decoded_makes_the_track_unreadable(faulty, small):
    for content in (encode(noise(), 22050, "WAV"), encode_ffmpeg(noise(), 22050, *FFMPEG["m4a"])):
        storage.write_bytes("faulty://test/a", content)
        with storage.open_track("faulty://test/a") as file:
            faulty("cat_file", *[TimeoutError("slow")] * 999)
            with pytest.raises(TrackError) as caught:
                audio.decode(file, 22050, 3.0)
        assert (caught.value.status, caught.value.message) == (Status.UNREADABLE, "slow")
        faulty("")


def test_an_object_that_shrinks_is_unreadable(faulty, small):
    content = encode(noise(), 22050, "WAV")
    storage.write_bytes("faulty://test/a", content)
    with storage.open_track("faulty://test/a") as file:
        storage.write_bytes("faulty://test/a", content[:5000])
        with pytest.raises(TrackError, match="changed while it was read") as caught:
            audio.decode(file, 22050, 3.0)
    assert caught.value.status == Status.UNREADABLE


@pytest.mark.parametrize("format", ["wav", "m4a"])
def test_a_file_that_shrinks_while_it_is_decoded_is_short_or_undecodable(tmp_path, small, format):
    y = noise(22050, 20.0)
    content = encode(y, 22050, "WAV") if format == "wav" else encode_ffmpeg(y, 22050, *FFMPEG[format])
    (tmp_path / "a").write_bytes(content)

    class Shrinking(io.FileIO):
        reads = 0

        def readinto(self, buffer):
            self.reads += 1
            if self.reads == 2:
                os.truncate(self.name, 3000)
            return super().readinto(buffer)

    with io.BufferedReader(Shrinking(tmp_path / "a"), 512) as file, pytest.raises(TrackError) as caught:
        audio.decode(file, 22050, 3.0)
    assert (tmp_path / "a").stat().st_size == 3000
    assert caught.value.status in (Status.TOO_SHORT, Status.UNDECODABLE)


@pytest.mark.parametrize("format", ["wav", "flac", "ogg", "mp3", "m4a", "aac"])
def test_decoding_from_pieces_gives_what_the_bytes_give(faulty, small, format):
    content = samples(format, 10.0)[2]
    storage.write_bytes("faulty://test/a", content)
    with storage.open_track("faulty://test/a") as file:
        np.testing.assert_array_equal(audio.decode(file, 22050, 3.0), audio.decode(content, 22050, 3.0))


@pytest.mark.parametrize("format", ["m4a", "aac", "mka"])
def test_what_must_be_walked_through_is_too_large_at_some_size(format, monkeypatch):
    content = encode_ffmpeg(noise(22050, 20.0), 22050, *FFMPEG[format])
    monkeypatch.setattr(audio.source, "MOST_READ", len(content) // 2)
    with pytest.raises(TrackError, match="would have to be read") as caught:
        audio.decode(content, 22050, 3.0)
    assert caught.value.status == Status.TOO_LARGE


def test_what_can_be_sought_in_is_not(monkeypatch):
    content = encode(noise(22050, 20.0), 22050, "WAV")
    monkeypatch.setattr(audio.source, "MOST_READ", len(content) // 2)
    assert len(audio.decode(content, 22050, 3.0)) == 3 * 22050
