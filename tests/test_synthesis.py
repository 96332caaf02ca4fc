import numpy as np
import pytest

from genreray.synthesis import sounds
from genreray.synthesis.stage import Habits, Stage, chord
from genreray.synthesis.styles import STYLES, habits, play

SR = 22050
EVEN = Habits(key=0, pace=0.5, bright=0.5, dirt=0.5, room=0.5, loose=0.0, busy=0.5, colour=0.5, kit=0.5)


def stage(**changes):
    settings = {"sr": SR, "n": 4 * SR, "tempo": 120.0, "swing": 0.0, "pickup": 0.0, "chords": [chord("C")]}
    return Stage(**{**settings, "habits": EVEN, "rng": np.random.default_rng(0), **changes})


def loudest_frequency(y):
    spectrum = np.abs(np.fft.rfft(y * np.hanning(len(y)), 8 * len(y)))
    return np.argmax(spectrum) * SR / (8 * len(y))


def period(y, longest):
    """The lag, in samples, at which y is most like itself."""
    spectrum = np.abs(np.fft.rfft(y, 2 * len(y))) ** 2
    correlation = np.fft.irfft(spectrum)[: longest + 1]
    shortest = longest // 3
    return shortest + np.argmax(correlation[shortest:])


@pytest.mark.parametrize("freq", [55.0, 440.0, 3000.0])
def test_a_tone_has_its_pitch_and_none_of_its_harmonics_folds_back(freq):
    y = sounds.tone(freq, 1.0, sounds.Timbre(slope=1.0), SR)
    assert loudest_frequency(y) == pytest.approx(freq, abs=1.0)
    spectrum = np.abs(np.fft.rfft(y * np.blackman(len(y)))) ** 2
    f = np.fft.rfftfreq(len(y), 1 / SR)
    off = np.abs(f - freq * np.round(f / freq)) > 20.0
    assert spectrum[off].sum() < 1e-3 * spectrum.sum()


@pytest.mark.parametrize("freq", [82.4, 196.0, 440.0])
def test_a_plucked_string_has_its_pitch_and_fades(freq):
    y = sounds.pluck(freq, 1.0, 0.7, 0.8, SR, np.random.default_rng(0))
    assert len(y) == SR
    assert SR / period(y, round(1.4 * SR / freq)) == pytest.approx(freq, rel=0.015)
    assert y[-SR // 5 : -SR // 10].std() < 0.7 * y[: SR // 10].std()


def test_a_room_answers_for_its_reverberation_time():
    answer = sounds.room(0.8, 0.5, 8000.0, SR, np.random.default_rng(0))
    assert answer[:, 0] == pytest.approx([1.0, 1.0], abs=0.1)
    tail = answer[:, 1:]
    assert np.sum(tail**2, axis=1) == pytest.approx([0.25, 0.25], rel=0.05)
    # Schroeder's backward integral, and the time it takes from -5 to -35 dB, twice
    energy = np.cumsum(tail[0][::-1] ** 2)[::-1]
    level = 10 * np.log10(energy / energy[0])
    t60 = 2 * (np.argmax(level < -35) - np.argmax(level < -5)) / SR
    assert t60 == pytest.approx(0.8, rel=0.1)


@pytest.mark.parametrize(
    ("name", "semitones"),
    [
        ("C", (0, 4, 7)),
        ("Am7", (9, 12, 16, 19)),
        ("F#m7", (6, 9, 13, 16)),
        ("Ebmaj7", (3, 7, 10, 14)),
        ("Bdim", (11, 14, 17)),
    ],
)
def test_chords_are_read_by_name(name, semitones):
    assert chord(name) == semitones


def test_a_note_sounds_on_its_beat():
    played = stage()
    line = played.line()
    played.put(line, np.ones(1, dtype=np.float32), 4.0, 1.0)  # at 120 a minute, the sixth beat is at 2.5 s
    assert np.flatnonzero(line).tolist() == [round(2.5 * SR)]


def test_swing_delays_the_eighth_between_two_beats_to_a_triplet():
    played = stage(swing=1.0, tempo=60.0)
    line = played.line()
    for beat in (0.0, 0.5, 1.0):
        played.put(line, np.ones(1, dtype=np.float32), 0.0, beat)
    assert np.flatnonzero(line).tolist() == [0, round(SR * 2 / 3), SR]


def test_what_begins_before_the_clip_or_ends_after_it_is_cut():
    played = stage(n=SR)
    line = played.line()
    played.put(line, np.ones(SR, dtype=np.float32), -1.0, 0.0)  # from -0.5 s to 0.5 s
    played.put(line, np.ones(SR, dtype=np.float32), 1.5, 0.0)  # from 0.75 s on
    played.put(line, np.ones(SR, dtype=np.float32), 9.0, 0.0)
    assert line.sum() == pytest.approx(0.75 * SR, abs=2)


@pytest.mark.parametrize("sr", [22050, 48000])
@pytest.mark.parametrize("genre", STYLES)
def test_every_genre_plays_any_length_within_full_scale(genre, sr):
    for variant in (0, 1):
        for seconds in (0.5, 2.0):
            rng = np.random.default_rng(variant)
            y = play(genre, variant, habits(rng), seconds, sr, rng)
            assert y.shape == (2, round(seconds * sr))
            assert y.dtype == np.float32
            assert 0.3 < np.abs(y).max() <= 1.0
