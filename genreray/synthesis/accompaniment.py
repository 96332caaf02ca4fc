"""Guitars, basses and keyboards: each part is a function from a stage to one line of sound, [n]."""

import itertools

import numpy as np

from genreray.synthesis import sounds
from genreray.synthesis.sounds import Sound, Timbre
from genreray.synthesis.stage import Stage


def power_chords(stage: Stage) -> Sound:
    """Play an overdriven guitar: roots and fifths in eighths, some muted, some left to ring."""
    line, habits = stage.line(), stage.habits
    muted = [stage.chance(0.2 + 0.6 * habits.busy) for _ in range(8)]
    for bar, chord in stage.bars():
        root = stage.note(chord[0], 40)
        for eighth in range(8):
            beats = 0.35 if muted[eighth] else 1.0
            for midi in (root, root + 7, root + 12):
                string = stage.string(midi, beats, 0.6 + 0.4 * habits.bright, 0.9)
                stage.put(line, string, bar, eighth / 2, 0.7 if muted[eighth] else 1.0)
    return sounds.overdrive(line, 2.0 + 8.0 * habits.dirt, stage.sr)


def jangle(stage: Stage) -> Sound:
    """Play a guitar of an indie band: broken chords in eighths, at the edge of breaking up."""
    line, habits = stage.line(), stage.habits
    order = stage.rng.permutation(8)
    for bar, chord in stage.bars():
        notes = stage.voicing(chord, 52) + stage.voicing(chord, 64)
        for eighth in range(8):
            midi = notes[order[eighth] % len(notes)]
            stage.put(line, stage.string(midi, 2.0, 0.7 + 0.3 * habits.bright, 0.8), bar, eighth / 2)
    return sounds.overdrive(line, 0.6 + 2.0 * habits.dirt, stage.sr)


def picking(stage: Stage) -> Sound:
    """Pick a steel-string guitar with the fingers: the thumb on the beats, a pattern above it."""
    line, habits = stage.line(), stage.habits
    pattern = stage.rng.integers(0, 4, size=8)
    for bar, chord in stage.bars():
        bass, notes = stage.note(chord[0], 40), stage.voicing(chord, 55)
        for beat in range(4):
            stage.put(line, stage.string(bass + 7 * (beat % 2), 2.0, 0.5, 0.9), bar, float(beat), 0.9)
        for eighth in range(8):
            if stage.chance(0.6 + 0.4 * habits.busy):
                midi = notes[pattern[eighth] % len(notes)] + 12 * int(pattern[eighth] == 3)
                stage.put(line, stage.string(midi, 2.0, 0.5 + 0.5 * habits.bright, 0.85), bar, eighth / 2, 0.8)
    return line


