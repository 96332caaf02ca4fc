import io
import tracemalloc
from pathlib import Path

import librosa
import numpy as np
import pytest
import scipy.signal
import soundfile as sf
from sounds import FFMPEG, FORMATS, encode, encode_ffmpeg, noise, offset_and_gain, samples, tone, video

from genreray import audio
from genreray.audio import libsndfile
from genreray.errors import TrackError

DATA = Path(__file__).parents[2] / "shared" / "data"
CLIP = DATA / "fma/fma_medium/000/000002.mp3"
SONGS = sorted(DATA.glob("songs/*.mp3"))
RATES = (22050, 44100, 48000)
LOSS = 0.06  # of level, half a dB: what lossy codecs take from noise at the bit rates used here
# How far off its codec may place a sound, in seconds; aac has no header that says what its encoder put in front.
DELAYS = {"m4a": 0.002, "aac": 0.025, "wma": 0.050, "mka": 0.025, "webm": 0.005}
OPEN_FILES = Path("/proc/self/fd")
EDGE = 600  # samples at the ends of a cut that the resampler fills from what lies beyond

# Equal to librosa


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("native_sr", RATES)
@pytest.mark.parametrize("format", ["wav", "flac", "ogg", "mp3"])
def test_a_short_clip_is_what_librosa_loads(format, native_sr, channels):
    content = encode(noise(native_sr, 3.5, channels), native_sr, *FORMATS[format])
    y = audio.decode(content, 22050, 30.0)
    expected, _ = librosa.load(io.BytesIO(content), sr=22050)
    assert y.dtype == np.float32
    assert y.flags.c_contiguous
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("native_sr", RATES)
@pytest.mark.parametrize("format", ["wav", "flac", "ogg", "mp3"])
def test_a_long_clip_is_the_middle_of_what_librosa_loads(format, native_sr):
    content = encode(noise(native_sr, 12.0, 2), native_sr, *FORMATS[format])
    y = audio.decode(content, 22050, 5.0)
    whole, _ = librosa.load(io.BytesIO(content), sr=22050)
    start = round(3.5 * 22050)
    assert len(y) == 5 * 22050
    np.testing.assert_allclose(y[EDGE:-EDGE], whole[start : start + len(y)][EDGE:-EDGE], rtol=0, atol=1e-4)


