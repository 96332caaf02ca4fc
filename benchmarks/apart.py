"""A contender in a process of its own, which lives as long as the comparison and waits while others have their turn."""

import multiprocessing
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Self


class Apart:
    """Calls `make(*arguments)` in a fresh process, and there what that returned, as often as it is asked."""

    def __init__(self, make: Callable[..., Callable[[], object]], *arguments: Any) -> None:
        """Start; raises RuntimeError where it cannot be made."""
        self._pipe, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs, make, arguments))
        self._process.start()
        theirs.close()
        self._receive()

    def __call__(self) -> float:
        """Return the seconds of one call; raises RuntimeError where it fails."""
        self._pipe.send(None)
        return self._receive()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.join()

    def _receive(self) -> float:
        try:
            seconds, error = self._pipe.recv()
        except EOFError:
            self._process.join()
            raise RuntimeError(f"a contender ended with exit code {self._process.exitcode}") from None
        if error is not None:
            raise RuntimeError(error)
        return float(seconds)


def _serve(pipe: Connection, make: Callable[..., Callable[[], object]], arguments: tuple[Any, ...]) -> None:
    with pipe:
        try:
            contender = make(*arguments)
            pipe.send((0.0, None))
            while True:
                pipe.recv()
                started = time.perf_counter()
                contender()
                pipe.send((time.perf_counter() - started, None))
        except EOFError:
            return
        except Exception:
            pipe.send((0.0, traceback.format_exc()))
