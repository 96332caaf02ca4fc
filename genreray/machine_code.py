"""Loops over arrays and callbacks, compiled for the CPU at hand by numba and kept on disk for the next process."""

import functools
from collections.abc import Callable
from typing import Any


@functools.cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what does the same as `function`, loops over arrays, at the speed of machine code.

    It is compiled when it is first called, and written beside the file that `function` is in, or where that cannot be,
    into the user's cache folder. Where a disk will not have it, or gives back something else, it is compiled anew.
    """
    return _Compiled(function)


class _Compiled:
    def __init__(self, function: Callable[..., Any]) -> None:
        import numba  # what librosa compiles its own loops with; those who only train do without both

        self._compile = functools.partial(numba.njit, function, nogil=True)
        try:
            self._fast: Callable[..., Any] = self._compile(cache=True)
        except RuntimeError:  # there is no folder that could be written to
            self._fast = self._compile()

    def __call__(self, *arguments: Any) -> Any:
        try:
            return self._fast(*arguments)
        except Exception:  # numba passes on what reading or writing its files raises, of whatever kind
            self._fast = self._compile()
            return self._fast(*arguments)


@functools.cache  # which holds it: its code goes where it goes
def callback(function: Callable[..., Any], signature: str) -> Any:
    """Return `function` compiled for C to call, at its `address`; `signature` is as `numba.cfunc` takes it.

    It stays for as long as the process does, and is kept on disk as what `compiled` returns is.
    """
    import numba

    try:
        return numba.cfunc(signature, cache=True)(function)
    except Exception:  # no folder that could be written to, or what reading or writing there raises
        return numba.cfunc(signature)(function)
