"""Work done in a process of its own, watched from outside: what ends it, holds it up or swells costs one item."""

import contextlib
import dataclasses
import faulthandler
import functools
import multiprocessing
import os
import pickle
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from genreray import exchange
from genreray.errors import Status, TrackError, UserError

Item = TypeVar("Item")
Result = TypeVar("Result")

_LOOK = 0.1  # seconds between looks at a process that has not answered; most items are done before the first
_START = 120.0  # seconds in which a process must be up, on a machine that is busy too
_STARTS = 3
_ORPHANED = 60.0  # seconds beyond the limit after which nobody watches any more
_PAGE = os.sysconf("SC_PAGE_SIZE")
_LAST = 5.0  # seconds that a process may take to be gone when its socket is closed

_idle: list["_Process"] = []  # kept for the next call: a start and its imports take a second


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one item may take, its file's way from the store included."""

    seconds: float = 120.0  # more than all attempts at a store that stutters take
    memory: int = 2048  # MiB of the process that does it; watched on Linux

    def __post_init__(self) -> None:
        if not 0 < self.seconds < float("inf"):
            raise UserError(f"timeout is {self.seconds:g}: give the seconds that a track may take, more than 0")


DEFAULT_LIMITS = Limits()


def map_isolated(
    function: Callable[[Sequence[Item]], Iterable[Result]], items: Sequence[Item], limits: Limits
) -> Generator[Result | TrackError]:
    """Yield what `function`, called in another process, yields for each of `items`, in their order and as it comes.

    It must be importable there, and yield one result an item. An item at which the process ends, or that takes more
    than the limits, is left for the end, and what comes behind it waits; it is tried once more in a process that did
    nothing else: only the second time is it to blame, and its result a TrackError (crashed, timeout). What `function`
    raises is raised.
    """
    n_done = 0
    suspects: list[int] = []
    waiting: list[Result | TrackError] = []  # from the first suspect on
    while n_done < len(items):
        with contextlib.closing(_attempt(function, items[n_done:], limits)) as attempt:
            for result in attempt:
                if isinstance(result, TrackError):
                    suspects.append(n_done)
                if suspects:
                    waiting.append(result)
                else:
                    yield result
                n_done += 1
    for i in suspects:
        (waiting[i - suspects[0]],) = _attempt(function, [items[i]], limits, fresh=True)
    yield from waiting


def _attempt(
    function: Callable[[Sequence[Item]], Iterable[Result]], items: Sequence[Item], limits: Limits, fresh: bool = False
) -> Generator[Result | TrackError]:
    """Yield the results up to the first item that ends the process or exceeds the limits, and what it did."""
    process = _begin(pickle.dumps((function, items, limits.seconds)), limits, fresh)
    n_left = len(items)
    try:
        while n_left:
            result = process.receive(limits)
            n_left -= 1
            yield result
        process.receive(limits)  # that this was all
    except TrackError as fault:
        process.end()
        if n_left:
            yield fault
        return
    except BaseException:  # also where nobody wants the rest
        process.end()
        raise
    _idle.append(process)


def _begin(work: bytes, limits: Limits, fresh: bool) -> "_Process":
    """Return a process that has begun with `work`."""
    for attempt in range(1, _STARTS + 1):
        process = _Process() if fresh or not _idle else _idle.pop()
        if process.memory() > limits.memory / 2:  # it leaks, or was made to keep much
            process.end()
            process = _Process()
        try:
            process.begin(work)
        except TrackError as fault:  # it was ended while it had no track
            process.end()
            if attempt == _STARTS:
                raise RuntimeError(f"the process that reads the tracks does not start: {fault.message}") from None
        except BaseException:
            process.end()
            raise
        else:
            return process
    raise AssertionError("unreachable")


