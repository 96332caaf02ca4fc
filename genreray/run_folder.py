"""RUN as a folder: what a run was begun with, and which of the files in it are a run's."""

import json
import re
from collections.abc import Callable
from typing import Any

from genreray import checkpoint, resume, storage, tables
from genreray.errors import UserError

STATE = "training"  # Ray Train's own folder in the run's
SUMMARY = "summary.json"
BEGUN = "run.json"
_NAMES = {"train": "a training run", "tune": "a search"}
_KINDS = {"train": "a run", "tune": "a search"}
# Ray Train's marks, the first of which no listing shows.
_MARKS = (".validate_storage_marker", "checkpoint_manager_snapshot.json")
_TOP = (BEGUN, SUMMARY, resume.HISTORY, checkpoint.WEIGHTS, checkpoint.CONFIG)
_STATE_FILE = re.compile(rf"{STATE}/(checkpoint_[^/]+/[^/]+\.(safetensors|json)|{re.escape(_MARKS[1])})")


def begin(uri: str, settings: dict[str, Any], job: str = "train") -> None:
    """Begin the run of a job in its folder, or see that it was begun with the same settings.

    Raises UserError where it was not, or where the folder holds something else.
    """
    begun = json.loads(json.dumps({"job": job, **settings}))
    where = storage.join(uri, BEGUN)
    if storage.exists(where):
        there = storage.read_json(where)
        for key in sorted({*begun, *there}):
            if begun.get(key) != there.get(key):
                difference = tables.difference(key, there.get(key), begun.get(key))
                raise UserError(
                    f"{uri} was begun with other settings ({difference}): "
                    "give the same ones to go on with it, --fresh to start over, or another folder"
                )
        return
    if storage.exists(uri) and any(True for _ in storage.list_files(uri)):
        raise UserError(f"{uri} holds something that is not {_NAMES[job]}: give another folder")
    storage.make_folder(uri)
    storage.write_json(where, begun)


def is_finished(uri: str) -> bool:
    """Return whether the run has ended with a checkpoint."""
    return storage.exists(storage.join(uri, checkpoint.CONFIG))


def files(uri: str) -> list[str]:
    """Return the URIs of all files of the run in the folder `uri`, in which nothing else may be; none where it is not.

    What the run was begun with comes last: without it, the rest would not be known for a run's.
    Raises UserError where there is something else.
    """
    found = own_files(uri, "train", lambda name: name in _TOP or is_state(name))
    return [*found[:-1], *(storage.join(uri, STATE, mark) for mark in _MARKS), *found[-1:]] if found else []


def own_files(uri: str, job: str, is_ours: Callable[[str], bool]) -> list[str]:
    """Return the URIs of all files in the folder `uri`, what the job began with last; none where it is not.

    Raises UserError where one is not the job's by its name, or the folder is not one that the job has begun.
    """
    found = dict(storage.list_files(uri)) if storage.exists(uri) else {}
    if not found:
        return []
    kind, rest = _KINDS[job], "and --fresh deletes nothing else: give another folder"
    for name in found:
        if not is_ours(name):
            raise UserError(f"{uri} holds {name}, which is not part of {kind}, {rest}")
    begun = storage.read_json(found[BEGUN]) if BEGUN in found else None
    if not isinstance(begun, dict) or begun.get("job") != job:
        raise UserError(f"{uri} has no {BEGUN} of {kind}, {rest}")
    return [*(where for name, where in found.items() if name != BEGUN), found[BEGUN]]


def is_state(name: str) -> bool:
    """Return whether a file below a run's folder is Ray Train's own."""
    return _STATE_FILE.fullmatch(name) is not None


def clear(uri: str) -> None:
    """Delete the run in the folder `uri`, so that another can be begun there.

    Raises UserError, before anything is deleted, where something else is there.
    """
    storage.delete_files(files(uri), uri)
