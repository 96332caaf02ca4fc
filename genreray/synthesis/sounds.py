"""Sounds made from numbers alone: tones, plucked strings, drums and effects, for the generated catalog."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy.signal

Sound = npt.NDArray[np.float32]  # mono, [n]

_TABLE = 16384  # samples in a wavetable: so long that no interpolation is needed


@dataclass(frozen=True)
class Timbre:
    """How an instrument sounds: its spectrum, and how a note begins, lasts and ends.

    `slope` is the power by which harmonics fall, `even` the gain of the even ones, `formants` resonances as
    (Hz, width in Hz, gain). `decay` is the time constant of a struck note, infinite for one that is held.
    Times are in seconds, `vibrato` in semitones, `detune` in cents between the two voices of a chorus.
    """

    slope: float = 1.0
    even: float = 1.0
    formants: tuple[tuple[float, float, float], ...] = ()
    attack: float = 0.005
    decay: float = np.inf
    release: float = 0.03
    shine: float = 0.0  # seconds in which the brightness of the attack fades
    vibrato: float = 0.0
    detune: float = 0.0


def hertz(midi: float) -> float:
    """Return the frequency of a MIDI note number, A4 = 69 = 440 Hz."""
    return float(440.0 * 2.0 ** ((midi - 69.0) / 12.0))


def clock(seconds: float, sr: int) -> Sound:
    """Return the times in seconds, [n], of a sound so long; at least one sample."""
    return np.arange(max(1, round(seconds * sr)), dtype=np.float32) / np.float32(sr)


def noise(n: int, rng: np.random.Generator) -> Sound:
    """Return white noise, [n]: uniform, as it sounds like normal noise and is made four times as fast."""
    return rng.random(n, dtype=np.float32) * np.float32(2.0) - np.float32(1.0)


@lru_cache(maxsize=256)
def _butterworth(kind: str, order: int, cutoff: float, sr: int) -> npt.NDArray[np.float64]:
    """Return the sections of a filter; designing one takes longer than filtering a note with it."""
    sections: npt.NDArray[np.float64] = scipy.signal.butter(order, min(cutoff, 0.45 * sr), kind, fs=sr, output="sos")
    return sections


def lowpass(y: Sound, cutoff: float, sr: int, order: int = 1) -> Sound:
    """Return `y` with what lies above `cutoff` (Hz) weakened by 6 dB an octave and order."""
    return np.asarray(scipy.signal.sosfilt(_butterworth("lowpass", order, cutoff, sr), y), dtype=np.float32)


def highpass(y: Sound, cutoff: float, sr: int, order: int = 1) -> Sound:
    """Return `y` with what lies below `cutoff` (Hz) weakened by 6 dB an octave and order."""
    return np.asarray(scipy.signal.sosfilt(_butterworth("highpass", order, cutoff, sr), y), dtype=np.float32)


def envelope(n: int, sr: int, attack: float, decay: float, release: float) -> Sound:
    """Return the loudness of a note, [n]: rising, then falling or held, and let go at the end."""
    t = np.arange(n, dtype=np.float32) / np.float32(sr)
    left = (n - 1) / sr - t
    gain = np.minimum(1.0, t / max(attack, 1e-4)) * np.minimum(1.0, left / max(release, 1e-4))
    if np.isfinite(decay):
        gain *= np.exp(-t / decay)
    return np.asarray(gain, dtype=np.float32)


def _wavetable(freq: float, sr: int, slope: float, timbre: Timbre) -> Sound:
    """Return one period with every harmonic that the sample rate can hold, [_TABLE], of RMS 0.25."""
    k = np.arange(1, min(400, max(1, int(0.45 * sr / freq))) + 1)
    amplitude = k.astype(float) ** -slope
    amplitude[1::2] *= timbre.even
    if timbre.formants:
        f = k * freq
        amplitude *= 0.03 + sum(gain * np.exp(-(((f - c) / width) ** 2)) for c, width, gain in timbre.formants)
    spectrum = np.zeros(_TABLE // 2 + 1, dtype=complex)
    spectrum[1 : k.size + 1] = -1j * amplitude
    table = np.fft.irfft(spectrum)
    return np.asarray(table * (0.25 / max(float(table.std()), 1e-12)), dtype=np.float32)


def _read(table: Sound, phase: npt.NDArray[np.float64]) -> Sound:
    """Return the table at `phase`, [n] in periods."""
    return table.take((phase * _TABLE).astype(np.int64) & (_TABLE - 1))


def tone(freq: float, seconds: float, timbre: Timbre, sr: int, slide: float = 0.0) -> Sound:
    """Return one note of a periodic instrument, [n]; it begins `slide` semitones off its pitch."""
    t = clock(seconds, sr)
    phase = freq * np.arange(t.size) / sr
    if timbre.vibrato:
        depth = freq * timbre.vibrato * np.log(2.0) / 12.0 / (2 * np.pi * 5.3)
        phase = phase + depth * np.minimum(1.0, t / 0.35) * (1.0 - np.cos(2 * np.pi * 5.3 * t))
    if slide:
        phase = phase + freq * slide * np.log(2.0) / 12.0 * 0.05 * (1.0 - np.exp(-t / 0.05))
    y = _read(_wavetable(freq, sr, timbre.slope, timbre), phase)
    if timbre.detune:
        table = _wavetable(freq, sr, timbre.slope, timbre)
        y = 0.7 * (y + _read(table, phase * 2.0 ** (timbre.detune / 1200.0) + 0.37))
    if timbre.shine:
        fade = np.exp(-t / timbre.shine)
        y = y * fade + _read(_wavetable(freq, sr, timbre.slope + 1.2, timbre), phase) * (1.0 - fade)
    return np.asarray(y * envelope(t.size, sr, timbre.attack, timbre.decay, timbre.release), dtype=np.float32)


def pluck(freq: float, seconds: float, bright: float, ring: float, sr: int, rng: np.random.Generator) -> Sound:
    """Return a plucked string, [n]: `bright` 0..1 is the plectrum, `ring` 0..1 how long it sounds.

    Karplus and Strong, 1983: a burst of noise goes round a loop, averaged with its neighbour each time. The
    average delays by half a sample, so that the loop is half a sample shorter than the period.
    """
    n, loop = max(1, round(seconds * sr)), max(4, round(sr / freq - 0.5))
    burst = lowpass(noise(loop, rng), 800.0 * 20.0**bright, sr)
    loss = np.float32(0.5 * (0.965 + 0.034 * ring) ** (110.0 / freq) ** 0.5)
    y = np.zeros(1 + n + loop, dtype=np.float32)
    y[1 : 1 + loop] = burst - burst.mean()
    for start in range(1 + loop, n + 1, loop):
        y[start : start + loop] = loss * (y[start - loop : start] + y[start - loop - 1 : start - 1])
    return y[1 : n + 1] * envelope(n, sr, 0.001, np.inf, 0.02)


def bell(freq: float, seconds: float, ratios: npt.NDArray[np.float64], decay: float, sr: int) -> Sound:
    """Return struck metal, [n]: partials at `ratios` of `freq`, the higher the shorter."""
    t = clock(seconds, sr)
    y = np.zeros_like(t)
    for i, f in enumerate(freq * ratios):
        if f < 0.45 * sr:
            y += np.sin(2 * np.pi * np.float32(f) * t) * np.exp(-t * (1.0 + 0.5 * i) / decay) / (1.0 + 0.4 * i)
    return np.asarray(y * envelope(t.size, sr, 0.002, np.inf, 0.05), dtype=np.float32)


def kick(pitch: float, punch: float, length: float, click: float, sr: int, rng: np.random.Generator) -> Sound:
    """Return a bass drum, [n]: a sine that falls to `pitch` (Hz) from (1 + `punch`) times it."""
    t = clock(5 * length, sr)
    phase = pitch * (t + punch * 0.025 * (1.0 - np.exp(-t / 0.025)))
    y = np.sin(2 * np.pi * phase) * envelope(t.size, sr, 0.001, length, 0.02)
    return np.asarray(y + click * noise(t.size, rng) * np.exp(-t / 0.004), dtype=np.float32)


def snare(pitch: float, snap: float, length: float, sr: int, rng: np.random.Generator) -> Sound:
    """Return a snare drum, [n]: a skin at `pitch` (Hz) and wires, `snap` 0..1 of them."""
    t = clock(5 * length, sr)
    skin = np.sin(2 * np.pi * pitch * t) + 0.6 * np.sin(2 * np.pi * 1.83 * pitch * t)
    wires = highpass(noise(t.size, rng), 1200.0, sr, 2) * np.exp(-t / length)
    return np.asarray(0.5 * (1.0 - snap) * skin * np.exp(-t / 0.06) + 1.2 * snap * wires, dtype=np.float32)


def clap(length: float, sr: int, rng: np.random.Generator) -> Sound:
    """Return hands, [n]: three short bursts and a tail."""
    t = clock(5 * length, sr)
    gain = sum(np.exp(-(t - start) / 0.006) * (t >= start) for start in (0.0, 0.011, 0.023))
    gain = gain + np.exp(-(t - 0.03) / length) * (t >= 0.03)
    return lowpass(highpass(noise(t.size, rng) * gain.astype(np.float32), 900.0, sr, 2), 5000.0, sr)


def cymbal(length: float, metal: float, sr: int, rng: np.random.Generator) -> Sound:
    """Return a hat (0.03 s), ride or crash (1 s), [n]: noise above, and `metal` 0..1 of clanging partials."""
    t = clock(5 * length, sr)
    y = highpass(noise(t.size, rng), 6000.0, sr, 2)
    for f in np.exp(rng.uniform(np.log(2500.0), np.log(min(9000.0, 0.4 * sr)), size=7)):
        y += np.float32(0.15 * metal) * np.sin(2 * np.pi * np.float32(f) * t) * np.exp(-t / (0.5 * length))
    return np.asarray(y * np.exp(-t / length) * envelope(t.size, sr, 0.001, np.inf, 0.01), dtype=np.float32)


def overdrive(y: Sound, drive: float, sr: int) -> Sound:
    """Return `y` through an amplifier driven `drive` times too hard, and its loudspeaker."""
    level = max(float(np.sqrt(np.mean(y * y))), 1e-9)
    return lowpass(highpass(np.tanh(y * np.float32(drive / level)), 90.0, sr), 4500.0, sr, 2)


def room(seconds: float, wet: float, damp: float, sr: int, rng: np.random.Generator) -> Sound:
    """Return the answer of a room to one click, [2, n]: the click, then noise `wet` times as loud in all.

    The noise falls by 60 dB in `seconds`, as reverberation time is defined; `damp` (Hz) is its top.
    """
    t = clock(seconds, sr)
    tail = lowpass(noise(2 * t.size, rng).reshape(2, t.size), damp, sr) * np.exp(-6.9 * t / np.float32(seconds))
    answer = np.float32(wet) * tail / np.sqrt(np.sum(tail * tail, axis=1, keepdims=True))
    answer[:, 0] += 1.0
    return np.asarray(answer, dtype=np.float32)


def convolve(y: Sound, answer: Sound) -> Sound:
    """Return what the impulse response [2, m] makes of `y`, [2, n], cut to its length."""
    return np.asarray(scipy.signal.oaconvolve(y, answer, axes=1)[:, : y.shape[1]], dtype=np.float32)


def crackle(n: int, per_second: float, sr: int, rng: np.random.Generator) -> Sound:
    """Return the dust of a record, [n]: clicks of any loudness at random times."""
    y = np.zeros(n, dtype=np.float32)
    count = max(1, int(per_second * n / sr))
    y[rng.integers(n, size=count)] = rng.normal(size=count) ** 3
    return lowpass(y, 5000.0, sr)
