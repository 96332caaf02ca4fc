"""The one screen that ends every job, and the same as summary.json."""

import dataclasses
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from genreray import storage
from genreray.errors import FileOutcome, Status

if TYPE_CHECKING:
    from genreray.comparison import Comparison

TOO_MANY_FAILED = 1  # exit code
# What a file stays without that it should have got.
_NOT_DONE = frozenset([FileOutcome.CHANGED, FileOutcome.READ_ONLY, FileOutcome.UNSUPPORTED, FileOutcome.FAILED])

_WIDE = 140  # characters that all columns of a comparison need


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a job did, for people and for programs."""

    job: str
    output: str
    seconds: float
    counts: Mapping[str, int]  # tracks per status
    facts: Mapping[str, Any]  # what else is worth knowing, by name, in plain values

    @property
    def failed(self) -> int:
        """Return how many tracks have another status than ok."""
        return sum(n for status, n in self.counts.items() if status != Status.OK.value)

    def to_json(self) -> dict[str, Any]:
        """Return the summary as plain values."""
        return {
            "job": self.job,
            "output": self.output,
            "seconds": round(self.seconds, 3),
            "counts": dict(self.counts),
            **self.facts,
        }

    def write(self, uri: str) -> None:
        """Write summary.json."""
        storage.write_json(uri, self.to_json())

    def show(self, console: Console) -> None:
        """Print the screen."""
        console.print()
        if self.counts:
            console.print(_status_table(self.counts))
        facts = {**self.facts, "took": f"{self.seconds:.1f} s", "output": self.output}
        width = max(map(len, facts))
        for name, value in facts.items():  # lines, not a table: a path must not be broken to be copied
            console.print(f"{name.replace('_', ' '):<{width}}  {_text(value)}", markup=False, soft_wrap=True)


def finish(summary: Summary, uri: str, console: Console, max_failed: float | None = None) -> int:
    """Show and write the summary and return the exit code."""
    summary.write(uri)
    summary.show(console)
    total = sum(summary.counts.values())
    if max_failed is not None and summary.failed > max_failed * total:
        worst = next(status for status in summary.counts if status != Status.OK.value)
        print(
            f"genreray: {summary.failed:,} of {total:,} tracks failed (most: {worst}), more than --max-failed "
            f"{max_failed:g} allows; the output holds a row for each, with its error",
            file=sys.stderr,
        )
        return TOO_MANY_FAILED
    return 0


def finish_files(counts: Mapping[str, int], max_failed: float, table: str) -> int:
    """Return the exit code of a job that changed so many files per outcome, with a line where it is not 0."""
    failed = sum(n for outcome, n in counts.items() if outcome in _NOT_DONE)
    total = sum(counts.values())
    if failed <= max_failed * total:
        return 0
    worst = next(outcome for outcome in counts if outcome in _NOT_DONE)
    print(
        f"genreray: {failed:,} of {total:,} files were not changed (most: {worst}); {table} has a row for each, with "
        "its reason",
        file=sys.stderr,
    )
    return TOO_MANY_FAILED


def _status_table(counts: Mapping[str, int]) -> Table:
    total = sum(counts.values())
    table = Table(box=None, padding=(0, 2), pad_edge=False)
    table.add_column("status")
    table.add_column("tracks", justify="right")
    table.add_column("share", justify="right")
    for status, n in counts.items():
        table.add_row(status, f"{n:,}", f"{n / total:.1%}")
    table.add_row("all", f"{total:,}", "")
    return table


def _text(value: Any) -> str:
    if isinstance(value, float):
        if 0 < abs(value) < 0.01:  # a learning rate
            return f"{value:.3g}"
        return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_item(item)}" for name, item in value.items()) or "none"
    return ", ".join(map(_text, value)) if isinstance(value, list) else str(value)


def _item(value: Any) -> str:
    """Return a value among others, where a list's own commas would not be told from those between them."""
    return "-".join(map(_text, value)) if isinstance(value, list) else _text(value)


def show_table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    console: Console,
    *,
    left: Collection[str] = (),
    spare: Collection[str] = (),
) -> None:
    """Print a table of text, the first column and those named `left` to the left; `spare` only where there is room."""
    console = _wide(console)
    kept = [i for i, head in enumerate(heads) if console.width >= _WIDE or head not in spare]
    shown = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for i in kept:
        to_left = i == 0 or heads[i] in left
        # Names stay whole: what is narrowed are the other columns, whose heads have several words.
        shown.add_column(heads[i], justify="left" if to_left else "right", overflow="fold", no_wrap=i == 0)
    for row in rows:
        shown.add_row(*(row[i] for i in kept))
    console.print()
    console.print(shown)


def show_systems(compared: "Comparison", console: Console) -> None:
    """Print the systems as a table, on a narrow terminal without what matters least."""
    from genreray import comparison_page  # which all other jobs go without

    cells = [comparison_page.cells(system) for system in compared.systems]
    spare = ("input", "parameters", "report")
    show_table(comparison_page.COLUMNS, cells, console, left=("input",), spare=spare)


def _wide(console: Console) -> Console:
    """Return a console for tables: a log has no edge."""
    if console.is_terminal:
        return console
    return Console(file=console.file, width=max(console.width, _WIDE), highlight=False)
