"""The demo: a generated catalog through every stage of the main job, each by the command a person would give."""

import contextlib
import shlex
from collections.abc import Callable

from rich.console import Console

from genreray import cli, demo, report, storage
from genreray.arguments import Demo
from genreray.evaluate import is_reported
from genreray.featureset import FeatureSet
from genreray.outputs.lists import CSV_FILE
from genreray.progress import Progress

# The report's 1e-4 is meant for 20,000 tracks: on a hundred it would take hundreds of epochs.
_TRAINING = ("--epochs", "25", "--batch-size", "16", "--learning-rate", "1e-3")


def walk(job: Demo, console: Console) -> int:
    """Run every stage below the job's folder, doing only what is missing, and say where the results are."""
    folder = storage.absolute(job.folder)
    console.print(f"making a catalog of generated music in {storage.join(job.folder, 'catalog')}")
    made = _make_catalog(storage.join(folder, "catalog"), console)
    console.print(f"{made.tracks:,} tracks, {len(made.broken)} of them broken on purpose; not real music")
    catalog, metadata = (_shown(uri, folder, job.folder) for uri in (made.audio, made.fma_metadata))
    features, run, page, tags = (storage.join(job.folder, name) for name in ("features", "run", "report", "tags"))
    source = ["--fma-metadata", metadata]
    commands = [
        ["extract", catalog, features, *source],
        ["train", features, run, "--model", "mel_cnn", *_TRAINING],
        ["evaluate", features, page, "--checkpoint", run],
        ["tag", catalog, tags, "--checkpoint", run, *source],
    ]
    for command in commands:
        console.print(f"\n[bold]genreray {shlex.join(command)}[/bold]", soft_wrap=True)
        if command[0] == "evaluate" and is_reported(page, run, FeatureSet.open(features), "test"):
            console.print("this report is of this run: nothing to do")
            continue
        code = cli.run([*command, *_ray_flags(job)], console)
        if code:
            return code
    _show_results(page, tags, console)
    return 0


def _make_catalog(uri: str, console: Console) -> demo.DemoCatalog:
    seen = 0
    with contextlib.ExitStack() as shown:
        advance: Callable[[int], None] | None = None

        def progress(done: int, total: int) -> None:
            nonlocal advance, seen
            if advance is None:  # the first call says what is there already
                advance = shown.enter_context(Progress(console, "catalog", unit="files").track(total - done))
            else:
                advance(done - seen)
            seen = done

        return demo.make_catalog(uri, progress=progress)


def _shown(uri: str, folder: str, shown: str) -> str:
    """Return `uri` as the person would write it: below the folder as it was given."""
    return storage.join(shown, uri.removeprefix(folder).lstrip("/"))


def _ray_flags(job: Demo) -> list[str]:
    return [*(["--address", job.address] if job.address else []), *(["--verbose"] if job.verbose else [])]


def _show_results(page: str, tags: str, console: Console) -> None:
    metrics = storage.read_json(storage.join(page, report.METRICS_NAME))
    low, high = metrics["accuracy_interval"]
    console.print(
        f"\n[bold]accuracy {metrics['accuracy']:.1%}[/bold] on {metrics['n']} test tracks (95 % interval {low:.0%} to "
        f"{high:.0%}); always guessing {metrics['majority_genre']} gives {metrics['majority_share']:.1%}",
        soft_wrap=True,
    )
    console.print(f"report  {storage.join(storage.absolute(page), report.HTML_NAME)}", soft_wrap=True)
    console.print(f"tags    {storage.join(storage.absolute(tags), CSV_FILE)}", soft_wrap=True)
