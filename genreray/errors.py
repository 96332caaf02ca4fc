"""What can go wrong: with one track (data, a status in a row) or with the whole job (an error, one line)."""

import re
from enum import StrEnum


class Status(StrEnum):
    """What became of one track; every row of every table carries one."""

    OK = "ok"
    NOT_FOUND = "not_found"
    UNREADABLE = "unreadable"
    EMPTY = "empty"
    UNDECODABLE = "undecodable"
    TOO_SHORT = "too_short"
    SILENT = "silent"
    TOO_LARGE = "too_large"
    TIMEOUT = "timeout"
    CRASHED = "crashed"
    ERROR = "error"


class FileOutcome(StrEnum):
    """What became of one audio file that a label was to be written into, or taken out of again."""

    WRITTEN = "written"
    RESTORED = "restored"
    AS_BEFORE = "as_before"
    KEPT = "kept"
    ABSTAINED = "abstained"
    CHANGED = "changed"
    READ_ONLY = "read_only"
    REMOTE = "remote"
    UNSUPPORTED = "unsupported"
    FAILED = "failed"


class FileError(Exception):
    """One audio file cannot be changed, or shall not be: becomes `outcome` and `reason` of its row."""

    def __init__(self, outcome: FileOutcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason


class TrackError(Exception):
    """One track cannot be used: becomes the `status` and `error` of its row, never the end of a job."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message

    def __reduce__(self) -> tuple[type["TrackError"], tuple[Status, str]]:
        return TrackError, (self.status, self.message)


class UserError(Exception):
    """The job cannot be done as asked: one line that says what is wrong and what to do, exit code 2."""


def user_error_in(error: BaseException) -> str | None:
    """Return the line of the UserError that a Ray task ended with; Ray hands on its text alone, in a traceback."""
    found = re.findall(r"^genreray\.errors\.UserError: (.*)$", str(error), re.MULTILINE)
    return found[-1] if found else None


def reason(error: Exception) -> str:
    """Return in one line why something failed, whatever was raised, and wherever."""
    told = str(error) if isinstance(error, UserError) else user_error_in(error)
    if told is not None:
        return told
    # Ray hands on the traceback of a worker as text, what was raised there on its last line.
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1].strip() if lines else 'no message'}"
