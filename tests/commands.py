"""The command as a process of its own, for tests that end it before it is done."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.watch import tree

ROOT = Path(__file__).parent.parent
_WAIT = 240.0  # seconds, on a machine that does much else


class Command:
    """`genreray ...` in a session of its own, in a terminal of its own where `terminal` is true."""

    def __init__(self, *argv: object, terminal: bool = False) -> None:
        self.argv = [str(word) for word in argv]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100", "TERM": "xterm"}
        self.master: int | None = None
        output = subprocess.PIPE
        if terminal:
            self.master, output = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", "import sys; from genreray.entry import main; sys.exit(main())", *self.argv],
            cwd=ROOT,
            env=environment,
            stdin=output if terminal else subprocess.DEVNULL,
            stdout=output,
            stderr=output if terminal else subprocess.STDOUT,
            # A terminal gives its Ctrl-C to the session that it controls.
            preexec_fn=_own_terminal if terminal else os.setsid,
        )
        self.seen: set[int] = set()
        self._shown = bytearray()
        if terminal:
            os.close(output)
            # As terminals do, all the time: what nobody has read yet is thrown away by the next Ctrl-C.
            self._reader = threading.Thread(target=self._read, daemon=True)
            self._reader.start()

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so; fail where the command ends before."""
        started = time.monotonic()
        while not is_so():
            assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.output()}"
            assert time.monotonic() - started < _WAIT, "waited in vain"
            time.sleep(0.02)

    def signal(self, number: int, group: bool = False) -> None:
        """Send a signal to the command, or to all that it started as well, as `timeout` and a terminal do."""
        self.seen |= set(tree(self.process.pid))
        (os.killpg if group else os.kill)(self.process.pid, number)

    def type(self, keys: bytes) -> None:
        """Press keys in its terminal."""
        self.seen |= set(tree(self.process.pid))
        os.write(self.master, keys)

    def output(self, seconds: float = _WAIT) -> str:
        """Wait for its end, so many seconds at most, and return what it said."""
        if self.master is None:
            return self.process.communicate(timeout=seconds)[0].decode()
        self.process.wait(timeout=seconds)
        self._reader.join(timeout=_WAIT)
        return self._shown.decode()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # how a terminal ends that nobody has open any more
            while piece := os.read(self.master, 65536):
                self._shown += piece

    def left_over(self, seconds: float = 10.0) -> list[int]:
        """Return which of the processes seen at the last signal are there after so many seconds at most."""
        deadline = time.monotonic() + seconds
        while (left := [pid for pid in self.seen if runs(pid)]) and time.monotonic() < deadline:
            time.sleep(0.1)
        return left


def _own_terminal() -> None:
    import fcntl
    import termios

    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def runs(pid: int) -> bool:
    """Say whether there is such a process, which has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


@contextlib.contextmanager
def started(*argv: object, terminal: bool = False) -> Iterator[Command]:
    """Start a command, and see that nothing of it is left in the end."""
    command = Command(*argv, terminal=terminal)
    try:
        yield command
    finally:
        command.seen |= set(tree(command.process.pid))
        for pid in command.seen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        command.process.wait()
        if command.master is not None:
            os.close(command.master)


def parts(folder: Path) -> dict[str, int]:
    """Return the parts in a folder, with when they were written."""
    return {p.name: p.stat().st_mtime_ns for p in folder.glob("part-*")} if folder.exists() else {}
