import io
import time
import tracemalloc
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile as sf
import soxr
from sounds import encode, encode_ffmpeg, noise, offset_and_gain, samples, tone, video

from genreray import audio
from genreray.errors import Status, TrackError


def status_of(content, **options):
    with pytest.raises(TrackError) as caught:
        audio.decode(content, **{"sr": 22050, "duration": 30.0, **options})
    assert caught.value.message
    assert "\n" not in caught.value.message
    return caught.value.status


@pytest.mark.parametrize(
    "content",
    [b"a", b"once upon a time " * 100, bytes(10_000), b"\xff\xfb" * 5_000, b"\x89PNG\r\n\x1a\n" + bytes(5_000), b"ID3"],
)
def test_what_is_no_audio_is_undecodable(content):
    assert status_of(content) == Status.UNDECODABLE


def test_no_bytes_are_empty():
    assert status_of(b"") == Status.EMPTY


@pytest.mark.parametrize("format", ["wav", "mp3", "m4a"])
def test_less_than_three_seconds_is_too_short(format):
    assert status_of(samples(format, 2.5)[2]) == Status.TOO_SHORT


def test_the_limit_of_three_seconds_is_exact():
    assert len(audio.decode(encode(tone(16000, 3.0), 16000, "WAV"), 16000, 30.0)) == 48_000
    assert status_of(encode(tone(16000, 3.0)[:-1], 16000, "WAV")) == Status.TOO_SHORT
    assert status_of(encode(np.zeros(0, np.float32), 16000, "WAV")) == Status.TOO_SHORT


def test_silence_is_silent():
    left = tone(16000, 4.0)
    dither = np.random.RandomState(0).randint(-2, 3, 64000) / np.float32(32768)
    for y in (np.zeros((64000, 2), np.float32), dither, np.stack([left, -left], axis=1)):
        assert status_of(encode(y, 16000, "WAV")) == Status.SILENT
    assert len(audio.decode(encode(tone(16000, 4.0, amplitude=2e-4), 16000, "WAV", "FLOAT"), 16000, 30.0)) == 64_000


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("background", [0.0, 0.5e-4])
@pytest.mark.parametrize(
    ("peak", "status"),
    [(0.99e-4, Status.SILENT), (1.01e-4, None), (2e-3, None), (0.99e6, None), (1.01e6, Status.UNDECODABLE)],
)
def test_one_sample_decides_at_the_limits(sign, background, peak, status):
    y = np.full(64_000, background, np.float32)
    y[30_000] = sign * peak
    content = encode(y, 16000, "WAV", "FLOAT")
    assert (status is None and len(audio.decode(content, 16000, 30.0))) or status_of(content) == status


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_samples_that_are_no_sound_are_undecodable(value):
    y = tone(16000, 4.0)
    y[30_000] = value
    assert status_of(encode(y, 16000, "WAV", "FLOAT")) == Status.UNDECODABLE


def test_a_float_file_louder_than_full_scale_is_kept():
    y = tone(16000, 4.0, amplitude=30_000.0)
    np.testing.assert_array_equal(audio.decode(encode(y, 16000, "WAV", "FLOAT"), 16000, 30.0), y)


@pytest.mark.parametrize(("place", "value"), [(24, 4_000_000_000), (24, 2_000_000_000), (24, 1), (24, 0)])
def test_an_absurd_rate_is_undecodable(place, value):
    content = bytearray(encode(tone(16000, 4.0), 16000, "WAV"))
    content[place : place + 4] = value.to_bytes(4, "little")
    assert status_of(bytes(content)) == Status.UNDECODABLE


def test_a_header_that_claims_four_billion_samples_costs_nothing():
    content = bytearray(encode(tone(16000, 10.0), 16000, "WAV"))
    content[4:8] = content[40:44] = b"\xfe\xff\xff\xff"
    tracemalloc.start()
    began = time.perf_counter()
    y = audio.decode(bytes(content), 16000, 5.0)
    took = time.perf_counter() - began
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_allclose(y, tone(16000, 10.0)[40_000:120_000], atol=1e-4)
    assert most < 5_000_000
    assert took < 2.0


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_a_header_that_points_before_the_file_prints_no_traceback():
    content = encode(tone(16000, 4.0), 16000, "AIFF").replace(b"SSND", b"SSNX")
    assert status_of(content) == Status.UNDECODABLE


def test_a_flac_that_promises_more_than_it_holds_gives_the_middle_of_what_is_there():
    sound = noise(16000, 20.0)
    content = bytearray(encode(sound, 16000, "FLAC"))
    content[21] |= 0x0F  # the 36 bits of the number of samples
    content[22:26] = b"\xff\xff\xff\xff"
    off, gain = offset_and_gain(audio.decode(bytes(content), 16000, 5.0), sound, 16000, 7.5)
    assert (abs(off), gain) == (0, pytest.approx(1.0, abs=1e-3))


