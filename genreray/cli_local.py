"""The jobs of the command that look at what is there, and need no Ray."""

from rich.console import Console

from genreray.arguments import Review


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
