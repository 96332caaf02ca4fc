"""What every script of benchmarks/ does on the command line."""

import dataclasses
import datetime
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from benchmarks import machine, page, results
from benchmarks.results import Section
from genreray.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Flags of every script; the docstring of each field is its help."""

    quick: bool = False
    """Take sizes that end in seconds: to see that it runs, not what is true."""
    json: Path | None = None
    """File to write the results to, as JSON."""


O = TypeVar("O", bound=Options)  # noqa: E741 - the options of one script


def main(name: str, measure: Callable[[O], Section], standard: O, quick: O) -> None:
    """Run the script `name` with the sizes of `standard`, or `quick` where asked, and show what it found."""
    import tyro  # here: benchmarks.gpu runs where it is not installed

    argv = sys.argv[1:]
    options = tyro.cli(
        type(standard),
        default=quick if "--quick" in argv else standard,
        prog=f"python -m benchmarks.{name}",
        config=(tyro.conf.HelptextFromCommentsOff, tyro.conf.FlagCreatePairsOff),
    )
    try:
        section = measure(options)
    except UserError as error:
        sys.exit(f"{name}: {error}")
    show(name, section, argv, options.json)


def show(name: str, section: Section, argv: list[str], output: Path | None) -> None:
    """Print what the script `name` found, with where and by what command, and write it to `output`."""
    found = dataclasses.replace(
        section, command=_command(name, argv), date=datetime.date.today().isoformat(), machine=machine.describe()
    )
    print(page.render_section(found))
    if output is not None:
        results.write(output, [found])


def _command(name: str, argv: list[str]) -> str:
    """Return the command to repeat a run with, without the places where this machine keeps its files."""
    words = [word for i, word in enumerate(argv) if word != "--json" and (i == 0 or argv[i - 1] != "--json")]
    return shlex.join(["python", "-m", f"benchmarks.{name}", *(Path(word).name for word in words)])
