"""Damaged audio files: one row each, no crash, no hang, memory bounded."""

import collections
import functools
import os
from pathlib import Path

import numpy as np
import pytest
from sounds import FFMPEG, FORMATS, encode, encode_ffmpeg, noise

from genreray import isolation
from genreray.errors import TrackError
from genreray.features import FeatureConfig
from genreray.isolation import Limits
from genreray.track import extract_tracks

CONFIG = FeatureConfig(duration=3.0)
LIMITS = Limits(seconds=20.0, memory=500)
SOUND = {"opus": 48000, "webm": 48000}  # rates that a codec wants
ODD = (0, 1, 127, 128, 255)
BATCH = 100


@functools.cache
def whole(format):
    sr = SOUND.get(format, 16000)
    y = noise(sr, 3.5)
    return encode_ffmpeg(y, sr, *FFMPEG[format]) if format in FFMPEG else encode(y, sr, *FORMATS[format])


def flip_bits(content, rng):
    for place in rng.randint(len(content), size=rng.randint(1, 20)):
        content[place] ^= 1 << rng.randint(8)


def change_the_header(content, rng):
    for place in rng.randint(200, size=rng.randint(1, 12)):
        content[place] = rng.choice([*ODD, rng.randint(256)])


def change_bytes(content, rng):
    for place in rng.randint(len(content), size=rng.randint(1, 12)):
        content[place] = rng.choice([*ODD, rng.randint(256)])


def cut_off(content, rng):
    del content[rng.randint(len(content)) :]


def cut_out(content, rng):
    place = rng.randint(len(content))
    del content[place : place + rng.randint(1, 2000)]


def put_in(content, rng):
    place = rng.randint(len(content))
    content[place:place] = rng.bytes(rng.randint(1, 500))


def take_anothers_header(content, rng):
    size = rng.randint(12, 400)
    content[: rng.choice([0, size])] = whole(rng.choice(list(ALL)))[:size]


ALL = {**FORMATS, **FFMPEG}
MUTATIONS = (flip_bits, change_the_header, change_bytes, cut_off, cut_out, put_in, take_anothers_header)


def mutated(number):
    """The file of that number: its format, what was done to it, and its bytes."""
    format = list(ALL)[number % len(ALL)]
    mutation = MUTATIONS[number // len(ALL) % len(MUTATIONS)]
    content = bytearray(whole(format))
    mutation(content, np.random.RandomState(number))
    return format, mutation.__name__, bytes(content)


def extract_all(files):
    function = functools.partial(extract_tracks, config=CONFIG)
    return list(isolation.map_isolated(function, [str(file) for file in files], LIMITS))


@pytest.fixture
def decoders(tmp_path, monkeypatch):
    """What each process that decoded held at most, in MiB, when they are ended; the first is started anew.

    What mpg123 says of each damaged frame goes to a file.
    """
    most, end = [], isolation._Process.end

    def measured(process):
        status = Path(f"/proc/{process._process.pid}/status").read_text()
        if "VmHWM:" in status:  # else it has ended by itself
            most.append(int(status.split("VmHWM:")[1].split()[0]) / 1024)
        end(process)

    def end_all():
        while isolation._idle:
            isolation._idle.pop().end()

    end_all()
    monkeypatch.setattr(isolation._Process, "end", measured)
    stderr = os.dup(2)
    try:
        with (tmp_path / "log").open("wb") as file:
            os.dup2(file.fileno(), 2)
        yield most, end_all
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        end_all()


@pytest.fixture
def ended(monkeypatch):
    """What ended a process, also where the file was done at the second attempt."""
    found, attempt = [], isolation._attempt

    def watched(*arguments, **options):
        for result in attempt(*arguments, **options):
            if isinstance(result, TrackError):
                found.append(result)
            yield result

    monkeypatch.setattr(isolation, "_attempt", watched)
    return found


@pytest.mark.parametrize("count", [364, pytest.param(10_000, marks=[pytest.mark.faults, pytest.mark.timeout(3600)])])
def test_damaged_files_are_rows(count, decoders, ended, tmp_path, capsys):
    found = collections.defaultdict(collections.Counter)
    for first in range(0, count, BATCH):
        files = [tmp_path / str(number) for number in range(first, min(count, first + BATCH))]
        kinds = []
        for file in files:
            *kind, content = mutated(int(file.name))
            kinds.append(kind)
            file.write_bytes(content)
        for file, (format, mutation), row in zip(files, kinds, extract_all(files), strict=True):
            what = f"file {file.name}, {mutation} of {format}: {row}"
            assert isinstance(row, dict), what  # else it crashed the decoder's process, hung it or made it swell
            assert row["status"] in ("ok", "empty", "undecodable", "too_short", "silent"), what
            assert (row["status"] == "ok") == ("mel" in row), what
            found[mutation][row["status"]] += 1
            file.unlink()
    memory, end_all = decoders
    end_all()
    with capsys.disabled():
        print(
            f"\ninjected: {count:,} damaged files of {len(ALL)} formats; found: {len(ended)} crashes and hangs, ",
            end="",
        )
        print(f"at most {max(memory):.0f} MiB of memory in {len(memory)} processes")
        for mutation, statuses in found.items():
            print(f"  {mutation:<20}", ", ".join(f"{status} {n:,}" for status, n in statuses.most_common()))
    assert sum(sum(statuses.values()) for statuses in found.values()) == count
    assert all(statuses["ok"] < sum(statuses.values()) for statuses in found.values())  # the damage was one
    assert ended == []
    assert max(memory) < 400
