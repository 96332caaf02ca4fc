"""docs/benchmarks.md: the sections as Markdown, the claims first."""

import dataclasses
import re
import statistics
import textwrap
from collections.abc import Sequence

from benchmarks.results import RATIO, Claim, Line, Section

_HEAD = """\
# Benchmarks

Written by `make bench`: the numbers are from runs of the scripts in benchmarks/, not typed in. Each script runs the
sides that it compares in turn, in one run on one machine; a figure is the median over the rounds, with the least and
the greatest in brackets. A ratio is taken within each round, then its median over the rounds: a claim is met where
that median is as wanted. docs/benchmarks.json holds every round.
"""
_TABLE = re.compile(r"<!-- (\w+): (.+?) -->\n.*?<!-- end -->", re.DOTALL)


def render(sections: Sequence[Section]) -> str:
    """Return the page."""
    machines = list({tuple(section.machine.items()): None for section in sections if section.was_run})
    parts = [_HEAD, _claims([claim for section in sections for claim in section.claims])]
    for section in sections:
        if not section.was_run:
            parts.append(f"{render_section(section)}\nNever run yet; this would do it:\n\n    {section.command}\n")
            continue
        number = machines.index(tuple(section.machine.items())) + 1
        where = f" on machine {number}" if len(machines) > 1 else ""
        parts.append(f"{render_section(section)}\nRun{where} on {section.date} by\n\n    {section.command}\n")
    for number, machine in enumerate(machines, 1):
        rows = "\n".join(f"- {name}: {value}" for name, value in machine)
        parts.append(f"## Machine{f' {number}' if len(machines) > 1 else ''}\n\n{rows}\n")
    return "\n".join(parts)


def render_section(section: Section) -> str:
    """Return one benchmark's title, method, lines and claims."""
    return "\n".join(
        [
            f"## {section.title}\n\n{textwrap.fill(section.method, 120)}\n",
            _lines(section.lines),
            _claims(section.claims),
        ]
    )


def renewed(text: str, sections: Sequence[Section]) -> str:
    """Return another page with its tables written anew, each between `<!-- NAME: JOB -->` and `<!-- end -->`.

    A table has the lines of the section NAME whose names begin with `JOB: `, without that. One that there are no lines
    for is left as it is.
    """

    def table(found: re.Match[str]) -> str:
        name, begin = found[1], f"{found[2]}: "
        lines = [
            dataclasses.replace(line, name=line.name.removeprefix(begin))
            for section in sections
            for line in section.lines
            if section.name == name and line.name.startswith(begin)
        ]
        return f"<!-- {name}: {found[2]} -->\n\n{_lines(lines)}\n<!-- end -->" if lines else found[0]

    return _TABLE.sub(table, text)


def tables_in(text: str) -> list[str]:
    """Return NAME and JOB of each table that a page has, as `NAME: JOB`."""
    return [f"{found[1]}: {found[2]}" for found in _TABLE.finditer(text)]


def _lines(lines: Sequence[Line]) -> str:
    rows = [[line.name, figure(line.values, line.unit), str(len(line.values) or ""), line.note] for line in lines]
    return _table(["what", "measured", "rounds", ""], rows)


def _claims(claims: Sequence[Claim]) -> str:
    rows = [
        [
            claim.name,
            _wanted(claim),
            figure(claim.values, claim.unit),
            _verdict(claim),
            f"{claim.rounds_met} of {len(claim.values)}" if claim.values else "",
        ]
        for claim in claims
    ]
    return _table(["claim", "wanted", "measured", "by the median", "rounds that meet it"], rows)


def _verdict(claim: Claim) -> str:
    if not claim.values:
        return "never run"
    return "met" if claim.is_met else "**not met**"


def _wanted(claim: Claim) -> str:
    return f"{'at least' if claim.at_least else 'at most'} {_with_unit(f'{claim.wanted:g}', claim.unit)}"


def figure(values: Sequence[float], unit: str) -> str:
    """Return the median of `values` and, of several, their range: `1.95x (1.90 to 2.01)`; of none that."""
    if not values:
        return "not run"
    middle = _with_unit(_number(statistics.median(values)), unit)
    return middle if len(values) == 1 else f"{middle} ({_number(min(values))} to {_number(max(values))})"


def _with_unit(number: str, unit: str) -> str:
    return f"{number}{unit}" if unit == RATIO else f"{number} {unit}".rstrip()


def _number(value: float) -> str:
    """Return `value` with three significant digits, as a plain number."""
    decimals = next((digits for digits, limit in ((0, 100), (1, 10), (2, 1)) if abs(value) >= limit), 3)
    return f"{value:,.{decimals}f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
