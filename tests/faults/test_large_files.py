"""Files that are huge, or say that they are: bounded memory and time, and a status."""

import functools
import os
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from sounds import encode, encode_ffmpeg, noise, offset_and_gain

from genreray import audio, isolation, storage
from genreray.features import FeatureConfig
from genreray.isolation import Limits
from genreray.track import extract_tracks

CONFIG = FeatureConfig(duration=10.0)
RATE = 44100
MEMORY = 350  # MiB; the process has 110 when it has done nothing, and 180 after a clip


def large_wav(path, seconds):
    """16-bit stereo, of which the middle minute is on the disk and the rest a hole."""
    sound = encode(noise(RATE, 60.0, 2), RATE, "WAV")
    header, samples = bytearray(sound[:44]), sound[44:]
    size = round(seconds * RATE) * 4
    header[4:8], header[40:44] = struct.pack("<I", min(size + 36, 2**32 - 1)), struct.pack("<I", min(size, 2**32 - 1))
    with path.open("wb") as file:
        file.write(header)
        file.seek(44 + (size - len(samples)) // 8 * 4)
        file.write(samples)
        file.truncate(44 + size)


def repeated(path, content, seconds):
    with path.open("wb") as file:
        for _ in range(round(seconds / 60)):
            file.write(content)


def mp3_of_unknown_length(path, seconds):
    content = encode_ffmpeg(
        noise(RATE, 60.0), RATE, "mp3", "libmp3lame", options={"write_xing": "0", "id3v2_version": "0"}
    )
    repeated(path, content, seconds)


def aac(path, seconds):
    repeated(path, encode_ffmpeg(noise(RATE, 60.0), RATE, "adts", "aac"), seconds)


def wav_of_four_billion_samples(path, seconds):
    content = bytearray(encode(noise(RATE, seconds), RATE, "WAV"))
    content[4:8] = content[40:44] = b"\xfe\xff\xff\xff"
    path.write_bytes(content)


def flac_of_sixty_billion_samples(path, seconds):
    content = bytearray(encode(noise(RATE, seconds), RATE, "FLAC"))
    content[21] |= 0x0F  # the 36 bits of the number of samples
    content[22:26] = b"\xff\xff\xff\xff"
    path.write_bytes(content)


HOUR = 3600.0
FILES = [
    (large_wav, 2**31 / RATE / 4),  # 2 GB
    (mp3_of_unknown_length, 2 * HOUR),
    (wav_of_four_billion_samples, 60.0),
    (flac_of_sixty_billion_samples, 60.0),
    pytest.param(mp3_of_unknown_length, 10 * HOUR, marks=pytest.mark.faults),
    pytest.param(aac, 10 * HOUR, marks=pytest.mark.faults),
]


def done_alone(uri):
    """The row of a track, made in a process of its own, the seconds it took and the most memory it held, in MiB."""
    while isolation._idle:
        isolation._idle.pop().end()
    function = functools.partial(extract_tracks, config=CONFIG)
    list(isolation.map_isolated(function, ["/nowhere"], Limits()))
    began = time.perf_counter()
    (row,) = isolation.map_isolated(function, [uri], Limits(seconds=60.0, memory=1000))
    seconds = time.perf_counter() - began
    (process,) = isolation._idle
    status = Path(f"/proc/{process._process.pid}/status").read_text()
    return row, seconds, int(status.split("VmHWM:")[1].split()[0]) / 1024


@pytest.mark.parametrize(("make", "seconds"), FILES)
def test_a_large_file_costs_no_more_memory_than_a_clip(make, seconds, tmp_path, capsys):
    path = tmp_path / "a"
    make(path, seconds)
    row, took, memory = done_alone(str(path))
    with capsys.disabled():
        print(f"\ninjected: {make.__name__}, {path.stat().st_size / 2**20:,.0f} MiB, {seconds / HOUR:.2f} h; ", end="")
        print(f"found: {row['status']}, {took:.1f} s, at most {memory:.0f} MiB of memory")
    assert row["status"] == "ok"
    assert row["duration"] == 10.0
    assert memory < MEMORY
    path.unlink()


def test_the_middle_of_a_2_gb_file_is_what_is_decoded(tmp_path):
    large_wav(tmp_path / "a", 2**31 / RATE / 4)
    with storage.open_track(str(tmp_path / "a")) as file:
        y = audio.decode(file, RATE, 10.0)
    off, gain = offset_and_gain(y, noise(RATE, 60.0, 2).mean(axis=1), RATE, 25.0)
    assert abs(off) < 0.001
    assert gain == pytest.approx(1.0, abs=1e-3)


def test_a_hole_of_a_file_is_silent(tmp_path):
    (tmp_path / "a").write_bytes(encode(np.zeros(4 * RATE, np.float32), RATE, "WAV"))
    os.truncate(tmp_path / "a", 3 * 2**30)
    row, _, memory = done_alone(str(tmp_path / "a"))
    assert row["status"] == "silent"
    assert memory < MEMORY
