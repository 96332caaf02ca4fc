"""Several clips of a track, against all of it as other programs decode it."""

import io

import av
import numpy as np
import pytest
import scipy.signal
import soundfile as sf
from sounds import FFMPEG, FORMATS, encode, encode_ffmpeg, noise, samples, tone

from genreray import audio
from genreray.audio import libsndfile
from genreray.audio.clips import starts
from genreray.errors import Status, TrackError


def decoded_whole(format: str, content: bytes) -> tuple[np.ndarray, float]:
    """All of a file in mono, by soundfile or PyAV alone, and the second at which that begins, after the file does."""
    if format in FORMATS:
        return sf.read(io.BytesIO(content), dtype="float32", always_2d=True)[0].mean(axis=1), 0.0
    with av.open(io.BytesIO(content)) as container:
        first = max(0, next(container.demux(audio=0)).pts)
    with av.open(io.BytesIO(content)) as container:
        frames = list(container.decode(audio=0))
    blocks = []
    for frame in frames:
        block = frame.to_ndarray()
        block = block if frame.format.is_planar else block.reshape(-1, frame.layout.nb_channels).T
        if block.dtype.kind != "f":
            block = (block.astype(float) - (128 if block.dtype.kind == "u" else 0)) / 2.0 ** (8 * block.itemsize - 1)
        blocks.append(block)
    return np.concatenate(blocks, axis=1).mean(axis=0), float((frames[0].pts - first) * frames[0].time_base)


@pytest.mark.parametrize("duration", [3.0, 3.5])  # with gaps between the clips in which nothing is decoded, and without
@pytest.mark.parametrize("format", [*FORMATS, *FFMPEG])
def test_each_clip_is_what_the_whole_has_at_its_time(format, duration):
    _, sr, content = samples(format, 10.8)
    clips = audio.decode_clips(content, sr, duration, 5)
    assert len(clips) == 3
    whole, begin = decoded_whole(format, content)
    for i, clip in enumerate(clips):
        assert len(clip.y) == round(duration * sr)
        assert clip.start + duration / 2 == pytest.approx(10.8 * (2 * i + 1) / 6, abs=0.06)
        place = int(np.argmax(scipy.signal.correlate(whole, clip.y, "valid", method="fft")))
        late = begin if begin > clip.start else 0.002  # nothing is before the first frame; webm has times in ms
        assert place / sr + begin == pytest.approx(clip.start, abs=late)
        np.testing.assert_allclose(clip.y, whole[place : place + len(clip.y)], rtol=0, atol=1e-5)


def test_one_clip_is_the_one_of_decode():
    content = samples("mp3", 10.8)[2]
    (clip,) = audio.decode_clips(content, 22050, 5.0, 1)
    np.testing.assert_array_equal(clip.y, audio.decode(content, 22050, 5.0))


