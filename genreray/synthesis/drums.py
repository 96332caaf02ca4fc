"""Drummers: each part is a function from a stage to one line of sound, [n]."""

from genreray.synthesis import sounds
from genreray.synthesis.sounds import Sound
from genreray.synthesis.stage import Stage


def _kick(stage: Stage, pitch: float, punch: float, length: float, click: float) -> Sound:
    kit = stage.habits.kit
    return stage.once(
        lambda: sounds.kick(pitch * (0.85 + 0.3 * kit), punch, length * (0.7 + 0.6 * kit), click, stage.sr, stage.rng),
        *("kick", pitch, length),
    )


def _snare(stage: Stage, pitch: float, snap: float, length: float) -> Sound:
    kit, bright = stage.habits.kit, stage.habits.bright
    return stage.once(
        lambda: sounds.snare(pitch * (1.2 - 0.4 * kit), snap * (0.7 + 0.3 * bright), length, stage.sr, stage.rng),
        *("snare", pitch, length),
    )


def _cymbal(stage: Stage, length: float, metal: float) -> Sound:
    return stage.once(lambda: sounds.cymbal(length, metal, stage.sr, stage.rng), "cymbal", length, metal)


def backbeat(stage: Stage) -> Sound:
    """Play rock: kick on one and three, a loud snare on two and four, eighths on hat or ride, crashes."""
    line, busy = stage.line(), stage.habits.busy
    kick, snare = _kick(stage, 62.0, 2.5, 0.09, 0.5), _snare(stage, 190.0, 0.75, 0.09)
    hat = _cymbal(stage, 0.25 if stage.habits.dirt > 0.5 else 0.05, 0.3)
    extra = [beat for beat in (1.5, 2.5, 3.5) if stage.chance(0.25 + 0.4 * busy)]
    for count, (bar, _) in enumerate(stage.bars()):
        for beat in (0.0, 2.0, *extra):
            stage.put(line, kick, bar, beat)
        for beat in (1.0, 3.0):
            stage.put(line, snare, bar, beat, 1.1)
        for eighth in range(8):
            stage.put(line, hat, bar, eighth / 2, 0.45 if eighth % 2 else 0.65)
        if count % 2 == 0:
            stage.put(line, _cymbal(stage, 0.7, 0.2), bar, 0.0, 0.7)
        if stage.chance(0.3 * busy):
            for sixteenth in range(8):
                stage.put(line, snare, bar, 2.0 + sixteenth / 4, 0.7)
    return line


def four_on_the_floor(stage: Stage) -> Sound:
    """Play house and techno: a kick on every beat, a clap on two and four, open hats between, sixteenths."""
    line = stage.line()
    kick = _kick(stage, 48.0, 5.0, 0.12, 0.3)
    clap = stage.once(lambda: sounds.clap(0.08, stage.sr, stage.rng), "clap")
    shaker = stage.habits.busy > 0.35
    for bar, _ in stage.bars():
        for beat in range(4):
            stage.put(line, kick, bar, float(beat), 1.3)
            stage.put(line, _cymbal(stage, 0.09, 0.1), bar, beat + 0.5, 0.5)
        for beat in (1, 3):
            stage.put(line, clap, bar, float(beat), 0.8)
        for sixteenth in range(16 if shaker else 0):
            stage.put(line, _cymbal(stage, 0.02, 0.0), bar, sixteenth / 4, 0.25 + 0.1 * (sixteenth % 4 == 2))
    return line


def boom_bap(stage: Stage) -> Sound:
    """Play hip-hop: a heavy swung kick, a dry snare on two and four, few hats."""
    line = stage.line()
    kick, snare = _kick(stage, 50.0, 3.0, 0.14, 0.2), _snare(stage, 170.0, 0.55, 0.06)
    kicks = [0.0, *(beat for beat in (0.75, 1.75, 2.25, 2.5, 3.5) if stage.chance(0.4))]
    for bar, _ in stage.bars():
        for beat in kicks:
            stage.put(line, kick, bar, beat, 1.3)
        for beat in (1.0, 3.0):
            stage.put(line, snare, bar, beat, 1.0)
        for eighth in range(8):
            if stage.chance(0.45 + 0.4 * stage.habits.busy):
                stage.put(line, _cymbal(stage, 0.03, 0.1), bar, eighth / 2, 0.25)
    return line


def trap(stage: Stage) -> Sound:
    """Play half as fast: kick and sub apart, one clap a bar, hats that roll."""
    line = stage.line()
    kick, hat = _kick(stage, 46.0, 4.0, 0.2, 0.3), _cymbal(stage, 0.02, 0.0)
    clap = stage.once(lambda: sounds.clap(0.1, stage.sr, stage.rng), "clap")
    for bar, _ in stage.bars():
        for beat in (0.0, *(b for b in (0.75, 1.25, 2.75, 3.25) if stage.chance(0.4))):
            stage.put(line, kick, bar, beat, 1.2)
        stage.put(line, clap, bar, 2.0, 1.0)
        for eighth in range(8):
            for k in range(int(stage.rng.choice([1, 1, 2, 3]))):
                stage.put(line, hat, bar, eighth / 2 + k / 6, 0.3)
    return line


def swing_kit(stage: Stage) -> Sound:
    """Play jazz: the ride's ding, ding-a-ding, hat on two and four, brushes and a few soft accents."""
    line, busy = stage.line(), stage.habits.busy
    ride, hat = _cymbal(stage, 0.5, 0.5 + 0.5 * stage.habits.kit), _cymbal(stage, 0.04, 0.2)
    brush = _snare(stage, 210.0, 0.95, 0.12)
    for bar, _ in stage.bars():
        for beat in (0.0, 1.0, 1.5, 2.0, 3.0, 3.5):
            stage.put(line, ride, bar, beat, 0.7 if beat in (1.0, 3.0) else 0.5)
        for beat in (1.0, 3.0):
            stage.put(line, hat, bar, beat, 0.4)
        for beat in range(4):
            stage.put(line, brush, bar, float(beat), 0.15)
            if stage.chance(0.35 * busy):
                stage.put(line, _snare(stage, 210.0, 0.6, 0.06), bar, beat + 0.5, 0.35)
            if stage.chance(0.3 * busy):
                stage.put(line, _kick(stage, 70.0, 1.0, 0.08, 0.1), bar, beat + 0.5, 0.4)
    return line


def tambourine(stage: Stage) -> Sound:
    """Keep time by the fire: a soft foot on one and three, a shaken hand in eighths."""
    line = stage.line()
    foot, shake = _kick(stage, 75.0, 0.6, 0.06, 0.1), _cymbal(stage, 0.035, 0.6)
    for bar, _ in stage.bars():
        for beat in (0.0, 2.0):
            stage.put(line, foot, bar, beat)
        for eighth in range(8):
            stage.put(line, shake, bar, eighth / 2, 0.5 if eighth % 4 == 2 else 0.2)
    return line


def _kettledrum(stage: Stage, midi: int) -> Sound:
    pitch = sounds.hertz(midi)
    return stage.once(lambda: sounds.kick(pitch, 0.15, 0.35, 0.02, stage.sr, stage.rng), "kettledrum", midi)


def timpani(stage: Stage) -> Sound:
    """Roll kettledrums on the chord's root at some bars, single strokes at others."""
    line = stage.line()
    for bar, chord in stage.bars():
        drum = _kettledrum(stage, stage.note(chord[0], 40))
        roll = stage.chance(0.35)
        for stroke in range(16 if roll else 1):
            stage.put(line, drum, bar, stroke / 4, 0.3 + 0.04 * stroke if roll else 1.0)
    return line
