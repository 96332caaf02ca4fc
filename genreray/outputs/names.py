"""Names of files from texts of strangers: one file each, in one folder, on any system."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable

_LONGEST = 80  # bytes of UTF-8, of the 255 that most filesystems take
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")  # devices, on Windows


def file_names(texts: Iterable[str], suffix: str) -> dict[str, str]:
    """Return a name of a file for each text: no two alike, also where case does not count, none a path.

    A text that can be a name as it is stays so, but for names that two would share: those, and every text that had to
    be changed, have some digits of its SHA-256. So the name of a text does not depend on the others' order.
    """
    cleaned = {text: _cleaned(text) for text in texts}
    taken: dict[str, int] = {}
    for name in cleaned.values():
        taken[_key(name)] = taken.get(_key(name), 0) + 1
    return {
        text: name + suffix
        if name == text and taken[_key(name)] == 1
        else f"{name}-{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:8]}{suffix}"
        for text, name in cleaned.items()
    }


def _key(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


def _cleaned(text: str) -> str:
    """Return a text as a name that is no path, no device, not hidden, not too long."""
    kept = "".join(c if c.isprintable() and c not in '<>:"/\\|?*' else "_" for c in text)
    kept = kept.encode(errors="replace")[:_LONGEST].decode(errors="ignore").strip(" .")
    return f"_{kept}" if not kept or _RESERVED.fullmatch(kept) else kept
