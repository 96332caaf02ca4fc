"""One track on one screen, and as a picture: the genres with bars, and how they change over time."""

import io
import warnings
from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from genreray import storage
from genreray.errors import UserError
from genreray.inspection import Inspection

_SHOWN = 5  # genres
_BAR = 30  # characters of a probability of 1
_LEVELS, _LEVELS_ASCII = " ▁▂▃▄▅▆▇█", " .:-=+*#@"
_HERTZ = (64, 256, 512, 1024, 2048, 4096, 8192, 16384)
_PNG = ".png"


def show(found: Inspection, console: Console) -> None:
    """Print the screen: of a file that cannot be used, its status and the reason."""
    facts = {"track": found.uri, "status": found.status}
    if found.error is not None:
        facts["reason"] = found.error
    else:
        facts["decoded"] = f"{sum(clip.duration for clip in found.clips):.1f} s{_where(found)}"
    facts["checkpoint"] = f"{found.checkpoint} ({found.settings.model}, {found.fingerprint})"
    for name, value in facts.items():
        console.print(f"{name:<10}  {value}", markup=False, soft_wrap=True)
    if found.is_broken:
        return
    console.print()
    console.print(_genres(found, console))
    if len(found.starts) > 1:
        console.print()
        console.print(_over_time(found, console))


def _where(found: Inspection) -> str:
    first = found.clips[0]
    if len(found.clips) > 1:
        return f", {len(found.clips)} clips of {first.duration:.1f} s spread over the track"
    return "" if first.duration < found.settings.features.duration else ", the middle of what is longer"


def _genres(found: Inspection, console: Console) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("genre", overflow="fold")
    table.add_column("probability", justify="right")
    table.add_column("")
    limits = found.settings.thresholds
    if limits:
        table.add_column("given")
    full = "#" if console.options.ascii_only else "█"
    for genre in _shown(found):
        value = found.probabilities[genre]
        given = ["yes" if value >= limits[genre] else f"from {limits[genre]:.1%} on"] if limits else []
        table.add_row(Text(genre), f"{value:.1%}", Text(full * round(_BAR * value), "blue"), *given)
    return table


def _over_time(found: Inspection, console: Console) -> Table:
    """Return a line of the probabilities over time for each of the top genres, a sign a window, higher for more.

    Between two clips, of which nothing was decoded, is a bar.
    """
    levels = _LEVELS_ASCII if console.options.ascii_only else _LEVELS
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    ends = f"{found.starts[0]:.1f} s", f"{found.starts[-1] + found.window_seconds:.1f} s"
    n, gap = len(found.starts), "|" if console.options.ascii_only else "│"
    width = n + len(found.clips) - 1
    table.add_column(f"{n} windows of {found.window_seconds:.1f} s", overflow="fold")
    table.add_column(f"{ends[0]} {ends[1]:>{max(1, width - len(ends[0]) - 1)}}", overflow="fold")
    table.add_column("least", justify="right")
    table.add_column("most", justify="right")
    for genre in _shown(found):
        values = found.windows[:, found.settings.genres.index(genre)]
        signs = [levels[min(int(value * len(levels)), len(levels) - 1)] for value in values]
        of_clip = n // len(found.clips)
        line = gap.join("".join(signs[i : i + of_clip]) for i in range(0, n, of_clip))
        table.add_row(Text(genre), Text(line, "blue"), f"{values.min():.0%}", f"{values.max():.0%}")
    return table


def _shown(found: Inspection) -> Sequence[str]:
    return list(found.probabilities)[:_SHOWN]


def check_picture(uri: str | None) -> None:
    """Raise UserError where the picture's name is none of a PNG."""
    if uri is not None and not uri.lower().endswith(_PNG):
        raise UserError(f"{uri} is no name of a picture: give one that ends in {_PNG}")


def write_picture(found: Inspection, uri: str) -> None:
    """Write a PNG: the log-mel, and below it the probabilities of the top genres over time.

    Raises UserError where it cannot be written.
    """
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure  # takes a second, which --help should not cost

    figure = Figure(figsize=(9, 5.6), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1.5, 1))
    config = found.settings.features
    bands = (-0.5, config.n_mels - 0.5)
    loudest = max(clip.mel_ref for clip in found.clips)
    scale = Normalize(loudest - config.top_db, loudest)
    for clip in found.clips:
        decibels = clip.mel_ref + (clip.mel / np.float32(255) - 1) * config.top_db
        extent = (clip.start, clip.start + clip.duration, *bands)
        image = top.imshow(decibels, origin="lower", aspect="auto", cmap="magma", norm=scale, extent=extent)
    figure.colorbar(image, ax=top, label="dB")
    ticks = [hertz for hertz in _HERTZ if hertz < config.sr / 2]
    top.set_yticks(_bands(ticks, config.n_mels, config.sr), [str(hertz) for hertz in ticks])
    top.set(ylabel="Hz", ylim=bands, title=_title(found))
    n_clips = len(found.clips)
    middles = (found.starts + found.window_seconds / 2).reshape(n_clips, -1)
    gaps = np.full((n_clips, 1), np.nan)  # where lines are broken
    for genre in _shown(found):
        values = found.windows[:, found.settings.genres.index(genre)].reshape(n_clips, -1)
        points = (np.hstack([part, gaps]).ravel() for part in (middles, values))
        bottom.plot(*points, marker="o" if values.shape[1] == 1 else None, label=genre.replace("$", r"\$"))
    ends = (found.clips[0].start, found.clips[-1].start + found.clips[-1].duration)
    bottom.set(xlim=ends, ylim=(0, 1.02), xlabel="s, middle of each window", ylabel="probability")
    bottom.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=_SHOWN, frameon=False, fontsize="small")
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # a name in letters that its font lacks
        figure.savefig(buffer, format="png", dpi=120)
    storage.write_bytes(uri, buffer.getvalue())


def _title(found: Inspection) -> str:
    name = found.uri.rstrip("/").rpartition("/")[2]
    return (name if len(name) <= 80 else f"{name[:79]}…").replace("$", r"\$")  # else mathematics


def _bands(hertz: Sequence[float], n_mels: int, sr: int) -> list[float]:
    """Return the mel band, counted from 0, in whose middle each frequency lies, Slaney's scale as in the features."""
    import librosa

    edges = librosa.mel_frequencies(n_mels=n_mels + 2, fmin=0, fmax=sr / 2)
    return [float(np.interp(value, edges[1:-1], np.arange(n_mels))) for value in hertz]
