"""The report's curves, each an SVG element to stand inside an HTML page and take its colours and font from it."""

import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from markupsafe import escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from genreray.comparison import System
from genreray.metrics import CalibrationBin, Scores
from genreray.multilabel_metrics import MultiLabelScores

# Each colour is drawn as its light value, then made the page's variable, so that a dark page has light curves.
INK, SOFT, LINE = "#1b1f24", "#59636e", "#dfe3e8"
ACCENT, WARM, GREY = "#1a6bb0", "#c04a12", "#98a2ad"
_VARIABLES = {INK: "ink", SOFT: "soft", LINE: "line", ACCENT: "accent", WARM: "warm", GREY: "grey"}

STYLE: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text: selectable, and in the page's font
    "svg.hashsalt": "genreray",  # the same scores give the same bytes
    "text.usetex": False,
    "text.parse_math": False,  # names may hold dollars
    "font.family": ["DejaVu Sans"],
    "font.size": 10.5,
    "text.color": INK,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.xmargin": 0.03,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "legend.frameon": False,
    "legend.borderpad": 0.0,
    "legend.handlelength": 1.4,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.0,
}
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
SIZE = (5.4, 3.5)  # inches; narrow, so that the text is still legible at the width of a telephone
WIDE = 8.0
_TALL = (SIZE[0], 4.4)
_MOST_MARKED = 40
_LETTER = 0.011  # width of one beside a point, of the plot's
_FEWEST_TRACKS = 10  # the coverage curve's left end is noise below this


def training_curve(history: Sequence[Mapping[str, Any]], quantity: str, best_epoch: int | None) -> str:
    """Plot `quantity` (such as "loss" or "accuracy") of training and validation by epoch, `best_epoch` marked."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.subplots()
        epochs = [epoch["epoch"] for epoch in history]
        marker = "o" if len(epochs) <= _MOST_MARKED else None
        for part, colour in (("training", GREY), ("validation", ACCENT)):
            values = [finite(epoch.get(f"{part}_{quantity}")) for epoch in history]
            if not all(map(math.isnan, values)):
                axes.plot(epochs, values, color=colour, marker=marker, label=part)
        if best_epoch is not None:
            axes.axvline(best_epoch, color=WARM, linewidth=1.1, linestyle=(0, (4, 3)), label="epoch kept")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_xlabel("epoch")
        if quantity == "accuracy":
            percent_axis(axes, "y")
        legend(axes)
        return svg(figure, f"training-{quantity}", f"{quantity.replace('_', ' ')} of training and validation by epoch")


def reliability_diagram(scores: Scores) -> str:
    """Plot accuracy against confidence in each calibration bin, over a histogram of the confidences."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=_TALL, layout="constrained")
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3.4, 1))
        bins = [bin for bin in scores.calibration if bin.tracks]
        confidences = [finite(bin.confidence) for bin in bins]
        accuracies = [finite(bin.accuracy) for bin in bins]
        intervals = [_wilson(bin) for bin in bins]
        top.plot([0, 1], [0, 1], color=GREY, linewidth=1.2, linestyle=(0, (4, 3)), label="calibrated")
        top.vlines(confidences, *zip(*intervals, strict=True), color=ACCENT, linewidth=1.1)
        top.plot(
            confidences, accuracies, "o", color=ACCENT, markersize=5.5, label="tracks of a bin, 95\u202f% interval"
        )
        top.set(xlim=(0, 1), ylim=(-0.02, 1.02), ylabel="accuracy")
        legend(top)
        width = scores.calibration[0].high - scores.calibration[0].low
        bottom.bar([bin.low for bin in bins], [bin.tracks for bin in bins], width * 0.92, align="edge", color=GREY)
        bottom.yaxis.set_major_locator(MaxNLocator(2, integer=True))
        bottom.grid(False, axis="x")
        bottom.set(xlabel="confidence", ylabel="tracks")
        percent_axis(top, "y")
        percent_axis(bottom, "x")
        return svg(figure, "reliability", "accuracy against confidence, with a histogram of confidence")


def confidence_histogram(tracks: Sequence[int], marks: Mapping[str, float]) -> str:
    """Plot how many tracks have which confidence, in equal bins from 0 to 1, with lines at some, by what they mean."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.subplots()
        width = 1 / len(tracks)
        axes.bar([i * width for i in range(len(tracks))], tracks, width * 0.92, align="edge", color=ACCENT)
        for (label, place), dashes in zip(marks.items(), ((4, 3), (1, 2)), strict=False):
            axes.axvline(place, color=WARM, linewidth=1.1, linestyle=(0, dashes), label=label)
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:,.0f}"))
        axes.grid(False, axis="x")
        axes.set(xlim=(0, 1), xlabel="confidence", ylabel="tracks")
        percent_axis(axes, "x")
        if marks:
            legend(axes)
        return svg(figure, "confidences", "number of tracks by confidence")


def coverage_curve(scores: Scores, wanted: float | None = None) -> str:
    """Plot the accuracy that is had when only the surest tracks are labelled, against their share.

    Where that has the accuracy `wanted`, if one is given, is marked.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=_TALL, layout="constrained")
        axes = figure.subplots()
        points = [point for point in scores.coverage if point.coverage * scores.n >= _FEWEST_TRACKS]
        points = points or list(scores.coverage)
        marker = "o" if len(points) < _MOST_MARKED else None
        coverages, accuracies = [p.coverage for p in points], [p.accuracy for p in points]
        axes.plot(coverages, accuracies, color=ACCENT, marker=marker, label="surest tracks labelled")
        axes.axhline(scores.majority_share, color=GREY, linewidth=1.2, linestyle=(0, (4, 3)), label="majority guess")
        if wanted is not None and (point := scores.at_accuracy(wanted)) is not None:
            axes.plot(point.coverage, point.accuracy, "D", color=WARM, markersize=6, label="as wanted")
        axes.set(xlim=(0, 1.02), ylim=(0, 1.03), xlabel="share of the tracks labelled", ylabel="accuracy")
        percent_axis(axes, "x")
        percent_axis(axes, "y")
        legend(axes)
        return svg(figure, "coverage", "accuracy against the share of tracks labelled")


