"""CPU time by stage: a clock that is read where one stage of a program ends and the next begins."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple
from unittest import mock

ALL = "all"  # the stage of what is timed as one


class Place(NamedTuple):
    """A function of the program as it stands: what has been going on when it is called, and what it is itself."""

    owner: Any  # the module, class or object that the program looks it up in
    name: str
    before: str  # the stage that ends where it is called
    stage: str  # the stage that ends where it returns


class Laps:
    """CPU seconds, of all threads, of stages that follow one another: all that passes is one stage's or another's."""

    def __init__(self, stages: Sequence[str]) -> None:
        self.seconds = dict.fromkeys(stages, 0.0)
        self._last = 0.0

    def start(self) -> None:
        """Leave out what has passed since the last stage ended."""
        self._last = time.process_time()

    def lap(self, stage: str) -> None:
        """Give what has passed to `stage`."""
        now = time.process_time()
        self.seconds[stage] += now - self._last
        self._last = now

    def around(self, function: Callable[..., Any], before: str, stage: str) -> Callable[..., Any]:
        """Return `function`, which ends the stage `before` when it is called, and `stage` when it returns."""

        def timed(*arguments: Any, **more: Any) -> Any:
            self.lap(before)
            result = function(*arguments, **more)
            self.lap(stage)
            return result

        return timed

    @contextlib.contextmanager
    def at(self, *places: Place) -> Iterator[None]:
        """Read the clock, inside a `with`, where the functions at these places are called and return."""
        with ExitStack() as stack:
            for place in places:
                found = getattr(place.owner, place.name)
                stack.enter_context(
                    mock.patch.object(place.owner, place.name, self.around(found, place.before, place.stage))
                )
            self.start()
            yield

    def per(self, n: int) -> dict[str, float]:
        """Return the seconds of each stage for one of `n`.

        Raises RuntimeError where a stage was never met: the program is another than the stages are those of.
        """
        if missed := [stage for stage, seconds in self.seconds.items() if not seconds]:
            raise RuntimeError(f"nothing was seen of {missed[0]!r}: the stages are not those of the program any more")
        return {stage: seconds / n for stage, seconds in self.seconds.items()}
