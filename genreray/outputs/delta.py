"""What an old file is made of, said by the new one: the runs of bytes that the new one has too, and its own bytes."""

import mmap
from collections.abc import Iterator

Content = bytes | mmap.mmap
Piece = tuple[int, int] | bytes  # (start, length) in the new file, or bytes that are not there

_KEY = 24  # bytes by which a run is found again
_NEAR = 64  # bytes within which one goes on where only some were overwritten, as the checksums of Ogg pages
_WINDOW = 2**20  # bytes ahead in which a run that has moved is looked for
_SEARCHES = 4096  # after which the rest is taken for the old file's own
_CHUNK = 2**16


def pieces(old: Content, new: Content) -> list[Piece]:
    """Return what `old` consists of, in order; `rebuilt` is the inverse.

    Made for files of which a tag was rewritten: what lies behind it has moved, but is the same. Of what does not look
    like that more bytes are kept, never wrong ones.
    """
    head = _same(old, 0, new, 0)
    tail = _same_end(old, new, min(len(old), len(new)) - head)
    found: list[Piece] = [(0, head), *_between(old, new, head, tail), (len(new) - tail, tail)]
    return [piece for piece in found if isinstance(piece, bytes) or piece[1]]


def _between(old: Content, new: Content, head: int, tail: int) -> Iterator[Piece]:
    """Yield the pieces of what is neither in the common beginning nor in the common end."""
    end, new_end = len(old) - tail, len(new) - tail
    own = i = j = head  # `own`: from where on nothing is found yet
    searches = 0
    while i + _KEY <= end and searches < _SEARCHES:
        place = j if old[i : i + _KEY] == new[j : j + _KEY] else -1
        if place < 0 and i - own >= _NEAR:
            place = new.find(old[i : i + _KEY], head, min(new_end, j + _WINDOW))
            searches += 1
        if place < 0:
            i, j = i + 8, j + 8
            continue
        length = min(_same(old, i, new, place), end - i, new_end - place)
        if length < _KEY:
            i, j = i + 8, j + 8
            continue
        if own < i:
            yield bytes(old[own:i])
        yield (place, length)
        own = i = i + length
        j = place + length
    if own < end:
        yield bytes(old[own:end])


def rebuilt(made_of: list[Piece], new: Content) -> Iterator[bytes]:
    """Yield the content of the old file, a piece at a time. Raises ValueError where `new` is too short."""
    for piece in made_of:
        if isinstance(piece, bytes):
            yield piece
            continue
        start, length = piece
        if not 0 <= start <= start + length <= len(new):
            raise ValueError("bytes that the file does not have")
        for place in range(start, start + length, _CHUNK):
            yield new[place : min(place + _CHUNK, start + length)]


def _same(old: Content, i: int, new: Content, j: int) -> int:
    """Return how many bytes from `i` and `j` on are the same."""
    start = i
    step = _KEY  # most are short or very long
    while True:
        a, b = old[i : i + step], new[j : j + step]
        n = min(len(a), len(b))
        if a[:n] != b[:n]:
            return i - start + _first_difference(a, b, n)
        i, j = i + n, j + n
        if n < step:
            return i - start
        step = min(2 * step, _CHUNK)


def _same_end(old: Content, new: Content, most: int) -> int:
    """Return how many bytes at the ends are the same, `most` at most."""
    length = 0
    while length < most:
        n = min(_CHUNK, most - length)
        a = old[len(old) - length - n : len(old) - length][::-1]
        b = new[len(new) - length - n : len(new) - length][::-1]
        if a != b:
            return length + _first_difference(a, b, n)
        length += n
    return length


def _first_difference(a: bytes, b: bytes, n: int) -> int:
    """Return where two texts that differ in their first `n` bytes begin to."""
    low, high = 0, n
    while high - low > 1:
        middle = (low + high) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle
    return low