def precision_by_share(scores: MultiLabelScores, top_level: Sequence[str]) -> str:
    """Plot each genre's average precision against its share of the tracks, and what an order by chance would have."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDE, 4.6), layout="constrained")
        axes = figure.subplots()
        at_top: list[tuple[float, float, str]] = []
        below: list[tuple[float, float, str]] = []
        for genre in scores.per_genre:
            if genre.average_precision is not None:
                point = (genre.support / scores.n, genre.average_precision, genre.genre)
                (at_top if genre.genre in top_level else below).append(point)
        least = min(share for share, *_ in at_top + below)
        chance = np.geomspace(least, 1, 50)
        axes.plot(chance, chance, color=GREY, linewidth=1.2, linestyle=(0, (4, 3)), label="order by chance")
        for points, colour, size, name in ((below, GREY, 3.5, "subgenres"), (at_top, ACCENT, 5.5, "top-level genres")):
            if points:
                shares, precisions, _ = zip(*points, strict=True)
                axes.plot(shares, precisions, "o", color=colour, markersize=size, label=name if below else "genres")
        for share, precision, name in _apart(at_top, least):
            axes.annotate(name, (share, precision), (5, 4), textcoords="offset points", fontsize=9, color=SOFT)
        axes.set_xscale("log")
        axes.set(ylim=(-0.02, 1.03), xlabel="share of the tracks", ylabel="average precision")
        percent_axis(axes, "x")
        legend(axes)
        return svg(figure, "precision-by-share", "average precision of each genre against its share of the tracks")


def _apart(points: Sequence[tuple[float, float, str]], least: float) -> list[tuple[float, float, str]]:
    """Return the points (share, precision, name) whose names have room, the most frequent genres first."""
    width, height = -math.log(least) or 1.0, 0.05  # of the plot, in log shares, and of a line
    chosen: list[tuple[float, float, str]] = []
    for share, precision, name in sorted(points, reverse=True):
        left = math.log(share)
        overlaps = (
            abs(precision - other) < height
            and math.log(place) < left + (len(name) + 1) * _LETTER * width
            and left < math.log(place) + (len(label) + 1) * _LETTER * width
            for place, other, label in chosen
        )
        if not any(overlaps):
            chosen.append((share, precision, name))
    return chosen


def comparison_plot(systems: Sequence[System]) -> str:
    """Plot each system's accuracy with its interval, first at the top, and the report's number beside it."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDE, 1.1 + 0.34 * len(systems)), layout="constrained")
        axes = figure.subplots()
        for place, system in enumerate(systems):
            low, high = system.accuracy_interval
            axes.plot([low, high], [place, place], color=ACCENT)
            first = "here, with its 95 % interval" if place == 0 else None
            axes.plot(system.accuracy, place, "o", color=ACCENT, markersize=6, label=first)
        told = [(place, system.reported.accuracy) for place, system in enumerate(systems) if system.reported]
        if told:
            places, accuracies = zip(*told, strict=True)
            axes.plot(accuracies, places, "D", color=WARM, markersize=5, fillstyle="none", label="in the report")
        axes.set_yticks(range(len(systems)), [system.name for system in systems])
        axes.set_ylim(len(systems) - 0.5, -0.5)
        axes.set_xlim(0, 1)
        axes.set_xlabel("accuracy")
        percent_axis(axes, "x")
        figure.legend(loc="outside lower center", ncols=2)
        return svg(figure, "comparison", "accuracy of each system with its 95 % interval")


def finite(value: float | None) -> float:
    """Return a number that matplotlib leaves out where there is none."""
    return float(value) if value is not None and math.isfinite(value) else math.nan


def _wilson(bin: CalibrationBin, z: float = 1.96) -> tuple[float, float]:
    """Return the 95 % interval of a bin's accuracy, Wilson (1927)."""
    n, p = bin.tracks, bin.accuracy or 0.0
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return centre - half, centre + half


def percent_axis(axes: Axes, which: str) -> None:
    """Label the axis x or y, of shares, in percent."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(FuncFormatter(lambda share, _: f"{round(100 * share, 2):g}\u202f%"))


def legend(axes: Axes, columns: int = 3) -> None:
    """Put the legend above the plot, where it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.legend(handles, labels, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=columns, columnspacing=1.4)


def svg(figure: Figure, name: str, description: str) -> str:
    """Return `figure` as an <svg> element: sized by the page, its ids made unique by `name`."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata=_NO_METADATA)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]  # an XML declaration and a DTD's address have no place in HTML
    text = re.sub(r"<(style|metadata)\b.*?</\1>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'\b(id="|url\(#|href="#)', rf"\g<1>{name}-", text)
    text = text.replace("'DejaVu Sans'", "var(--sans, sans-serif)")
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var(--{variable}, {colour})")
    viewbox = re.search(r'viewBox="[^"]*"', text)
    assert viewbox is not None
    head = f'<svg {viewbox[0]} role="img" aria-label="{escape(description)}">'
    return re.sub(r"<svg\b[^>]*>", lambda _: head, text, count=1).replace("xlink:href", "href").strip()
