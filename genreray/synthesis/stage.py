"""The stage that generated music is played on: time, harmony, the artist's habits, the notes played."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from genreray.synthesis import sounds
from genreray.synthesis.sounds import Sound, Timbre

_QUALITIES = {
    "": (0, 4, 7),
    "m": (0, 3, 7),
    "5": (0, 7, 12),
    "7": (0, 4, 7, 10),
    "m7": (0, 3, 7, 10),
    "maj7": (0, 4, 7, 11),
    "m9": (0, 3, 10, 14),
    "dim": (0, 3, 6),
    "m7b5": (0, 3, 6, 10),
}
_LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


@dataclass(frozen=True)
class Habits:
    """How an artist plays, and with less freedom one track: a key 0..11, and numbers from 0 to 1."""

    key: int
    pace: float  # slow or fast within the genre's tempos
    bright: float  # little or much treble
    dirt: float  # distortion, noise, worn records
    room: float  # near and dry, or far and wet
    loose: float  # on the beat and even, or not
    busy: float  # few notes or many
    colour: float  # which of a part's timbres
    kit: float  # sizes of drums and of mouths


def chord(name: str) -> tuple[int, ...]:
    """Return the semitones above C of a chord's notes, root first: `Am7` is (9, 12, 16, 19)."""
    match = re.fullmatch(r"([A-G])([#b]?)(.*)", name)
    if match is None:
        raise ValueError(f"{name} is not the name of a chord")
    root = _LETTERS[match[1]] + {"#": 1, "b": -1, "": 0}[match[2]]
    return tuple(root + note for note in _QUALITIES[match[3]])


@dataclass
class Stage:
    """One track while it is played: its length, tempo (beats a minute), harmony and what has sounded."""

    sr: int
    n: int
    tempo: float
    swing: float  # 0 even eighths, 1 triplets
    pickup: float  # beats of the first bar that lie before the clip
    chords: list[tuple[int, ...]]  # one a bar, semitones above C
    habits: Habits
    rng: np.random.Generator
    notes: dict[tuple[object, ...], Sound] = field(default_factory=dict)

    def bars(self) -> Iterator[tuple[float, tuple[int, ...]]]:
        """Yield (beat of its first note, chord) of each bar of four beats."""
        beats = self.n / self.sr * self.tempo / 60.0
        for bar in range(int((beats + self.pickup) // 4) + 1):
            yield 4.0 * bar - self.pickup, self.chords[bar % len(self.chords)]

    def line(self) -> Sound:
        """Return silence as long as the track, [n]."""
        return np.zeros(self.n, dtype=np.float32)

    def put(self, line: Sound, sound: Sound, bar: float, beat: float, gain: float = 1.0) -> None:
        """Add `sound` at a beat of a bar, as evenly as this artist plays."""
        if abs(beat % 1.0 - 0.5) < 0.01:
            beat += self.swing / 6.0
        late = self.habits.loose * 0.012 * self.rng.normal()
        start = round(((bar + beat) * 60.0 / self.tempo + late) * self.sr)
        gain *= float(np.exp(self.habits.loose * 0.25 * self.rng.normal()))
        if start < 0:
            sound, start = sound[-start:], 0
        sound = sound[: max(0, self.n - start)]
        line[start : start + sound.size] += np.float32(gain) * sound

    def lasting(self, beats: float) -> float:
        """Return the seconds that so many beats last."""
        return beats * 60.0 / self.tempo

    def once(self, make: Callable[[], Sound], *key: object) -> Sound:
        """Return what `make` made the first time that this key was asked for."""
        if key not in self.notes:
            self.notes[key] = make()
        return self.notes[key]

    def tone(self, midi: int, beats: float, timbre: Timbre, slide: float = 0.0) -> Sound:
        """Return a note of a periodic instrument."""
        seconds = self.lasting(beats) + timbre.release
        return self.once(
            lambda: sounds.tone(sounds.hertz(midi), seconds, timbre, self.sr, slide),
            *(midi, beats, timbre, slide),
        )

    def string(self, midi: int, beats: float, bright: float, ring: float) -> Sound:
        """Return a plucked note."""
        seconds = self.lasting(beats)
        return self.once(
            lambda: sounds.pluck(sounds.hertz(midi), seconds, bright, ring, self.sr, self.rng),
            midi,
            beats,
            bright,
            ring,
        )

    def note(self, semitone: int, low: int) -> int:
        """Return the lowest MIDI note from `low` on of a note of a chord, in this track's key."""
        return low + (semitone + self.habits.key - low) % 12

    def voicing(self, chord: tuple[int, ...], low: int) -> list[int]:
        """Return a chord's notes within the octave above `low`, lowest first."""
        return sorted({self.note(semitone, low) for semitone in chord})

    def walk(self, low: int, high: int, leap: int = 2) -> Iterator[int]:
        """Yield a melody without end: a random walk over the notes of the track's chords."""
        semitones = {note % 12 for chord in self.chords for note in chord}
        scale = [m for m in range(low, high) if (m - self.habits.key) % 12 in semitones]
        at = len(scale) // 2
        while True:
            at = int(np.clip(at + self.rng.integers(-leap, leap + 1), 0, len(scale) - 1))
            yield scale[at]

    def rhythm(self, values: tuple[float, ...], first: float = 0.0) -> Iterator[tuple[float, float]]:
        """Yield (beat, beats it lasts) of notes of random `values` that fill a bar from `first` on."""
        beat = first
        while beat < 4.0:
            beats = float(self.rng.choice(values))
            yield beat, beats
            beat += beats

    def chance(self, probability: float) -> bool:
        """Return whether something happens this time."""
        return bool(self.rng.random() < probability)
