"""The genres of the generated music: who plays, how fast, over which chords, and how it is recorded."""

from collections.abc import Callable
from dataclasses import astuple, dataclass

import numpy as np

from genreray.synthesis import accompaniment, drums, sounds, textures, voices
from genreray.synthesis.sounds import Sound
from genreray.synthesis.stage import Habits, Stage, chord

Part = Callable[[Stage], Sound]

# What keeps the genres from being told apart too well, as shares of the tracks:
_RESTS = 0.2  # one of the players is silent
_GUESTS = 0.25  # a player of another genre sits in
_FUSIONS = 0.16  # players of another genre replace half of the band


@dataclass(frozen=True)
class Variant:
    """One way to play a genre: its parts with their levels in dB, and the subgenre's title if it has one."""

    title: str | None
    parts: tuple[tuple[Part, float], ...]
    tempo: tuple[float, float]  # beats a minute


@dataclass(frozen=True)
class Style:
    """What makes a genre: two variants, chords (a bar each), swing 0..1, room (s, least and most), old records."""

    variants: tuple[Variant, Variant]
    progressions: tuple[str, ...]
    swing: tuple[float, float] = (0.0, 0.1)
    room: tuple[float, float] = (0.3, 1.0)
    wet: float = 0.25
    squash: float = 1.0  # how hard the master is compressed
    record: float = 0.0  # share of the artists' dirt that is an old record's: a narrow band, dust, hiss