def strumming(stage: Stage) -> Sound:
    """Strum all strings, down on the beat and up after it."""
    line, habits = stage.line(), stage.habits
    up = [stage.chance(0.5 + 0.3 * habits.busy) for _ in range(4)]
    for bar, chord in stage.bars():
        notes = [stage.note(chord[0], 40), *stage.voicing(chord, 50), *stage.voicing(chord, 60)]
        for eighth in range(8):
            if eighth % 2 and not up[eighth // 2]:
                continue
            for k, midi in enumerate(reversed(notes[2:]) if eighth % 2 else notes):
                string = stage.string(midi, 1.2, 0.6 + 0.4 * habits.bright, 0.75)
                stage.put(line, string, bar, eighth / 2 + 0.03 * k, 0.5 if eighth % 2 else 0.8)
    return line


def boom_chuck(stage: Stage) -> Sound:
    """Play an old guitar: root and fifth on one and three, a short chord on two and four."""
    line = stage.line()
    for bar, chord in stage.bars():
        root = stage.note(chord[0], 40)
        for beat, midi in ((0.0, root), (2.0, root - 5)):
            stage.put(line, stage.string(midi, 1.0, 0.4, 0.6), bar, beat, 1.2)
        for beat in (1.0, 3.0):
            for midi in stage.voicing(chord, 55):
                stage.put(line, stage.string(midi, 0.4, 0.7, 0.4), bar, beat, 0.7)
    return line


def banjo(stage: Stage) -> Sound:
    """Roll a banjo: bright short strings in sixteenths."""
    line = stage.line()
    roll = stage.rng.integers(0, 6, size=8)
    for bar, chord in stage.bars():
        notes = stage.voicing(chord, 60) + stage.voicing(chord, 70)
        for sixteenth in range(16):
            midi = notes[roll[sixteenth % 8] % len(notes)]
            stage.put(line, stage.string(midi, 0.5, 1.0, 0.3), bar, sixteenth / 4, 0.7 + 0.3 * (sixteenth % 4 == 0))
    return line


def bass_guitar(stage: Stage) -> Sound:
    """Play the chord's root in eighths."""
    line, timbre = stage.line(), Timbre(slope=1.3, decay=0.4, shine=0.08)
    for bar, chord in stage.bars():
        root = stage.note(chord[0], 28)
        for eighth in range(8):
            midi = root + 12 if eighth == 7 and stage.chance(0.3) else root
            stage.put(line, stage.tone(midi, 0.5, timbre), bar, eighth / 2, 0.8 + 0.2 * (eighth % 2 == 0))
    return line


def synth_bass(stage: Stage) -> Sound:
    """Play a machine's bass: between the beats, or a line of sixteenths."""
    line, habits = stage.line(), stage.habits
    timbre = Timbre(slope=0.8 + 0.5 * (1 - habits.bright), even=habits.colour, decay=0.25, shine=0.06)
    sixteenths = [beat / 4 for beat in range(16) if stage.chance(0.65)]
    steps = sixteenths if habits.busy > 0.5 else [0.5, 1.5, 2.5, 3.5]
    leaps = [int(stage.rng.choice([0, 0, 0, 12, 7])) for _ in steps]
    for bar, chord in stage.bars():
        for beat, leap in zip(steps, leaps, strict=True):
            stage.put(line, stage.tone(stage.note(chord[0], 31) + leap, 0.3, timbre), bar, beat)
    return line


def sub_bass(stage: Stage) -> Sound:
    """Play the lowest octave: long notes, almost sines, sliding into place."""
    line, timbre = stage.line(), Timbre(slope=3.0, attack=0.01, decay=1.2, release=0.08)
    beats = [0.0, *(beat for beat in (1.5, 2.5, 3.25) if stage.chance(0.5)), 4.0]
    for bar, chord in stage.bars():
        for start, end in itertools.pairwise(beats):
            slide = -7.0 if stage.chance(0.2) else -1.0
            stage.put(line, stage.tone(stage.note(chord[0], 28), end - start, timbre, slide), bar, start)
    return line


def walking_bass(stage: Stage) -> Sound:
    """Walk on a double bass: a chord note on every beat, and a step from below or above to the next root."""
    line, bars = stage.line(), list(stage.bars())
    for i, (bar, chord) in enumerate(bars):
        target = stage.note(bars[(i + 1) % len(bars)][1][0], 29)
        middle = [stage.note(int(stage.rng.choice(chord)), 31) for _ in range(2)]
        path = [stage.note(chord[0], 29), *middle, target + int(stage.rng.choice([-1, 1, 2]))]
        for beat, midi in enumerate(path):
            stage.put(line, stage.string(midi, 0.95, 0.15, 0.6), bar, float(beat))
            stage.put(line, stage.tone(midi, 0.9, Timbre(slope=2.0, decay=0.35)), bar, float(beat), 0.5)
    return line


def pad(stage: Stage) -> Sound:
    """Hold chords on a detuned synthesiser that makes room for every beat."""
    line, habits = stage.line(), stage.habits
    timbre = Timbre(slope=0.9 + 0.8 * (1 - habits.bright), attack=0.15, release=0.2, detune=8 + 14 * habits.colour)
    for bar, chord in stage.bars():
        for midi in stage.voicing(chord, 55):
            stage.put(line, stage.tone(midi, 4.0, timbre), bar, 0.0)
    beats = np.arange(stage.n) / stage.sr * stage.tempo / 60.0 + stage.pickup
    return np.asarray(line * (0.15 + 0.85 * np.minimum(1.0, 1.5 * (beats % 1.0))), dtype=np.float32)


def arpeggio(stage: Stage) -> Sound:
    """Play a sequencer: the chord's notes in sixteenths, short and bright, with an echo."""
    line, habits = stage.line(), stage.habits
    timbre = Timbre(slope=0.7 + 0.6 * (1 - habits.bright), even=habits.colour, decay=0.12, shine=0.05)
    order = stage.rng.integers(0, 8, size=16)
    rest = [stage.chance(0.3) for _ in range(16)]
    for bar, chord in stage.bars():
        notes = stage.voicing(chord, 60) + stage.voicing(chord, 72)
        for sixteenth in range(16):
            if not rest[sixteenth]:
                note = stage.tone(notes[order[sixteenth] % len(notes)], 0.25, timbre)
                for repeat, gain in ((0.0, 1.0), (0.75, 0.4), (1.5, 0.16)):
                    stage.put(line, note, bar, sixteenth / 4 + repeat, gain)
    return line


def keys(stage: Stage) -> Sound:
    """Loop two dull chords of an electric piano, as if sampled from an old record."""
    line, timbre = stage.line(), Timbre(slope=1.6, even=0.4, decay=0.9, shine=0.15, vibrato=0.1)
    hits = [0.0, float(stage.rng.choice([1.5, 1.75, 2.0, 2.5]))]
    for bar, chord in stage.bars():
        for beat in hits:
            for midi in stage.voicing(chord, 52):
                stage.put(line, stage.tone(midi, 1.5, timbre), bar, beat)
    return sounds.lowpass(line, 900.0 + 2500.0 * stage.habits.bright, stage.sr, 2)


def comping(stage: Stage) -> Sound:
    """Accompany on a piano: sevenths in short stabs off the beat."""
    line, timbre = stage.line(), Timbre(slope=1.3, decay=0.5, shine=0.12)
    for bar, chord in stage.bars():
        for beat in (0.0, 0.5, 1.5, 2.5, 3.5):
            if stage.chance(0.3 + 0.3 * stage.habits.busy):
                beats = float(stage.rng.choice([0.3, 0.3, 1.0]))
                for midi in stage.voicing(chord[1:], 55):
                    stage.put(line, stage.tone(midi, beats, timbre), bar, beat)
    return line


def piano(stage: Stage) -> Sound:
    """Break chords on a piano: the left hand low, the right in eighths."""
    line, timbre = stage.line(), Timbre(slope=1.4, decay=1.1, shine=0.25)
    order = stage.rng.permutation(8)
    for bar, chord in stage.bars():
        notes = stage.voicing(chord, 57) + stage.voicing(chord, 69)
        stage.put(line, stage.tone(stage.note(chord[0], 36), 4.0, timbre), bar, 0.0, 1.2)
        for eighth in range(8):
            stage.put(line, stage.tone(notes[order[eighth] % len(notes)], 2.0, timbre), bar, eighth / 2, 0.8)
    return line
