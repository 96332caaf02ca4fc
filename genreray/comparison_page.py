"""The table of a comparison as people read it: HTML with a plot, Markdown, and JSON for programs."""

from markupsafe import Markup

from genreray import pages, plots, storage
from genreray.comparison import Comparison, Reported, System

HTML_NAME = "comparison.html"
MARKDOWN_NAME = "comparison.md"
JSON_NAME = "comparison.json"
COLUMNS = ("system", "input", "parameters", "report", "accuracy", "macro F1", "log loss", "top-3", "training")


def write(folder_uri: str, comparison: Comparison) -> None:
    """Write all three forms into the folder."""
    storage.write_text(storage.join(folder_uri, HTML_NAME), html(comparison))
    storage.write_text(storage.join(folder_uri, MARKDOWN_NAME), markdown(comparison))
    storage.write_json(storage.join(folder_uri, JSON_NAME), comparison.to_json())


def cells(system: System) -> tuple[str, ...]:
    """Return the row of a system as text, in the order of COLUMNS."""
    low, high = system.accuracy_interval
    deviation = "" if system.accuracy_deviation is None else f" ±{100 * system.accuracy_deviation:.1f}"
    return (
        system.name,
        system.input,
        f"{system.parameters:,}" if system.parameters else "–",
        reported(system.reported),
        f"{100 * system.accuracy:.1f}{deviation} ({100 * low:.0f} to {100 * high:.0f})",
        pages.number(system.macro_f1),
        pages.number(system.log_loss),
        "–" if system.top3_accuracy is None else f"{100 * system.top3_accuracy:.1f}",
        f"{system.seconds:,.0f} s",
    )


def reported(found: Reported | None) -> str:
    """Return the report's number as it wrote it, a dash where it has none."""
    if found is None:
        return "–"
    return f"{found.accuracy:g} ({found.note})" if found.note else f"{found.accuracy:g}"


def caption(comparison: Comparison) -> str:
    """Return in one sentence what the numbers are of."""
    seeds = max((system.seeds for system in comparison.systems), default=1)
    over = f"mean of {seeds} seeds ± their standard deviation" if seeds > 1 else "of one seed"
    return (
        f"Accuracy in percent on {comparison.n:,} tracks of the {comparison.split} split "
        f"({comparison.split_method}, {len(comparison.genres)} genres; always guessing {comparison.majority_genre} "
        f"gives {100 * comparison.majority_share:.1f}), {over}, and the "
        "95 % bootstrap interval over tracks. The report's numbers are of FMA-medium and a random split."
    )


def markdown(comparison: Comparison) -> str:
    """Return the table in Markdown."""
    rule = ["---", "---", "---:", "---:", "---:", "---:", "---:", "---:", "---:"]
    rows = [COLUMNS, rule, *map(cells, comparison.systems)]
    lines = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    notes = [f"- {failure.name}: {failure.error}" for failure in comparison.failures]
    if comparison.missing:
        notes.append(f"- still to come: {', '.join(comparison.missing)}")
    return "\n".join([caption(comparison), "", *lines, *([""] if notes else []), *notes, ""])


def html(comparison: Comparison) -> str:
    """Return the page."""
    return pages.render(
        "comparison.html",
        c=comparison,
        columns=COLUMNS,
        rows=[cells(system) for system in comparison.systems],
        caption=caption(comparison),
        plot=Markup(plots.comparison_plot(comparison.systems)) if comparison.systems else "",
    )