STYLES = {
    "Rock": Style(
        (
            Variant(
                "Punk",
                (
                    (drums.backbeat, 0),
                    (accompaniment.power_chords, 0),
                    (accompaniment.bass_guitar, -4),
                    (voices.singing, -7),
                ),
                (140, 185),
            ),
            Variant(
                "Indie-Rock",
                (
                    (drums.backbeat, 0),
                    (accompaniment.jangle, -2),
                    (accompaniment.power_chords, -4),
                    (accompaniment.bass_guitar, -3),
                    (voices.lead_guitar, -6),
                ),
                (98, 145),
            ),
        ),
        ("A5 C5 D5 A5", "A5 G5 F5 E5", "A5 E5 F5 D5", "D5 C5 G5 D5"),
        squash=2.0,
    ),
    "Electronic": Style(
        (
            Variant(
                "House",
                (
                    (drums.four_on_the_floor, 0),
                    (accompaniment.pad, -3),
                    (accompaniment.synth_bass, -2),
                    (accompaniment.arpeggio, -7),
                ),
                (118, 130),
            ),
            Variant(
                "Techno",
                (
                    (drums.four_on_the_floor, 1),
                    (accompaniment.synth_bass, -1),
                    (accompaniment.arpeggio, -3),
                    (accompaniment.pad, -9),
                ),
                (124, 142),
            ),
        ),
        ("Am7 Fmaj7 C G", "Am Am F G", "Am9 Am9 Dm9 Dm9", "Am Em F Dm"),
        room=(0.8, 2.0),
        squash=1.8,
    ),
    "Experimental": Style(
        (
            Variant("Noise", ((textures.noise_wash, 0), (textures.glitches, -1), (textures.drone, -5)), (60, 140)),
            Variant("Drone", ((textures.drone, 0), (textures.bells, -4), (textures.noise_wash, -9)), (40, 80)),
        ),
        ("Cmaj7 F#m7", "Am9 Ebmaj7", "C5 Db5"),
        room=(1.5, 4.0),
        wet=0.6,
        squash=0.7,
    ),
    "Hip-Hop": Style(
        (
            Variant(
                "Hip-Hop Beats",
                ((drums.boom_bap, 0), (accompaniment.keys, -3), (accompaniment.sub_bass, -1), (voices.rapping, -5)),
                (78, 98),
            ),
            Variant(
                "Rap",
                ((drums.trap, 0), (accompaniment.sub_bass, 1), (voices.rapping, -2), (accompaniment.keys, -8)),
                (124, 150),
            ),
        ),
        ("Am9 Dm9", "Am7 Fmaj7", "Am Am Dm Em", "Dm7 Am7"),
        swing=(0.1, 0.7),
        room=(0.2, 0.6),
        wet=0.12,
        squash=1.6,
        record=0.35,
    ),
    "Folk": Style(
        (
            Variant("Singer-Songwriter", ((accompaniment.picking, 0), (voices.singing, -1)), (76, 120)),
            Variant(
                "Psych-Folk",
                ((accompaniment.strumming, 0), (voices.singing, -3), (voices.flute, -7), (drums.tambourine, -9)),
                (90, 132),
            ),
        ),
        ("C G Am F", "C F C G", "Am G F G", "G D Em C"),
        swing=(0.0, 0.3),
        room=(0.3, 1.2),
        squash=0.8,
        record=0.25,
    ),
    "Classical": Style(
        (
            Variant("Chamber Music", ((voices.violin, 0), (accompaniment.piano, -2), (voices.strings, -5)), (66, 112)),
            Variant(
                "Symphony",
                ((voices.strings, 0), (voices.violin, -3), (voices.flute, -7), (drums.timpani, -7)),
                (60, 104),
            ),
        ),
        ("C G Am Em F C F G", "Am Dm G C F Bdim E Am", "C F Bdim C", "Am E Am Dm E"),
        room=(1.2, 2.6),
        wet=0.45,
        squash=0.5,
    ),
    "Jazz": Style(
        (
            Variant(
                "Modern Jazz",
                ((drums.swing_kit, -2), (accompaniment.walking_bass, 0), (accompaniment.comping, -3), (voices.horn, 0)),
                (120, 210),
            ),
            Variant(
                "Big Band/Swing",
                (
                    (drums.swing_kit, 0),
                    (accompaniment.walking_bass, -1),
                    (accompaniment.comping, -2),
                    (voices.horn, -3),
                ),
                (140, 200),
            ),
        ),
        ("Dm7 G7 Cmaj7 A7", "Cmaj7 A7 Dm7 G7", "Bm7b5 E7 Am7 A7", "C7 F7 C7 G7"),
        swing=(0.7, 1.0),
        room=(0.4, 1.2),
        squash=0.8,
        record=0.2,
    ),
    "Old-Time / Historic": Style(
        (
            Variant(None, ((accompaniment.boom_chuck, 0), (voices.fiddle, 0), (accompaniment.banjo, -3)), (100, 132)),
            Variant(None, ((accompaniment.boom_chuck, 0), (accompaniment.banjo, -1), (voices.singing, -2)), (92, 124)),
        ),
        ("G G C G G D G G", "G C G D", "A A D A E E A A", "C F C G"),
        swing=(0.1, 0.5),
        room=(0.2, 0.7),
        wet=0.15,
        squash=0.9,
        record=1.0,
    ),
}


def habits(rng: np.random.Generator) -> Habits:
    """Return an artist's habits, drawn at random."""
    return Habits(int(rng.integers(12)), *rng.uniform(size=8).tolist())


def _today(artist: Habits, rng: np.random.Generator) -> Habits:
    """Return an artist's habits as they are on one track: close to their own, often in another key."""
    key, *numbers = astuple(artist)
    near = np.clip(np.array(numbers) + rng.normal(scale=0.12, size=len(numbers)), 0.0, 1.0)
    return Habits((key + int(rng.choice([0, 0, 0, 2, 5, 7, 9]))) % 12, *near.tolist())


def _span(span: tuple[float, float], where: float) -> float:
    return span[0] + (span[1] - span[0]) * where


