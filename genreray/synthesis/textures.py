"""Sounds without beat or key: each part is a function from a stage to one line of sound, [n]."""

import numpy as np

from genreray.synthesis import sounds
from genreray.synthesis.sounds import Sound, Timbre
from genreray.synthesis.stage import Stage


def noise_wash(stage: Stage) -> Sound:
    """Let noise of one colour after another come and go, as wind or a radio between stations does."""
    line, rng = stage.line(), stage.rng
    hiss = sounds.noise(stage.n, rng)
    t = np.linspace(0.0, stage.n / stage.sr, stage.n, dtype=np.float32)
    for centre in np.exp(rng.uniform(np.log(150.0), np.log(7000.0), size=4)):
        band = sounds.highpass(sounds.lowpass(hiss, 1.3 * centre, stage.sr, 2), 0.7 * centre, stage.sr, 2)
        gain = np.sin(np.pi * np.float32(rng.uniform(0.1, 0.6)) * t + np.float32(rng.uniform(0, 6))) ** 2
        line += band * gain / max(float(band.std()), 1e-9)
    return line


def glitches(stage: Stage) -> Sound:
    """Scatter clicks, bursts and stutters with no beat at all."""
    line, rng = stage.line(), stage.rng
    for _ in range(int(stage.n / stage.sr * (1.5 + 5 * stage.habits.busy))):
        n = int(stage.sr * np.exp(rng.uniform(np.log(0.01), np.log(0.25))))
        cutoff = float(np.exp(rng.uniform(np.log(300.0), np.log(9000.0))))
        burst = sounds.lowpass(sounds.noise(n, rng), cutoff, stage.sr, 2) * np.linspace(1, 0, n, dtype=np.float32)
        start, gap = rng.uniform(0, stage.n / stage.sr), rng.uniform(0.04, 0.15)
        for k in range(int(rng.choice([1, 1, 1, 4, 8]))):
            seconds = start + k * gap
            stage.put(line, burst, 0.0, seconds * stage.tempo / 60.0, float(rng.uniform(0.2, 1.0)))
    return line


def drone(stage: Stage) -> Sound:
    """Hold a cluster that belongs to no key, each voice beating at its own pace."""
    line, rng = stage.line(), stage.rng
    t = sounds.clock(stage.n / stage.sr, stage.sr)[: stage.n]
    base = stage.habits.key + 33
    for _ in range(5):
        freq = sounds.hertz(base + rng.uniform(0, 36))
        timbre = Timbre(slope=rng.uniform(0.8, 2.2), even=rng.uniform(0, 1), attack=0.3, detune=rng.uniform(5, 50))
        gain = 0.6 + 0.4 * np.sin(2 * np.pi * np.float32(rng.uniform(0.05, 0.8)) * t + np.float32(rng.uniform(0, 6)))
        line += sounds.tone(freq, stage.n / stage.sr, timbre, stage.sr)[: stage.n] * gain
    return line


def bells(stage: Stage) -> Sound:
    """Strike metal of no scale at times of no beat."""
    line, rng = stage.line(), stage.rng
    ratios = np.sort(rng.uniform(1.0, 7.0, size=6))
    for _ in range(int(stage.n / stage.sr * (0.5 + 1.5 * stage.habits.busy))):
        freq, decay = sounds.hertz(rng.uniform(50, 86)), rng.uniform(0.4, 2.0)
        start = rng.uniform(-1.0, stage.n / stage.sr)
        struck = sounds.bell(freq, 3 * decay, ratios, decay, stage.sr)
        stage.put(line, struck, 0.0, start * stage.tempo / 60.0, float(rng.uniform(0.3, 1.0)))
    return line
