"""The processes of a Ray that this one started, to be killed."""

import os
from pathlib import Path


def descendants(pid: int) -> dict[int, str]:
    """The titles of all processes below a process, by their id."""
    parents, titles = {}, {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text()
                title = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            except OSError:  # it has ended
                continue
            parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
            titles[int(folder.name)] = title
    found, last = set(), {pid}
    while last:
        last = {child for child, parent in parents.items() if parent in last} - found
        found |= last
    return {child: titles[child] for child in found}


def busy(word: str, pid: int | None = None) -> list[int]:
    """The workers of Ray below a process (or this one) whose title, which names what they do, holds `word`."""
    found = descendants(os.getpid() if pid is None else pid)
    return sorted(child for child, title in found.items() if title.startswith("ray::") and word in title)
