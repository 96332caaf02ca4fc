"""Whether a disk has room for what is to come, and how a person reads so many bytes."""

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from genreray.errors import UserError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def human(n_bytes: float) -> str:
    """Return a number of bytes with its unit: 7.2 GiB."""
    for unit in ("bytes", "KiB", "MiB"):
        if n_bytes < 1024:
            return f"{n_bytes:,.0f} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:,.1f} GiB"


def require(needs: Iterable[tuple[Path, int]], what: str) -> None:
    """Raise UserError where a disk has less free than is needed; `needs` are folders, with bytes for each.

    Folders on one disk share what is free there.
    """
    wanted: dict[int, tuple[Path, int]] = {}
    for folder, n_bytes in needs:
        device = _there(folder).stat().st_dev
        first, sofar = wanted.get(device, (folder, 0))
        wanted[device] = first, sofar + n_bytes
    for folder, n_bytes in wanted.values():
        left = free(folder)
        if left is not None and n_bytes > left:
            raise UserError(
                f"{folder} has {human(left)} free, but {what} needs {human(n_bytes)} there: make room, and give the "
                "same command again"
            )


def free(folder: Path) -> int | None:
    """Return the bytes free on the disk of a folder, which need not be there yet; None where the disk does not say."""
    disk = os.statvfs(_there(folder))
    return disk.f_bavail * disk.f_frsize if disk.f_blocks else None


def _there(folder: Path) -> Path:
    """Return the folder, or the nearest above it that exists."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def not_written(path: Path, error: OSError, missing: int) -> UserError:
    """Return the error to raise where writing failed and `missing` bytes were still to come."""
    why = (error.strerror or str(error)).lower()
    if error.errno not in _FULL:
        return UserError(f"{path} cannot be written: {why}")
    left = free(path.parent)
    there = "" if left is None else f" and {human(left)} free"
    return UserError(
        f"{path} cannot be written: {why}; {human(missing)} more are needed{there}: make room, and the same command "
        "goes on from there"
    )