@pytest.mark.parametrize("n", [1, 2, 3, 7, 40])
def test_clips_are_spread_evenly_and_never_overlap(n):
    for end in (1.0, 29.9, 30.0, 59.9, 60.0, 61.0, 195.3, 36_000.0):
        for first in (0.0, 0.025):
            found = np.array(starts(first, first + end, 30.0, n))
            assert len(found) == max(1, min(n, end // 30))
            assert found[0] >= first
            assert (np.diff(found) >= 30.0 - 1e-6).all()
            if end >= 30.0:
                middles = first + end * (2 * np.arange(len(found)) + 1) / (2 * len(found))
                np.testing.assert_allclose(found + 15.0, middles, atol=1e-6)


def test_a_short_track_is_one_clip_whatever_is_asked_for():
    content = encode(noise(16000, 8.0), 16000, "WAV")
    (clip,) = audio.decode_clips(content, 16000, 5.0, 10)
    np.testing.assert_array_equal(clip.y, audio.decode(content, 16000, 5.0))


def test_a_clip_that_cannot_be_used_is_left_out_and_a_track_fails_where_all_are():
    quiet, broken = np.zeros(16000 * 5, np.float32), tone(16000, 5.0)
    broken[100] = np.nan
    song = np.concatenate([quiet, tone(16000, 5.0), broken, noise(16000, 5.0)])
    clips = audio.decode_clips(encode(song, 16000, "WAV", "FLOAT"), 16000, 5.0, 4)
    assert [clip.start for clip in clips] == [5.0, 15.0]
    np.testing.assert_array_equal(clips[1].y, song[15 * 16000 :])
    with pytest.raises(TrackError) as caught:
        audio.decode_clips(encode(np.concatenate([quiet, broken]), 16000, "WAV", "FLOAT"), 16000, 5.0, 2)
    assert caught.value.status is Status.SILENT  # the first one's reason


def test_a_flac_that_promises_more_than_it_holds_is_covered_as_far_as_it_goes():
    sound = noise(16000, 20.0)
    content = bytearray(encode(sound, 16000, "FLAC"))
    content[21] |= 0x0F  # the 36 bits of the number of samples
    content[22:26] = b"\xff\xff\xff\xff"
    clips = audio.decode_clips(bytes(content), 16000, 5.0, 3)
    assert [round(clip.start, 2) for clip in clips] == [0.83, 7.5, 14.17]
    for clip in clips:
        place = round(clip.start * 16000)
        np.testing.assert_allclose(clip.y, sound[place : place + len(clip.y)], atol=1e-4)


def test_a_stream_cut_off_keeps_the_clips_that_it_has():
    options = {"movflags": "frag_keyframe+empty_moov", "frag_duration": "1000000"}
    content = encode_ffmpeg(noise(16000, 60.0), 16000, "mp4", "aac", options=options)
    clips = audio.decode_clips(content[: len(content) * 2 // 3], 16000, 5.0, 4)
    assert [clip.start for clip in clips] == pytest.approx([2.5, 12.5, 22.5, 32.5], abs=1.5)


def test_times_that_jump_give_the_clips_that_are_whole():
    early, late = (
        encode_ffmpeg(noise(16000, seconds), 16000, "mpegts", "aac", begin=begin)
        for seconds, begin in ((8.0, 0), (8.0, 1000))
    )
    clips = audio.decode_clips(early + late, 16000, 5.0, 3)
    assert 1 <= len(clips) <= 3
    assert {len(clip.y) for clip in clips} == {5 * 16000}


@pytest.mark.parametrize("format", ["wav", "flac", "ogg", "mp3"])
def test_only_the_clips_are_decoded_by_libsndfile(format, monkeypatch):
    content = encode(noise(8000, 60.0, 2), 8000, *FORMATS[format])
    fill = libsndfile._File.fill
    counts = []
    monkeypatch.setattr(libsndfile._File, "fill", lambda self, block: counts.append(len(block)) or fill(self, block))
    assert len(audio.decode_clips(content, 8000, 5.0, 3)) == 3
    assert 3 * 40_000 <= sum(counts) <= 3 * 50_000


@pytest.mark.parametrize("format", ["flac", "ogg", "mp3"])
def test_blocks_follow_each_other_as_one_read_would_give_them(format):
    content = encode(noise(44_100, 20.0, 2), 44_100, *FORMATS[format])  # 27 blocks
    whole, sr = sf.read(io.BytesIO(content), dtype="float32")
    assert whole.size > 20 * libsndfile._BLOCK
    expected = audio._resample(whole @ np.full(2, 0.5, np.float32), sr, 22050)
    np.testing.assert_array_equal(audio.decode(content, 22050, 30.0), expected)


def test_only_the_clips_are_decoded_by_ffmpeg(monkeypatch):
    content = encode_ffmpeg(noise(16000, 60.0), 16000, "ipod", "aac")
    to_mono = audio.ffmpeg._frame_to_mono
    counts = []
    monkeypatch.setattr(audio.ffmpeg, "_frame_to_mono", lambda frame: counts.append(frame.samples) or to_mono(frame))
    assert len(audio.decode_clips(content, 16000, 5.0, 3)) == 3
    assert sum(counts) < 16000 * 3 * (5.0 + 1.0)
