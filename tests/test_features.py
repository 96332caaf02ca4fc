import io
import json
from pathlib import Path

import librosa
import numpy as np
import pytest
from golden import make_features as golden
from sounds import encode, noise, tone

from genreray import audio, features
from genreray.errors import UserError
from genreray.features import FeatureConfig

CLIP = Path(__file__).parents[2] / "shared/data/fma/fma_medium/000/000002.mp3"
CONFIGS = [
    FeatureConfig(),
    FeatureConfig(n_mels=64, n_fft=1024, hop_length=256, sr=16000, top_db=60.0),
    FeatureConfig(sr=44100, n_fft=4096, hop_length=1024, n_mels=256, n_mfcc=40, top_db=100.0),
]


def sound(sr, seconds=3.5, channels=1):
    """A rising tone over noise, with a second of silence: what is loud, faint and absent."""
    t = np.arange(round(sr * seconds)) / sr
    y = 0.5 * np.sin(2 * np.pi * (100 * t + 900 * t**2)) + 0.01 * noise(sr, seconds)
    y[sr : 2 * sr] = 0
    y = y.astype(np.float32)
    return y if channels == 1 else np.stack([y, 0.5 * noise(sr, seconds, seed=1)], axis=1)


def librosas(y, config):
    """The same features by librosa alone: grey mel not rounded, its reference in dB, MFCC."""
    frames = {"sr": config.sr, "n_fft": config.n_fft, "hop_length": config.hop_length, "n_mels": config.n_mels}
    power = librosa.feature.melspectrogram(y=y, **frames)
    db = librosa.power_to_db(power, ref=np.max, top_db=config.top_db)
    reference = librosa.power_to_db(np.array([power.max()]), ref=1.0)[0]
    mfcc = librosa.feature.mfcc(y=y, n_mfcc=config.n_mfcc, **frames)
    return (db / config.top_db + 1) * 255, reference, mfcc


def assert_librosas(found, y, config):
    mel, mel_ref, mfcc = librosas(y, config)
    assert (found.mel.dtype, found.mfcc.dtype, type(found.mel_ref)) == (np.uint8, np.float16, float)
    assert (found.mel.shape, found.mfcc.shape) == (mel.shape, mfcc.shape)
    assert np.abs(found.mel - mel).max() <= 0.51  # half a grey level, and float32's rounding
    assert found.mel_ref == pytest.approx(mel_ref, abs=1e-3)
    np.testing.assert_allclose(found.mfcc.astype(np.float32), mfcc, rtol=1e-3, atol=0.05)


# Equal to librosa


@pytest.mark.parametrize("config", CONFIGS)
def test_features_are_librosas(config):
    for y in (sound(config.sr), tone(config.sr, 3.0, 1000.0), noise(config.sr, 3.0), tone(config.sr, 3.0) * 1e-4):
        assert_librosas(features.extract(y, config), y, config)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("native_sr", [22050, 44100, 48000])
def test_a_file_gives_what_librosa_gives_of_it(native_sr, channels):
    content = encode(sound(native_sr, channels=channels), native_sr, "FLAC")
    config = FeatureConfig()
    y, _ = librosa.load(io.BytesIO(content), sr=config.sr)
    assert_librosas(features.extract(audio.decode(content, config.sr, config.duration), config), y, config)


@pytest.mark.parametrize("config", CONFIGS)
def test_a_genuine_clip_gives_what_librosa_gives_of_it(config):
    if not CLIP.exists():
        pytest.skip("no shared/data")
    y, _ = librosa.load(CLIP, sr=config.sr)
    found = features.extract(audio.decode(CLIP.read_bytes(), config.sr, config.duration), config)
    assert_librosas(found, y, config)


def test_every_frame_of_the_mel_power_is_the_matrix_times_the_power_of_its_spectrum():
    config = FeatureConfig()
    y = noise(config.sr, 5.0)  # 216 frames: two whole blocks of spectra and a part of one
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(y.astype(np.float64), 1024), 2048)[::512]
    power = np.abs(np.fft.rfft(frames * np.hanning(2049)[:-1])) ** 2
    expected = librosa.filters.mel(sr=22050, n_fft=2048, n_mels=128).astype(np.float64) @ power.T
    np.testing.assert_allclose(features.mel_power(y, config), expected, rtol=1e-4, atol=expected.max() * 1e-7)


@pytest.mark.parametrize("n_samples", [2048, 22050, 22051, 22527, 22528, 22529])
def test_odd_lengths_are_librosas(n_samples):
    y = sound(22050)[:n_samples]
    assert_librosas(features.extract(y, FeatureConfig()), y, FeatureConfig())


# By hand


def test_a_pure_tone_peaks_in_its_mel_band():
    """Slaney's scale: 3 mel for 200 Hz up to 1 kHz, from there on 27 for each factor of 6.4."""
    config = FeatureConfig()
    top = 15 + 27 * np.log(11025 / 1000) / np.log(6.4)
    mel = np.linspace(0, top, config.n_mels + 2)[1:-1]
    centres = np.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((mel - 15) / 27))
    for band in (5, 17, 40, 64, 100, 126):
        found = features.extract(tone(config.sr, 3.0, centres[band]), config).mel
        assert set(found[:, 4:-4].argmax(axis=0)) == {band}
        assert found[band, 4:-4].min() >= 254


def test_rows_are_bands_and_columns_are_time():
    config = FeatureConfig()
    low_then_high = np.concatenate([tone(config.sr, 2.0, 300.0), tone(config.sr, 2.0, 6000.0)])
    found = features.extract(low_then_high, config).mel
    middle = found.shape[1] // 2
    assert found.shape[0] == config.n_mels
    assert found[:40, : middle - 4].max() == 255
    assert found[60:, : middle - 4].max() < 128
    assert found[:40, middle + 4 :].max() < 128
    assert np.frombuffer(found.tobytes(), np.uint8).reshape(config.n_mels, -1)[:40, : middle - 4].max() == 255