def _line_up(genre: str, variant: int, rng: np.random.Generator) -> list[tuple[Part, float]]:
    """Return the parts of one track with their levels in dB: the genre's own, and at times another's."""
    parts = list(STYLES[genre].variants[variant].parts)
    other = STYLES[str(rng.choice([name for name in STYLES if name != genre]))]
    guests = list(other.variants[int(rng.integers(2))].parts)
    rng.shuffle(guests)
    if len(parts) > 2 and rng.random() < _RESTS:
        parts.pop(int(rng.integers(len(parts))))
    kind = rng.random()
    if kind < _FUSIONS:
        half = (len(parts) + 1) // 2
        kept = sorted(rng.permutation(len(parts))[:half])
        return [parts[i] for i in kept] + guests[: max(1, len(parts) - half)]
    if kind < _FUSIONS + _GUESTS:
        parts.append((guests[0][0], -3.0))
    return parts


def play(genre: str, variant: int, artist: Habits, seconds: float, sr: int, rng: np.random.Generator) -> Sound:
    """Return one track, [2, n], its peak between -9 and 0 dB."""
    style, today = STYLES[genre], _today(artist, rng)
    names = style.progressions[int(rng.integers(len(style.progressions)))].split()
    stage = Stage(
        sr=sr,
        n=round(seconds * sr),
        tempo=_span(style.variants[variant].tempo, today.pace),
        swing=_span(style.swing, today.loose),
        pickup=float(rng.uniform(0, 4)),
        chords=[chord(name) for name in names],
        habits=today,
        rng=rng,
    )
    dry = np.zeros((2, stage.n), dtype=np.float32)
    for part, level in _line_up(genre, variant, rng):
        line = part(stage)
        gain = 10.0 ** ((level + rng.normal(scale=1.5)) / 20.0) / max(float(line.std()), 1e-6)
        pan = rng.uniform(-0.35, 0.35)
        dry += np.float32(gain) * line * np.array([[1.0 - pan], [1.0 + pan]], dtype=np.float32)
    return _master(dry, style, stage)


def _master(dry: Sound, style: Style, stage: Stage) -> Sound:
    """Return the mix as it is published: in a room, equalised, compressed, on a record or not."""
    today, rng, sr = stage.habits, stage.rng, stage.sr
    wet = style.wet * (0.3 + 0.9 * today.room)
    answer = sounds.room(_span(style.room, today.room), wet, 2500.0 + 5000.0 * today.bright, sr, rng)
    # Room and equaliser are linear: filtering the short response of the one is filtering all that is heard in it.
    y = sounds.convolve(dry, _equalise(answer, today.bright, sr, rng))
    y = np.tanh(np.float32(0.35 * style.squash / max(float(y.std()), 1e-9)) * y)
    y += np.float32(10.0 ** _span((-4.2, -2.6), today.dirt)) * sounds.noise(y.size, rng).reshape(y.shape)
    old = style.record * today.dirt
    if rng.random() < style.record and old > 0.05:
        dust = sounds.crackle(stage.n, 60.0 * old, sr, rng) + np.float32(0.05) * sounds.noise(stage.n, rng)
        worn = sounds.lowpass(y + np.float32(0.25 * old) * dust, 11000.0 * 0.3**old, sr, 2)
        y = sounds.highpass(worn, 40.0 + 250.0 * old, sr, 2)
    peak = 10.0 ** (-9.0 * rng.random() / 20.0)
    return np.asarray(y * (peak / max(float(np.abs(y).max()), 1e-9)), dtype=np.float32)


def _equalise(y: Sound, bright: float, sr: int, rng: np.random.Generator) -> Sound:
    """Return `y` as this studio likes it: treble, bass and some band between made louder or softer."""
    y = y + np.float32(_span((-0.6, 1.2), bright)) * sounds.highpass(y, 2500.0, sr)
    y = y + np.float32(rng.uniform(-0.6, 0.8)) * sounds.lowpass(y, 180.0, sr)
    centre = float(np.exp(rng.uniform(np.log(250.0), np.log(4000.0))))
    band = sounds.highpass(sounds.lowpass(y, 1.5 * centre, sr), centre / 1.5, sr)
    return y + np.float32(rng.uniform(-0.8, 1.5)) * band
