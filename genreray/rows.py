"""Rows of FEATURES that are to become clips, wherever they lie."""

import dataclasses
from collections.abc import Iterable
from typing import Protocol

import pyarrow as pa


class Rows(Protocol):
    """Rows of FEATURES that can be read, such as `part_rows.Run`."""

    def __len__(self) -> int: ...

    def tables(self) -> Iterable[pa.Table]:
        """Read them, some at a time, each of which is used before the next is asked for."""
        ...


@dataclasses.dataclass(frozen=True)
class Read:
    """Rows that are in memory."""

    table: pa.Table

    def __len__(self) -> int:
        return len(self.table)

    def tables(self) -> list[pa.Table]:
        """Return them."""
        return [self.table]
