"""A map that works ahead in threads, for reading the next while one is used."""

import collections
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(function: Callable[[Item], Result], items: Iterable[Item], n: int) -> Iterator[Result]:
    """Yield `function(item)` for each item in order, up to `n` calls running or done before they are asked for.

    What a call raises is raised where its result would have come; no further call is begun then.
    """
    with ThreadPoolExecutor(n, thread_name_prefix="ahead") as pool:
        waiting: collections.deque[Future[Result]] = collections.deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > n:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
