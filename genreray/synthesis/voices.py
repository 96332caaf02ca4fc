"""What sings, blows and bows: each part is a function from a stage to one line of sound, [n]."""

import numpy as np

from genreray.synthesis import sounds
from genreray.synthesis.sounds import Sound, Timbre
from genreray.synthesis.stage import Stage

_VOWELS = (
    ((730.0, 130.0, 1.0), (1090.0, 160.0, 0.6), (2440.0, 250.0, 0.3)),  # a
    ((530.0, 110.0, 1.0), (1840.0, 200.0, 0.5), (2480.0, 250.0, 0.3)),  # e
    ((300.0, 100.0, 1.0), (870.0, 150.0, 0.4), (2240.0, 250.0, 0.15)),  # u
    ((570.0, 110.0, 1.0), (840.0, 130.0, 0.7), (2410.0, 250.0, 0.2)),  # o
)


def _vowel(stage: Stage) -> tuple[tuple[float, float, float], ...]:
    """Return the resonances of some vowel in the mouth of this artist, small or large."""
    size = 0.85 + 0.35 * stage.habits.kit
    return tuple((f * size, width, gain) for f, width, gain in _VOWELS[stage.rng.integers(len(_VOWELS))])


def singing(stage: Stage) -> Sound:
    """Sing long vowels on a melody."""
    line, low = stage.line(), 48 + 12 * int(stage.habits.colour > 0.5)
    melody = stage.walk(low, low + 14)
    for bar, _ in stage.bars():
        first = float(stage.rng.choice([0.0, 0.5, 1.0]))
        for beat, beats in stage.rhythm((0.5, 1.0, 1.0, 2.0), first):
            timbre = Timbre(slope=0.8, formants=_vowel(stage), attack=0.04, release=0.06, vibrato=0.3)
            stage.put(line, stage.tone(next(melody), beats, timbre, slide=-1.5), bar, beat)
    return line


def rapping(stage: Stage) -> Sound:
    """Speak syllables in sixteenths: vowels that fall, and a hiss before some."""
    line, low = stage.line(), 43 + 9 * int(stage.habits.colour > 0.6)
    hiss = sounds.noise(int(0.05 * stage.sr), stage.rng) * np.float32(0.15)
    for bar, _ in stage.bars():
        for sixteenth in range(16):
            if stage.chance(0.65):
                timbre = Timbre(slope=0.7, formants=_vowel(stage), attack=0.02, decay=0.2, release=0.03)
                midi = low + int(stage.rng.integers(0, 5))
                stage.put(line, stage.tone(midi, 0.24, timbre, slide=2.0), bar, sixteenth / 4)
                if stage.chance(0.3):
                    stage.put(line, hiss, bar, sixteenth / 4 - 0.08)
    return line


def horn(stage: Stage) -> Sound:
    """Improvise on a saxophone or a muted trumpet: swung eighths in phrases with rests between."""
    line, habits = stage.line(), stage.habits
    low = 56 if habits.colour < 0.5 else 64
    formants = ((500.0 + 900.0 * habits.colour, 400.0, 1.0), (2300.0, 800.0, 0.35))
    timbre = Timbre(slope=0.7, even=0.8, formants=formants, attack=0.03, release=0.05, vibrato=0.25)
    melody = stage.walk(low, low + 20, leap=3)
    for bar, _ in stage.bars():
        first = float(stage.rng.choice([0.0, 0.5, 1.0]))
        for beat, beats in stage.rhythm((0.5, 0.5, 0.5, 1.0, 1.5), first):
            if stage.chance(0.85):
                stage.put(line, stage.tone(next(melody), beats, timbre, slide=-0.7), bar, beat)
    return line


def flute(stage: Stage) -> Sound:
    """Blow a slow melody, nearly pure, with breath in it."""
    line, melody = stage.line(), stage.walk(72, 90)
    timbre = Timbre(slope=2.4, even=0.5, attack=0.08, release=0.1, vibrato=0.25)
    for bar, _ in stage.bars():
        for beat, beats in stage.rhythm((0.5, 1.0, 1.0, 2.0)):
            stage.put(line, stage.tone(next(melody), beats, timbre), bar, beat)
    breath = sounds.lowpass(sounds.noise(stage.n, stage.rng), 3000.0, stage.sr)
    return line + np.float32(0.05) * breath


def lead_guitar(stage: Stage) -> Sound:
    """Play a solo: long bent overdriven notes over the chords."""
    line, melody = stage.line(), stage.walk(62, 84)
    timbre = Timbre(slope=0.8, attack=0.01, release=0.05, vibrato=0.35)
    for bar, _ in stage.bars():
        for beat, beats in stage.rhythm((0.5, 0.5, 1.0, 2.0)):
            stage.put(line, stage.tone(next(melody), beats, timbre, slide=-1.0), bar, beat)
    return sounds.overdrive(line, 3.0 + 4.0 * stage.habits.dirt, stage.sr)


def fiddle(stage: Stage) -> Sound:
    """Play a reel: eighths and sixteenths on a rough bow, a second string along."""
    line, melody = stage.line(), stage.walk(67, 86)
    timbre = Timbre(slope=0.75, formants=((1000.0, 500.0, 1.0), (2800.0, 900.0, 0.8)), attack=0.02, release=0.02)
    for bar, chord in stage.bars():
        for beat, beats in stage.rhythm((0.25, 0.25, 0.5, 0.5, 1.0)):
            stage.put(line, stage.tone(next(melody), beats, timbre, slide=-0.3), bar, beat)
            if stage.chance(0.4):
                stage.put(line, stage.tone(stage.note(chord[0], 62), beats, timbre), bar, beat, 0.6)
    return line


def _bow(stage: Stage) -> Timbre:
    bright = stage.habits.bright
    formants = ((450.0, 350.0, 1.0), (1500.0 + 800 * stage.habits.colour, 900.0, 0.3 + 0.4 * bright))
    return Timbre(1.0, formants=formants, attack=0.12, release=0.15, vibrato=0.2, detune=7.0)


def strings(stage: Stage) -> Sound:
    """Bow chords in four voices that swell and fade, half bars and whole ones."""
    line, timbre = stage.line(), _bow(stage)
    for bar, chord in stage.bars():
        halves = 2 if stage.chance(0.4) else 1
        voices = [stage.note(chord[0], 36), *stage.voicing(chord, 50), *stage.voicing(chord, 62)]
        for midi in voices:
            for half in range(halves):
                stage.put(line, stage.tone(midi, 4.0 / halves, timbre), bar, 4.0 * half / halves, 0.8)
    t = np.arange(stage.n) / stage.sr
    swell = 0.65 + 0.35 * np.sin(2 * np.pi * t / stage.rng.uniform(4, 9) + stage.rng.uniform(0, 6))
    return np.asarray(line * swell, dtype=np.float32)


def violin(stage: Stage) -> Sound:
    """Bow a melody over the ensemble, and a second voice below it."""
    line, timbre = stage.line(), _bow(stage)
    for low, values in ((67, (0.5, 0.5, 1.0, 1.0, 2.0)), (55, (1.0, 2.0))):
        melody = stage.walk(low, low + 17)
        for bar, _ in stage.bars():
            for beat, beats in stage.rhythm(values):
                stage.put(line, stage.tone(next(melody), beats, timbre), bar, beat)
    return line
