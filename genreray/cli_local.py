"""The jobs of the command that need no Ray, from their flags to their last screen and exit code."""

from typing import Any

from rich.console import Console

from genreray import storage, submitted
from genreray.arguments_local import Fetch, Inspect, Review, Untag
from genreray.isolation import Limits
from genreray.progress import Progress
from genreray.summary import Summary, finish_files

BROKEN = 1  # the exit code of inspect where the file cannot be used


def review(job: Review, console: Console) -> int:
    """Run `genreray review`."""
    import time

    from genreray.review import write_page

    started = time.perf_counter()
    if job.page is not None:
        submitted.check_output(job.page)
    done = write_page(job.tags, job.page, job.tracks, map_uri=job.map, min_confidence=job.min_confidence)
    found = done.overview
    facts = {"tracks": sum(found.counts.values()), "genres": len(found.genres), "on_the_page": len(found.doubtful)}
    # No summary.json: the one in TAGS is that of tag.
    Summary("review", done.page, time.perf_counter() - started, found.counts, facts).show(console)
    return 0


def inspect(job: Inspect, console: Console) -> int:
    """Run `genreray inspect`."""
    from genreray import inspection, inspection_screen

    inspection_screen.check_picture(job.plot)
    found = inspection.inspect(
        job.track,
        job.checkpoint,
        n_windows=job.crops,
        n_clips=job.coverage,
        model=job.model,
        limits=Limits(job.timeout),
    )
    inspection_screen.show(found, console)
    if found.is_broken:
        return BROKEN
    if job.plot is not None:
        inspection_screen.write_picture(found, job.plot)
        console.print(f"picture   {job.plot}", markup=False, soft_wrap=True)
    return 0


def fetch(job: Fetch, console: Console) -> int:
    """Run `genreray fetch`."""
    import time

    from genreray.fetch import fetch as fetch_archive
    from genreray.fetch.room import human

    started = time.perf_counter()
    done = fetch_archive(
        job.archive, job.dest, console, base_url=job.base_url, cache=job.cache, keep_archive=job.keep_archive
    )
    facts: dict[str, Any] = {
        "files": len(done.files),
        "size": human(done.size),
        "downloaded_now": human(done.received),
        "unpacked_now": done.written,
    }
    if done.archive:
        facts["archive"] = done.archive
    if not done.written and not done.received:
        console.print("all of it is there: nothing to do")
    # No summary.json: fetch.json beside the folder says what is in it.
    Summary("fetch", done.folder, time.perf_counter() - started, {}, facts).show(console)
    return 0


def untag(job: Untag, console: Console) -> int:
    """Run `genreray untag`."""
    import time

    from genreray.outputs import files

    started = time.perf_counter()
    counts = files.restore(job.tags, Progress(console, "untag", "files"))
    # No summary.json, which is the one of tag: untagged.csv has a row for each file.
    facts = {"files": counts, "table": storage.join(storage.absolute(job.tags), files.UNTAGGED_FILE)}
    Summary("untag", storage.absolute(job.tags), time.perf_counter() - started, {}, facts).show(console)
    return finish_files(counts, 0, files.UNTAGGED_FILE)
