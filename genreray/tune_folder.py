"""A search's RUN as a folder: which of the files in it are a search's."""

from genreray import checkpoint, events, predictions, report, resume, run_folder, storage, trial_folder, trials, winner

TEST = "test"  # the report on the winner's test split
TEST_OF_DEFAULT = "test_of_default"  # that on the untuned default's
STATE = "tune"  # Ray Tune's own folder, while it runs
_TOP = (
    *(run_folder.BEGUN, run_folder.SUMMARY, resume.HISTORY, checkpoint.WEIGHTS, checkpoint.CONFIG),
    *(winner.FILE_NAME, trials.FILE_NAME, report.HTML_NAME),
)
_TEST = (predictions.FILE_NAME, report.HTML_NAME, report.METRICS_NAME)


def files(uri: str) -> list[str]:
    """Return the URIs of all files of the search in the folder `uri`, in which nothing else may be.

    What the search was begun with comes last: without it, the rest would not be known for a search's.
    Raises UserError where there is something else.
    """
    return run_folder.own_files(uri, "tune", _is_ours)


def clear(uri: str) -> None:
    """Delete the search in the folder `uri`, so that another can be begun there.

    Raises UserError, before anything is deleted, where something else is there.
    """
    ours = files(uri)
    if not ours:
        return
    storage.delete_files(ours[:-1], uri)
    for folder in (STATE, trial_folder.FOLDER):  # with marks of Ray's that no listing shows
        storage.delete(storage.join(uri, folder))
    storage.delete_files(ours[-1:], uri)


def _is_ours(name: str) -> bool:
    first, _, rest = name.partition("/")
    return (
        name in _TOP
        or (first in (TEST, TEST_OF_DEFAULT) and rest in _TEST)
        or (first == STATE and bool(rest))
        or (first == events.FOLDER and name.endswith(f"/{events.FILE_NAME}"))
        or trial_folder.is_of_trial(name)
    )
