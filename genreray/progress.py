"""How far a job is: a bar on a terminal, now and then a plain line in a log."""

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

_PAUSE = 10.0  # seconds between two plain lines


class Progress:
    """Tells a person on `console` how many of a job's `unit`s (tracks) are done, how fast, and what is left."""

    def __init__(self, console: Console, job: str, unit: str = "tracks") -> None:
        self.console = console
        self.job = job
        self.unit = unit

    def line(self, text: str) -> None:
        """Print one plain line."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    @contextlib.contextmanager
    def track(self, total: int) -> Iterator[Callable[[int], None]]:
        """Give a function to be called with the number of units just done; an interrupt is told how many were."""
        done = 0

        def advance(n: int) -> None:
            nonlocal done
            done += n
            show(n)

        try:
            with self._bar(total) if self.console.is_terminal else self._lines(total) as show:
                yield advance
        except KeyboardInterrupt as stopped:
            stopped.add_note(f"{done:,} of {total:,} {self.unit}")
            raise

    @contextlib.contextmanager
    def _bar(self, total: int) -> Iterator[Callable[[int], None]]:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(self.unit),
            _Rate(self.unit),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
        )
        with Bar(*columns, console=self.console, transient=True) as bar:
            task = bar.add_task(self.job, total=total)
            yield lambda n: bar.advance(task, n)

    @contextlib.contextmanager
    def _lines(self, total: int) -> Iterator[Callable[[int], None]]:
        started = last = time.monotonic()
        done = 0

        def advance(n: int) -> None:
            nonlocal done, last
            done += n
            now = time.monotonic()
            if now - last >= _PAUSE and done < total:
                last = now
                rate = done / (now - started)
                self.line(
                    f"{self.job}: {done:,} of {total:,} {self.unit}, {rate:.1f} {self.unit}/s, "
                    f"{(total - done) / rate:.0f} s left"
                )

        yield advance


class _Rate(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f} {self.unit}/s" if task.speed else "starting")