class _Process:
    """Another Python process, which runs `serve`."""

    def __init__(self) -> None:
        self._socket, theirs = multiprocessing.Pipe()
        code = f"from genreray.isolation import serve; serve({theirs.fileno()})"
        # Not multiprocessing's own start: that would import the main module of Ray's worker, and all of Ray with it.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", code],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)},
        )
        theirs.close()

    def begin(self, work: bytes) -> None:
        """Hand over what to do, and room for its results; returns when the process has imported what that needs."""
        room = exchange.open_room()
        try:
            self._reader = exchange.Reader(room)
            with contextlib.suppress(OSError):  # it is gone: what is received tells how
                self._socket.send_bytes(work)
                send_handle(self._socket, room, self._process.pid)
        finally:
            os.close(room)
        self.receive(Limits(_START))

    def receive(self, limits: Limits) -> Any:
        """Return the next result, or raise what was raised there.

        Raises TrackError (crashed, timeout) where the process ended or exceeds the limits.
        """
        deadline = time.monotonic() + limits.seconds
        while not self._socket.poll(_LOOK):
            if time.monotonic() > deadline:
                raise TrackError(Status.TIMEOUT, f"took more than {limits.seconds:g} s")
            if self.memory() > limits.memory:
                raise TrackError(Status.CRASHED, f"took more than {limits.memory:,} MiB of memory")
        try:
            message = self._socket.recv_bytes()
        except (EOFError, OSError):
            self._raise_end()
        result, error = self._reader.loads(message)
        if error is not None:
            raise error
        return result

    def memory(self) -> float:
        """Return what the process holds in memory, in MiB; 0 where the system does not say."""
        try:
            pages = int(Path(f"/proc/{self._process.pid}/statm").read_text(encoding="ascii").split()[1])
        except (OSError, IndexError):  # not Linux, or it has just ended
            return 0.0
        return pages * _PAGE / 2**20

    def end(self) -> None:
        """End the process, whatever it is at."""
        self._socket.close()
        self._process.kill()
        self._process.wait()

    def _raise_end(self) -> NoReturn:
        try:
            code = self._process.wait(_LAST)
        except subprocess.TimeoutExpired:  # it closed what it did not open
            raise TrackError(Status.CRASHED, "closed its connection to the worker") from None
        if code >= 0:
            raise TrackError(Status.CRASHED, f"ended the process that read it (exit code {code})")
        name = signal.Signals(-code).name
        why = ", as the system does when memory runs out" if -code == signal.SIGKILL else ""
        raise TrackError(Status.CRASHED, f"ended the process that read it ({name}{why})")


def serve(descriptor: int) -> None:
    """Do what arrives on a socket until its other end is closed: what the other process runs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for who asked; when they go, the socket closes
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.enable()  # where it crashed, for the worker's log
    faulthandler.register(signal.SIGALRM, chain=True)  # and where it was when it ended by `_watch`
    with Connection(descriptor) as socket, contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            work = socket.recv_bytes()
            room = recv_handle(socket)
            send = functools.partial(_send, socket, exchange.Writer(room))
            try:
                function, items, seconds = pickle.loads(work)
                send(None)
                _watch(seconds)
                for result, _ in zip(function(items), items, strict=True):
                    send(result)
                    _watch(seconds)
                send(None)
            except (BrokenPipeError, ConnectionResetError):
                raise
            except Exception as error:
                known = isinstance(error, UserError)
                send(None, error if known else RuntimeError("".join(traceback.format_exception(error))))
            signal.setitimer(signal.ITIMER_REAL, 0)
            os.close(room)


def _send(socket: Connection, writer: exchange.Writer, result: Any, error: Exception | None = None) -> None:
    socket.send_bytes(writer.dumps((result, error)))


def _watch(seconds: float) -> None:
    """End this process should the next item take longer than whoever watches from outside would let it."""
    # Not by a thread, as faulthandler's own: where all CPUs are busy, waiting for the last one's end takes half a
    # millisecond of each track.
    signal.setitimer(signal.ITIMER_REAL, seconds + _ORPHANED)