def test_an_mp3_cut_off_gives_the_middle_of_the_song_or_else_of_what_is_left():
    content = encode(noise(44100, 30.0, 2), 44100, "MP3")
    for share, middle in ((0.7, 15.0), (0.4, None)):
        cut = content[: int(len(content) * share)]
        left, _ = librosa.load(io.BytesIO(cut), sr=None)
        assert len(left) < (share + 0.05) * 30 * 44100
        start = ((len(left) if middle is None else 30 * 44100) - 5 * 44100) // 2
        y = audio.decode(cut, 44100, 5.0)
        np.testing.assert_allclose(y, left[start : start + 5 * 44100], rtol=0, atol=1e-4)


def test_an_mp3_that_does_not_say_its_length_gives_its_middle():
    """Its size over its first frame's bits gives libsndfile a length that is far off, either way."""
    quiet, loud = np.zeros(10 * 44100, np.float32), noise(44100, 20.0)
    for sound in (np.concatenate([quiet, loud]), np.concatenate([loud, quiet])):
        content = encode_ffmpeg(sound, 44100, "mp3", "libmp3lame", options={"write_xing": "0"}, vbr=True)
        assert abs(sf.info(io.BytesIO(content)).duration - 30) > 5
        off, gain = offset_and_gain(audio.decode(content, 44100, 5.0), sound, 44100, 12.5)
        assert abs(off) < 0.03  # the encoder's delay, which it does not say either
        assert gain == pytest.approx(1.0, abs=0.1)


def test_a_large_picture_in_front_of_an_mp3_changes_nothing():
    size = 3_000_000
    tag = (
        b"ID3\x03\0\0"
        + bytes([size >> 21 & 127, size >> 14 & 127, size >> 7 & 127, size & 127])
        + b"\xff\xfb" * (size // 2)
    )
    for options in ({}, {"write_xing": "0"}):
        content = encode_ffmpeg(noise(44100, 20.0), 44100, "mp3", "libmp3lame", options=options)
        plain = audio.decode(content, 44100, 5.0)
        np.testing.assert_allclose(audio.decode(tag + content, 44100, 5.0), plain, rtol=0, atol=1e-4)


def test_m4a_cut_off():
    plain = encode_ffmpeg(noise(16000, 20.0), 16000, "ipod", "aac")
    assert status_of(plain[: len(plain) // 2]) == Status.UNDECODABLE  # its index is at the end
    sound = noise(16000, 60.0)
    options = {"movflags": "frag_keyframe+empty_moov", "frag_duration": "1000000"}
    fragments = encode_ffmpeg(sound, 16000, "mp4", "aac", options=options)
    y = audio.decode(fragments[: len(fragments) // 2], 16000, 5.0)
    assert len(y) == 5 * 16000
    off, _ = offset_and_gain(y, sound, 16000, 12.5, reach=1.0)
    assert abs(off) < 1.0


def test_a_stream_that_begins_further_on_is_left_out():
    second = {"mpegts_start_pid": "512", "mpegts_service_id": "2", "mpegts_pmt_start_pid": "0x1100"}
    one, other = (encode_ffmpeg(noise(16000, 4.0), 16000, "mpegts", "aac", options=options) for options in ({}, second))
    assert len(audio.decode(one + other, 16000, 30.0)) == pytest.approx(64_000, abs=2048)


def test_times_that_jump_do_not_hide_the_sound():
    early, late = (
        encode_ffmpeg(noise(16000, seconds), 16000, "mpegts", "aac", begin=begin)
        for seconds, begin in ((8.0, 0), (1.0, 1000))
    )
    assert len(audio.decode(early + late, 16000, 5.0)) == 5 * 16000


def test_a_damaged_packet_costs_itself_alone():
    sound = noise(16000, 20.0)
    content = bytearray(encode_ffmpeg(sound, 16000, "adts", "aac"))
    middle = len(content) // 2
    content[middle : middle + 1000] = np.random.RandomState(0).bytes(1000)
    y = audio.decode(bytes(content), 16000, 30.0)
    assert 18 * 16000 < len(y) <= 21 * 16000


def test_a_video_without_sound_is_undecodable():
    with pytest.raises(TrackError, match="no audio stream"):
        audio.decode(video(None), 22050, 30.0)


def test_a_playlist_is_not_followed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("song.wav").write_bytes(encode(tone(16000, 4.0), 16000, "WAV"))
    for playlist in ("ffconcat version 1.0\nfile song.wav\n", "#EXTM3U\n#EXTINF:4,\nsong.wav\n#EXT-X-ENDLIST\n"):
        assert status_of(playlist.encode()) == Status.UNDECODABLE


def test_what_nobody_foresaw_stays_an_exception(monkeypatch):
    def broken(*_args, **_options):
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(soxr, "resample", broken)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        audio.decode(encode(tone(16000, 4.0), 16000, "WAV"), 22050, 30.0)