@pytest.mark.parametrize("sr", [16000, 22050, 44100])
def test_a_genuine_clip_is_what_librosa_loads(sr):
    if not CLIP.exists():
        pytest.skip("no shared/data")
    expected, _ = librosa.load(CLIP, sr=sr)
    np.testing.assert_allclose(audio.decode(CLIP.read_bytes(), sr, 30.0), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("path", SONGS, ids=lambda path: path.stem)
def test_a_whole_song_gives_its_middle(path):
    with sf.SoundFile(path) as file:
        start = (file.frames - 30 * file.samplerate) // 2
        expected, _ = librosa.load(file, sr=22050, offset=(start + 0.5) / file.samplerate, duration=30.0)
    np.testing.assert_allclose(audio.decode(path.read_bytes(), 22050, 30.0), expected, rtol=0, atol=1e-6)


def test_the_middle_never_has_a_sample_too_many():
    for native_sr in (11025, 32000, 44100, 48000):
        content = encode(noise(native_sr, 4.0), native_sr, "WAV")
        for duration in (3.0, 3.00006, 3.333):
            assert 0 <= round(duration * 22050) - len(audio.decode(content, 22050, duration)) <= 1


# However a file is read


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_in_memory_is_what_it_is_on_disk(format, tmp_path):
    content = samples(format, 4.0)[2]
    y = audio.decode(content, 22050, 30.0)
    (tmp_path / "track").write_bytes(content)
    with (tmp_path / "track").open("rb") as file:
        np.testing.assert_array_equal(audio.decode(file, 22050, 30.0), y)


@pytest.mark.skipif(not OPEN_FILES.exists(), reason="tells open files on Linux")
def test_nothing_stays_open():
    good, bad = encode(noise(8000, 4.0), 8000, "WAV"), b"no audio at all" * 100
    before = len(list(OPEN_FILES.iterdir()))
    audio.decode(good, 22050, 30.0)
    with pytest.raises(TrackError):
        audio.decode(bad, 22050, 30.0)
    assert len(list(OPEN_FILES.iterdir())) == before


# No more than needed


@pytest.mark.parametrize("format", ["wav", "flac", "ogg", "mp3"])
def test_only_the_middle_is_decoded_by_libsndfile(format, monkeypatch):
    content = encode(noise(8000, 60.0, 2), 8000, *FORMATS[format])
    fill = libsndfile._File.fill
    counts = []

    def counting(self, block):
        counts.append(fill(self, block))
        return counts[-1]

    monkeypatch.setattr(libsndfile._File, "fill", counting)
    assert len(audio.decode(content, 8000, 5.0)) == sum(counts) == 40_000


def test_only_the_middle_is_decoded_by_ffmpeg(monkeypatch):
    content = encode_ffmpeg(noise(16000, 60.0), 16000, "ipod", "aac")
    to_mono = audio.ffmpeg._frame_to_mono
    counts = []
    monkeypatch.setattr(audio.ffmpeg, "_frame_to_mono", lambda frame: counts.append(frame.samples) or to_mono(frame))
    assert len(audio.decode(content, 16000, 5.0)) == 80_000
    assert sum(counts) < 16000 * (5.0 + 1.0)


def peak_memory(content, sr, duration):
    tracemalloc.start()
    y = audio.decode(content, sr, duration)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return y, most


def test_memory_does_not_grow_with_the_track():
    short, long = (encode(tone(8000, seconds, channels=2), 8000, "WAV") for seconds in (10.0, 200.0))
    assert peak_memory(long, 8000, 5.0)[1] < 1.1 * peak_memory(short, 8000, 5.0)[1]


def test_memory_hardly_grows_with_the_channels():
    y, most = peak_memory(encode(tone(16000, 30.0, channels=32), 16000, "WAV"), 16000, 30.0)
    assert most < 32 * y.nbytes / 2


# Formats


@pytest.mark.parametrize("format", [*FORMATS, *FFMPEG])
def test_every_format_keeps_level_and_length(format):
    y, sr, content = samples(format, 4.0)
    decoded = audio.decode(content, sr, 30.0)
    assert len(decoded) == pytest.approx(len(y), abs=3000)
    off, gain = offset_and_gain(decoded, y, sr, 0.0)
    assert gain == pytest.approx(1.0, abs=LOSS)
    assert abs(off) <= 0.050


@pytest.mark.parametrize("format", [*FORMATS, *FFMPEG])
def test_the_middle_is_the_middle_in_every_format(format):
    y, sr, content = samples(format, 10.8)
    decoded = audio.decode(content, sr, 5.0)
    assert len(decoded) == 5 * sr
    off, gain = offset_and_gain(decoded, y, sr, 2.9)
    assert abs(off) <= DELAYS.get(format, 0.001)
    assert gain == pytest.approx(1.0, abs=LOSS)


@pytest.mark.parametrize("format", [*FORMATS, *FFMPEG])
def test_the_middle_is_sample_for_sample_that_of_the_whole(format):
    """From its first sample on: codecs that overlap their packets have been started early enough."""
    _, sr, content = samples(format, 10.8)
    whole, middle = audio.decode(content, sr, 100.0), audio.decode(content, sr, 5.0)
    place = int(np.argmax(scipy.signal.correlate(whole, middle, "valid", method="fft")))
    np.testing.assert_allclose(middle, whole[place : place + len(middle)], rtol=0, atol=1e-5)


@pytest.mark.parametrize("format", FFMPEG)
def test_libsndfile_really_cannot_read_what_is_left_to_ffmpeg(format):
    with pytest.raises(sf.LibsndfileError):
        sf.SoundFile(io.BytesIO(samples(format, 3.0)[2]))


@pytest.mark.parametrize("codec", ["pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le"])
def test_ffmpegs_sample_formats_keep_their_scale(codec):
    y = tone(16000, 4.0, channels=2)
    y[:, 1] *= 0.5
    decoded = audio.decode(encode_ffmpeg(y, 16000, "matroska", codec), 16000, 30.0)
    np.testing.assert_allclose(decoded, y.mean(axis=1), rtol=0, atol=2 / 128 if codec == "pcm_u8" else 2 / 32768)


@pytest.mark.parametrize(
    ("subtype", "step"), [("PCM_U8", 1 / 128), ("PCM_16", 2**-15), ("PCM_24", 2**-23), ("FLOAT", 0)]
)
def test_wav_of_every_depth_keeps_its_scale(subtype, step):
    y = tone(16000, 4.0)
    np.testing.assert_allclose(audio.decode(encode(y, 16000, "WAV", subtype), 16000, 30.0), y, rtol=0, atol=step)


@pytest.mark.parametrize("native_sr", [8000, 11025, 96000, 192000])
def test_other_rates_are_resampled(native_sr):
    y = audio.decode(encode(tone(native_sr, 4.0, 440.0), native_sr, "WAV"), 22050, 30.0)
    assert len(y) == 4 * 22050
    np.testing.assert_allclose(y[EDGE:-EDGE], tone(22050, 4.0, 440.0)[EDGE:-EDGE], rtol=0, atol=2e-3)


def test_six_channels_are_averaged():
    y = noise(16000, 4.0, 6)
    for content in (encode(y, 16000, "WAV", "FLOAT"), encode_ffmpeg(y, 16000, "ipod", "alac", "5.1")):
        np.testing.assert_allclose(audio.decode(content, 16000, 30.0), y.mean(axis=1), rtol=0, atol=1e-4)


def test_a_video_gives_its_sound(tmp_path):
    sound = noise(16000, 4.0)
    y = audio.decode(video(sound), 16000, 30.0)
    off, gain = offset_and_gain(y, sound, 16000, 0.0)
    assert abs(off) < 0.002
    assert gain == pytest.approx(1.0, abs=LOSS)


def test_tags_that_are_not_utf8_do_no_harm():
    for format, codec in (("ipod", "aac"), ("asf", "wmav2")):
        content = encode_ffmpeg(noise(16000, 4.0), 16000, format, codec, title="TITLETITLE")
        for title in (b"TITLETITLE", "TITLETITLE".encode("utf-16-le")):
            content = content.replace(title, b"\xff\xd8" * (len(title) // 2))
        assert len(audio.decode(content, 16000, 3.0)) == 48_000