def test_arrays_are_in_c_order():
    for config in CONFIGS:
        found = features.extract(sound(config.sr), config)
        assert found.mel.flags.c_contiguous
        assert found.mfcc.flags.c_contiguous


@pytest.mark.parametrize("n_samples", [1, 511, 512, 513, 2047, 66150, 66151])
def test_there_is_a_frame_at_every_hop(n_samples):
    found = features.extract(noise(22050)[:n_samples], FeatureConfig())
    assert found.mel.shape == (128, 1 + n_samples // 512)
    assert found.mfcc.shape == (20, 1 + n_samples // 512)


@pytest.mark.parametrize("native_sr", [22050, 32000, 44100, 48000])
@pytest.mark.parametrize("duration", [3.0, 3.3333, 4.7])
def test_no_clip_has_more_frames_than_its_settings_say(native_sr, duration):
    content = encode(noise(native_sr, 5.0), native_sr, "WAV")
    for hop_length in (1, 441, 512):
        config = FeatureConfig(duration=duration, hop_length=hop_length)
        n_samples = len(audio.decode(content, config.sr, config.duration))
        assert 0 <= config.max_frames - (1 + n_samples // hop_length) <= 1


def test_loudness_is_in_the_reference_alone():
    config = FeatureConfig()
    y = sound(config.sr)
    loud, quiet = features.extract(y, config), features.extract(y / 100, config)
    np.testing.assert_allclose(loud.mel.astype(int), quiet.mel, rtol=0, atol=1)  # a half may round either way
    assert (loud.mel == quiet.mel).mean() > 0.999
    assert loud.mel_ref - quiet.mel_ref == pytest.approx(40.0, abs=1e-3)


def test_absolute_levels_can_be_recovered():
    config = FeatureConfig()
    y = sound(config.sr)
    found = features.extract(y, config)
    db = found.mel_ref + (found.mel.astype(float) / 255 - 1) * config.top_db
    expected = librosa.power_to_db(librosa.feature.melspectrogram(y=y, sr=config.sr), ref=1.0, top_db=None)
    shown = found.mel > 0
    assert shown.mean() > 0.3
    assert np.abs(db - expected)[shown].max() < 80 / 255 / 2 + 0.01
    assert expected[~shown].max() < found.mel_ref - 80 + 80 / 255 / 2 + 0.01


def test_digital_silence_has_features_too():
    found = features.extract(np.zeros(66150, np.float32), FeatureConfig())
    assert found.mel_ref == pytest.approx(-100.0)
    assert np.isfinite(found.mfcc).all()


# As before


def test_features_are_those_of_the_last_version():
    """Where this fails, look at why; `golden/make_features.py` says how to write the new ones."""
    kept, found = json.loads(golden.JSON.read_text(encoding="utf-8")), golden.measure()
    assert kept.keys() == found.keys()
    for name, old in kept.items():
        new = found[name]
        assert (old["config"], old["shape"]) == (new["config"], new["shape"])
        # One level: the order of float32 sums differs between processors, and with it how a half is rounded.
        np.testing.assert_allclose(new["mel"], old["mel"], rtol=0, atol=1, err_msg=name)
        np.testing.assert_allclose(new["mel_means"], old["mel_means"], rtol=0, atol=0.11, err_msg=name)
        np.testing.assert_allclose(new["mfcc"], old["mfcc"], rtol=1e-3, atol=0.05, err_msg=name)
        np.testing.assert_allclose(new["mfcc_means"], old["mfcc_means"], rtol=0, atol=0.02, err_msg=name)
        assert new["mel_ref"] == pytest.approx(old["mel_ref"], abs=2e-3)


# Settings


def test_settings_come_back_from_json():
    for config in CONFIGS:
        assert FeatureConfig.from_json(json.loads(json.dumps(config.to_json())), "x") == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sr": 0}, "sr is 0: give a number above 0"),
        ({"hop_length": -512}, "hop_length is -512"),
        ({"top_db": float("nan")}, "top_db is nan"),
        ({"duration": float("inf")}, "duration is inf"),
        ({"n_mels": 12.5}, "n_mels is 12.5: give a whole number"),
        ({"n_mels": "128"}, "n_mels is '128'"),
        ({"n_fft": True}, "n_fft is True"),
        ({"n_fft": None}, "n_fft is None"),
        ({"n_fft": 2047}, "give an even number"),
        ({"n_mels": 10}, "give at most n_mels"),
        ({"duration": 2.0}, "at least 3 s"),
        ({"hop_length": 4096}, "skips samples"),
        ({"top_db": 120.0}, "at most 100 dB"),
    ],
)
def test_impossible_settings_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        FeatureConfig(**change)
    with pytest.raises(UserError, match=f"table.parquet .*{message}"):
        FeatureConfig.from_json({**FeatureConfig().to_json(), **change}, "table.parquet")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({**FeatureConfig().to_json(), "fmax": 8000}, "x has the feature setting fmax, which"),
        ({k: v for k, v in FeatureConfig().to_json().items() if k != "top_db"}, "x lacks the feature setting top_db"),
        ({}, "x lacks"),
        (None, "x lacks"),
        ([1, 2], "x lacks"),
    ],
)
def test_settings_of_another_version_are_refused(value, message):
    with pytest.raises(UserError, match=message):
        FeatureConfig.from_json(value, "x")
