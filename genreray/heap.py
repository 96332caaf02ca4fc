"""What the C library does with the memory that tensors on CPUs leave."""

import ctypes

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_MOST = 2**31 - 1  # bytes; it takes an int


def keep() -> None:
    """Let this process keep what its tensors leave for the next ones, where the C library is glibc.

    It would give each of some megabytes back and ask for it anew, and the system clears every page: of each step's
    maps, which are the same again and again. What the process holds is what it held at most.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library; on Windows None is no library
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, _MOST)
