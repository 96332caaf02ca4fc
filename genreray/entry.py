"""Where the command begins: signals are heeded before anything is imported that takes a while."""

import sys
from collections.abc import Sequence

from genreray.interrupts import Interrupts


def main(argv: Sequence[str] | None = None) -> int:
    """Run `cli.main` and return its exit code; a signal while that is imported ends the command as a later one does."""
    argv = sys.argv[1:] if argv is None else list(argv)
    with Interrupts(argv) as interrupts:
        try:
            from genreray import cli
        except BaseException as error:
            if interrupts.signal is not None:  # what the import makes of it may be another error
                interrupts.end(error)
            raise
    return cli.main(argv)
