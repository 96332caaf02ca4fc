"""What `genreray tune` does and says in the end: of one architecture, or of all."""

import time
from typing import Any

from genreray import search_page, search_results, storage, tuned_page
from genreray.arguments import ALL_MODELS, Tune
from genreray.cluster import Cluster
from genreray.progress import Progress
from genreray.summary import Summary, show_table
from genreray.tune import tune
from genreray.tune_all import tune_all


def searched(job: Tune, cluster: Cluster, progress: Progress) -> tuple[Summary, list[str]]:
    """Run the search, and return its last screen and a line for each architecture that has no winner."""
    return (_all if job.model == ALL_MODELS else _one)(job, cluster, progress)


def _one(job: Tune, cluster: Cluster, progress: Progress) -> tuple[Summary, list[str]]:
    done = tune(job.features, job.run, job.model, job.plan, cluster=cluster, progress=progress)
    if not done.n_run:
        progress.line("every trial of this search has ended: nothing to do")
    run = storage.absolute(job.run)
    facts = {**search_results.facts(done.found), "report": storage.join(run, search_page.HTML_NAME)}
    failures = []
    if done.found.winner is None:
        said = next((trial.error for trial in done.found.trials if trial.error), "no epoch was scored")
        failures.append(f"every trial failed; the first: {said}")
    return Summary("tune", run, done.seconds, {}, facts), failures


def _all(job: Tune, cluster: Cluster, progress: Progress) -> tuple[Summary, list[str]]:
    started = time.perf_counter()
    table, n_run = tune_all(job.features, job.run, job.plan, cluster=cluster, progress=progress)
    if not n_run:
        progress.line("every architecture is searched: nothing to do")
    rows = [tuned_page.cells(row, table) for row in table.ranked]
    show_table(tuned_page.columns(table), rows, progress.console, spare=("trials", "epochs", "time"))
    run = storage.absolute(job.run)
    failures = [f"{row.name} failed: {row.error}" for row in table.rows if row.error]
    facts: dict[str, Any] = {
        "metric": table.metric,
        "architectures": len(table.rows),
        "failed": len(failures),
        "table": storage.join(run, tuned_page.HTML_NAME),
    }
    return Summary("tune", run, time.perf_counter() - started, {}, facts), failures
