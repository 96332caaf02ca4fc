"""SIGINT and SIGTERM: a job ends within seconds, whatever it waits for, and says how to go on."""

import contextlib
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_LONGEST = 5.0  # seconds for winding up
_SHOW_CURSOR = b"\x1b[?25h"  # what a progress bar hides
_START_OVER = "--fresh"  # not to be done again by the command that goes on


class Interrupts:
    """Inside a `with`, SIGINT and SIGTERM raise KeyboardInterrupt; `end` then says how to go on, and ends the process.

    What was done by then is told by notes that the exception collects on its way up. A second signal ends the process
    where it stands, as some seconds of waiting do. From the first on nothing else is heard on stderr, unless `verbose`:
    Ray tells of its own end there, from C++ too. Outside the main thread, which alone gets signals, it does nothing.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        self.signal: int | None = None  # the first that came
        self._argv = argv
        self._verbose = "--verbose" in argv
        self._before: dict[int, Any] = {}
        self._stderr = 2
        self._has_told = False

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def end(self, error: BaseException | None = None) -> NoReturn:
        """Say in one line what is done (the notes of `error`) and how to go on, and end the process: 130 or 143."""
        if not self._has_told:  # or a second signal comes to what is left to do
            self._tell(error)
            self._has_told = True
        # Not by Ray's own shutdown, which takes seconds, and more where its processes got the signal too. What is
        # written is whole at any time, and a cluster that was joined ends the work of a driver that has left.
        for pid in _started_here():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        os._exit(128 + (self.signal or signal.SIGINT))

    def _tell(self, error: BaseException | None) -> None:
        done = ", ".join(getattr(error, "__notes__", []))
        words = shlex.join(["genreray", *(word for word in self._argv if word != _START_OVER)])
        how = "terminated" if self.signal == signal.SIGTERM else "interrupted"
        line = f"genreray: {how}{f' after {done}' if done else ''}; to go on: {words}\n"
        sys.stdout.flush()
        if sys.stdout.isatty():
            os.write(sys.stdout.fileno(), _SHOW_CURSOR)
        os.write(self._stderr, line.encode(errors="surrogateescape"))

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self.signal is not None:
            self.end()
        self.signal = number
        if not self._verbose:
            self._silence()
        threading.Thread(target=self._watch, name="interrupted", daemon=True).start()
        raise KeyboardInterrupt

    def _silence(self) -> None:
        sys.stderr.flush()
        self._stderr = os.dup(2)
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 2)
        os.close(nothing)

    def _watch(self) -> None:
        time.sleep(_LONGEST)
        self.end()


def _started_here() -> list[int]:
    """Return the ids of the processes that this one and those started, elders first; none where there is no /proc."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(folder.name))
    found = children.get(os.getpid(), [])
    for pid in found:
        found += children.get(pid, [])
    return found
