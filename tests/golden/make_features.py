"""Writes features.json, the features that this version computes: `cd tests && python -m golden.make_features`.

The clips are generated, and clip.mp3 is one of them, kept as it was once encoded, so that the decoder is watched too.
Look at what changed (git diff) before committing it: tables and models made earlier do not fit other features.
"""

import json
from pathlib import Path

import numpy as np
from sounds import encode, tone

from genreray import audio, features
from genreray.features import FeatureConfig

FOLDER = Path(__file__).parent
JSON = FOLDER / "features.json"
MP3 = FOLDER / "clip.mp3"
FRAMES = slice(3, None, 40)  # those that are kept
SMALL = FeatureConfig(sr=16000, n_fft=1024, hop_length=256, n_mels=64, n_mfcc=13, duration=4.0, top_db=60.0)


def clip(sr, seconds):
    """A rising tone, a chord that fades, clicks and faint noise, float32 [n_samples, 2]."""
    t = np.arange(round(sr * seconds)) / sr
    rising = np.sin(2 * np.pi * (200 * t + 500 * t**2))
    chord = sum(tone(sr, seconds, freq) for freq in (220.0, 277.2, 329.6)) * np.exp(-t)
    clicks = (np.arange(len(t)) % (sr // 2) == 0).astype(np.float32)
    noise = np.random.RandomState(0).uniform(-1, 1, len(t))
    left = 0.3 * rising + 0.2 * chord + 0.01 * noise
    return np.stack([left, 0.5 * chord + 0.5 * clicks], axis=1).astype(np.float32)


def measure():
    """Return what is kept of each clip's features, by the clip's name."""
    if not MP3.exists():
        MP3.write_bytes(encode(clip(22050, 3.2).mean(axis=1), 22050, "MP3", compression_level=0.9))
    cases = {
        "clip.mp3": (MP3.read_bytes(), FeatureConfig()),
        "44.1 kHz stereo wav": (encode(clip(44100, 3.5), 44100, "WAV"), FeatureConfig()),
        "48 kHz stereo flac, the middle, small": (encode(clip(48000, 6.0), 48000, "FLAC"), SMALL),
    }
    return {name: describe(*case) for name, case in cases.items()}


def describe(content, config):
    found = features.extract(audio.decode(content, config.sr, config.duration), config)
    return {
        "config": config.to_json(),
        "shape": list(found.mel.shape),
        "mel_ref": round(found.mel_ref, 3),
        "mel": found.mel[:, FRAMES].T.tolist(),
        "mel_means": found.mel.mean(axis=1).round(1).tolist(),
        "mfcc": found.mfcc[:, FRAMES].T.astype(float).round(2).tolist(),
        "mfcc_means": found.mfcc.mean(axis=1, dtype=float).round(2).tolist(),
    }


def to_text(value, indent=""):
    """Return JSON with a list of numbers a line, so that a change shows where it is."""
    inner = indent + " "
    if isinstance(value, dict):
        lines = [f"{inner}{json.dumps(key)}: {to_text(item, inner)}" for key, item in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, list) and isinstance(value[0], list):
        return "[\n" + ",\n".join(inner + to_text(item, inner) for item in value) + f"\n{indent}]"
    return json.dumps(value)


if __name__ == "__main__":
    JSON.write_text(to_text(measure()) + "\n", encoding="utf-8")
