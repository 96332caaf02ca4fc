"""A search's trials as folders below its own: what each was begun with, its epochs, its checkpoint, how it ended."""

import re
from collections.abc import Sequence
from typing import Any

from genreray import checkpoint, resume, run_folder, storage
from genreray.dimensions import Point
from genreray.space import point_from_json
from genreray.trials import Trial, TrialStatus

FOLDER = "trials"
FIRST = "0001"  # the trial of the defaults
_BEGUN = "trial.json"
_ENDED = "ended.json"
_NUMBER = re.compile(r"\d{4,}")
_TOP = (_BEGUN, _ENDED, resume.HISTORY, checkpoint.WEIGHTS, checkpoint.CONFIG)


def folder(run_uri: str, trial_id: str) -> str:
    """Return the URI of a trial's folder."""
    return storage.join(run_uri, FOLDER, trial_id)


def begin(run_uri: str, trial_id: str, model: str, point: Point) -> None:
    """Write down what a trial tries, before it does."""
    begun = {"model": model, "config": dict(point)}
    storage.write_json(storage.join(folder(run_uri, trial_id), _BEGUN), begun)


def end(run_uri: str, trial_id: str, status: TrialStatus, seconds: float, error: str | None = None) -> None:
    """Write down how a trial ended, and delete what it would need to go on."""
    where = folder(run_uri, trial_id)
    storage.write_json(
        storage.join(where, _ENDED), {"status": status.value, "error": error, "seconds": round(seconds, 3)}
    )
    storage.delete(storage.join(where, run_folder.STATE))


def read(run_uri: str, trial_id: str) -> Trial:
    """Return what is known of a trial; one that has not ended has the status interrupted."""
    where = folder(run_uri, trial_id)
    begun = storage.read_json(storage.join(where, _BEGUN))
    history = resume.read_history(where)
    uri = storage.join(where, _ENDED)
    ended: dict[str, Any] = storage.read_json(uri) if storage.exists(uri) else {}
    return Trial(
        trial_id=trial_id,
        model=begun["model"],
        config=point_from_json(begun["config"]),
        status=TrialStatus(ended.get("status", TrialStatus.INTERRUPTED)),
        history=history,
        seconds=float(ended.get("seconds", seconds_of(history))),
        error=ended.get("error"),
    )


def seconds_of(history: resume.History) -> float:
    """Return the seconds that the epochs took, before and after an interruption."""
    return sum(float(epoch.get("seconds", 0.0)) for epoch in history)


def read_all(run_uri: str) -> list[Trial]:
    """Return all trials of a search that were begun, in that order."""
    where = storage.join(run_uri, FOLDER)
    names = [name for name, _ in storage.list_files(where)] if storage.exists(where) else []
    begun = sorted(name.split("/")[0] for name in names if name.count("/") == 1 and name.endswith(f"/{_BEGUN}"))
    return [read(run_uri, trial_id) for trial_id in begun]


def next_id(known: Sequence[Trial]) -> str:
    """Return the name of the trial after the known ones."""
    return f"{max((int(trial.trial_id) for trial in known), default=0) + 1:04d}"


def is_of_trial(name: str) -> bool:
    """Return whether a file below a search's folder is a trial's."""
    folder, trial_id, *rest = [*name.split("/", 2), "", ""]
    is_file = rest[0] in _TOP or run_folder.is_state(rest[0])
    return folder == FOLDER and _NUMBER.fullmatch(trial_id) is not None and is_file
