"""The table of all searches as people read it: HTML with a plot, Markdown, and JSON for programs."""

from markupsafe import Markup

from genreray import pages, search_plots, storage
from genreray.search_plots import is_share, words
from genreray.tuned import Tuned, TunedModels

HTML_NAME = "tuned.html"
MARKDOWN_NAME = "tuned.md"
JSON_NAME = "tuned.json"


def write(folder_uri: str, tuned: TunedModels) -> None:
    """Write all three forms into the folder; raises UserError where they cannot be written."""
    storage.write_text(storage.join(folder_uri, HTML_NAME), html(tuned))
    storage.write_text(storage.join(folder_uri, MARKDOWN_NAME), markdown(tuned))
    storage.write_json(storage.join(folder_uri, JSON_NAME), tuned.to_json())


def columns(tuned: TunedModels) -> tuple[str, ...]:
    """Return the heads of the table."""
    test = words(tuned.test)
    metric = words(tuned.metric)
    return (
        "architecture",
        f"{metric}, default",
        f"{metric}, tuned",
        f"test {test}, default",
        f"test {test}, tuned",
        "trials",
        "epochs",
        "time",
    )


def cells(row: Tuned, tuned: TunedModels) -> tuple[str, ...]:
    """Return a row as text, in the order of the heads."""
    show = pages.percent if is_share(tuned.metric) else pages.number
    failed = f" ({row.failed} failed)" if row.failed else ""
    return (
        row.name,
        show(row.default.get(tuned.metric)),
        show(row.best.get(tuned.metric)),
        pages.percent(row.default_test.get(tuned.test)),
        pages.percent(row.best_test.get(tuned.test)),
        f"{row.trials:,}{failed}",
        f"{row.epochs:,}",
        f"{row.seconds:,.0f} s",
    )


def caption(tuned: TunedModels) -> str:
    """Return in a few sentences what the numbers are of."""
    better = "higher" if is_share(tuned.metric) else "lower"
    return (
        f"Each architecture's best trial by {words(tuned.metric)} on validation ({better} is better), beside its "
        f"untuned default ({tuned.split_method}). Test was scored when all trials of an architecture were over, and "
        "had no say in the choice of one."
    )


def markdown(tuned: TunedModels) -> str:
    """Return the table in Markdown."""
    heads = columns(tuned)
    rows = [heads, ["---", *["---:"] * (len(heads) - 1)], *(cells(row, tuned) for row in tuned.ranked)]
    lines = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    notes = [f"- {row.name}: {row.error}" for row in tuned.rows if row.error]
    if tuned.missing:
        notes.append(f"- still to come: {', '.join(tuned.missing)}")
    return "\n".join([caption(tuned), "", *lines, *([""] if notes else []), *notes, ""])


def html(tuned: TunedModels) -> str:
    """Return the page."""
    scored = [row for row in tuned.ranked if tuned.metric in row.best]
    return pages.render(
        "tuned.html",
        t=tuned,
        columns=columns(tuned),
        rows=[cells(row, tuned) for row in tuned.ranked],
        best=scored[0].name if scored else None,
        caption=caption(tuned),
        plot=Markup(search_plots.tuned_plot(tuned)) if scored else "",
        failures=[row for row in tuned.rows if row.error],
    )
