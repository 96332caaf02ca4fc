"""What a decoder can do to its process."""

import ctypes
import os
import signal
import time
from pathlib import Path


def segfault(_):
    ctypes.string_at(0)


def hang(_):
    ctypes.PyDLL(None).sleep(600)  # keeps the interpreter's lock, as a C extension may


def swell(_):
    kept = []
    while True:
        kept.append(b"x" * 2**25)
        time.sleep(0.01)


def leave(_):
    os._exit(3)


def be_killed(_):
    """As the system does when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


def be_killed_once(marker):
    """As whoever kills the wrong process does."""
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return 0, os.getpid()


HAZARDS = {function.__name__: function for function in (segfault, hang, swell, leave, be_killed, be_killed_once)}


def numbers(items):
    """Yield the square of each number and its process; do to that what each word says."""
    for item in items:
        if isinstance(item, str):
            hazard, _, argument = item.partition(" ")
            yield HAZARDS[hazard](argument)
        else:
            yield item**2, os.getpid()


def same(items):
    """Yield what comes."""
    yield from items


def fail(items):
    yield from items[1:]
    raise items[0]
