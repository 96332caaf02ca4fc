"""The jobs of the command that look at what is there, and need no Ray: review and inspect."""

from rich.console import Console

from genreray.arguments import Inspect, Review
from genreray.isolation import Limits

BROKEN = 1  # the exit code of inspect where the file cannot be used


def review(job: Review, console: Console) -> int:
    """Run `genreray review`."""
    import time

    from genreray import submitted
    from genreray.review import write_page
    from genreray.summary import Summary

    started = time.perf_counter()
    if job.page is not None:
        submitted.check_output(job.page)
    done = write_page(job.tags, job.page, job.tracks)
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
        job.track, job.checkpoint, n_windows=job.crops, model=job.model, limits=Limits(job.timeout)
    )
    inspection_screen.show(found, console)
    if found.is_broken:
        return BROKEN
    if job.plot is not None:
        inspection_screen.write_picture(found, job.plot)
        console.print(f"picture   {job.plot}", markup=False, soft_wrap=True)
    return 0
