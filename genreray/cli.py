"""The command `genreray`: one function a job, from its flags to its last screen and exit code."""

import os
import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console

from genreray import arguments, storage, submitted
from genreray.arguments import Demo, Evaluate, Extract, Job, Reproduce, Tag, Train, Tune
from genreray.arguments_local import Fetch, Inspect, Review, Untag
from genreray.cli_local import fetch, inspect, review, untag
from genreray.errors import UserError, user_error_in
from genreray.interrupts import Interrupts
from genreray.parsing import parse
from genreray.progress import Progress
from genreray.summary import TOO_MANY_FAILED, Summary, finish, finish_files, show_systems

# Verbs are imported in the functions that call them: Ray takes a second to import, which --help should not cost.

BAD_INPUT = 2
UNREAD = 141  # as shells say of a program whose output nobody reads any more: 128 + SIGPIPE
_BEST = ("validation_loss", "validation_accuracy", "validation_mean_average_precision")  # of the epoch that is kept


def main(argv: list[str] | None = None) -> int:
    """Run the job that the command line asks for and return its exit code.

    0: done. 1: done, but more tracks failed than --max-failed allows. 2: cannot be done as asked, one line on
    stderr says why. 130, 143: interrupted (SIGINT), terminated (SIGTERM); one line says how to go on. 141: whatever
    reads the output has gone, as in `genreray train --help | head`.
    """
    argv = sys.argv[1:] if argv is None else argv
    with Interrupts(argv) as interrupts:
        try:
            return run(argv, Console(highlight=False))
        except BaseException as error:
            # Once a signal came, whatever ends the job: the ends of Ray's processes are errors too.
            if interrupts.signal is not None or isinstance(error, KeyboardInterrupt):
                interrupts.end(error)
            if type(error) is BrokenPipeError:  # and not a worker's, which Ray hands on as another class
                _stop_writing()
                return UNREAD
            said = str(error) if isinstance(error, UserError) else user_error_in(error)
            if said is None:
                raise
            print(f"genreray: {said}", file=sys.stderr)
            return BAD_INPUT


def _stop_writing() -> None:
    """Let what is left to be written go nowhere: Python would complain at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run(argv: list[str], console: Console) -> int:
    """Run one job and return its exit code; raises UserError where it cannot be done as asked."""
    job = parse(argv)
    if (output := getattr(job, job.output)) is not None:
        submitted.check_output(output)
    functions: dict[type[Any], Callable[[Any, Console], int]] = {
        Fetch: fetch,
        Extract: extract,
        Train: train,
        Evaluate: evaluate,
        Tag: tag,
        Untag: untag,
        Review: review,
        Inspect: inspect,
        Reproduce: reproduce,
        Tune: tune,
        Demo: demo,
    }
    return next(function for kind, function in functions.items() if isinstance(job, kind))(job, console)


def extract(job: Extract, console: Console) -> int:
    """Run `genreray extract`."""
    from genreray import splits
    from genreray.catalog import genre_parents
    from genreray.extract import extract as extract_verb

    catalog, split_method = splits.assign(_catalog(job), job.split_seed)
    if split_method != splits.OFFICIAL and not job.fresh and storage.exists(job.features):
        catalog = splits.keep(catalog, _earlier(job.features))
    outcome = extract_verb(
        catalog,
        job.features,
        job.settings,
        split_method=split_method,
        cluster=_cluster(job),
        progress=Progress(console, "extract"),
        genre_parents=genre_parents(job.fma_metadata),
        limits=job.limits,
        retry_failed=job.retry_failed,
        fresh=job.fresh,
    )
    facts = {**_throughput(outcome), "split": split_method}
    summary = Summary("extract", storage.absolute(job.features), outcome.seconds, outcome.counts, facts)
    # Beside the folder, not in it: whatever reads Parquet folders wants nothing else in them.
    return finish(summary, f"{summary.output}.summary.json", console, job.max_failed)


def _earlier(features: str) -> Any:
    """Return the tracks that an earlier run has left in the output."""
    from genreray.featureset import FeatureSet
    from genreray.tables import FEATURES

    is_empty = storage.is_folder(features) and next(storage.list_files(features), None) is None
    return FEATURES.empty_table() if is_empty else FeatureSet.open(features).index


def train(job: Train, console: Console) -> int:
    """Run `genreray train`."""
    from genreray.train import train as train_verb

    architecture: Any = getattr(job, "architecture")  # noqa: B009 - a field that only the parsed class has
    done = train_verb(
        job.features,
        job.run,
        job.model,
        architecture,
        job.training,
        workers=job.workers,
        gpu=job.gpu,
        cluster=_cluster(job),
        progress=Progress(console, "train"),
        fma_features=job.fma_features,
        labels=job.labels,
        fresh=job.fresh,
    )
    facts = {
        "model": job.model,
        "labels": job.labels,
        "parameters": done.n_parameters,
        "genres": len(done.genres),
        "training_tracks": done.n_training,
        "validation_tracks": done.n_validation,
        "epochs": len(done.history),
        "best_epoch": done.best["epoch"],
        **{name: done.best[name] for name in _BEST if name in done.best},
    }
    summary = Summary("train", storage.absolute(job.run), done.seconds, {}, facts)
    if done.already_finished:
        console.print("this run is finished: nothing to do")
        summary.show(console)
        return 0
    return finish(summary, storage.join(job.run, "summary.json"), console)


def evaluate(job: Evaluate, console: Console) -> int:
    """Run `genreray evaluate`."""
    import time

    from genreray import report
    from genreray.evaluate import evaluate as evaluate_verb

    started = time.perf_counter()
    done = evaluate_verb(
        job.features,
        job.report,
        job.checkpoint,
        split=job.split,
        gpu=job.gpu,
        cluster=_cluster(job),
        progress=Progress(console, "evaluate"),
        embedding=job.embedding,
        fma_features=job.fma_features,
        model=job.model,
        target_accuracy=job.target_accuracy,
    )
    facts = {
        "split": job.split,
        "scored": done.scores.n,
        **done.scores.headline(),
        **_target(done.target),
        "report": storage.join(storage.absolute(job.report), report.HTML_NAME),
    }
    seconds = time.perf_counter() - started
    summary = Summary("evaluate", storage.absolute(job.report), seconds, done.counts, facts)
    return finish(summary, storage.join(job.report, "summary.json"), console)


def _target(found: dict[str, float | None] | None) -> dict[str, Any]:
    """Return what to say of the accuracy that was wanted."""
    if found is None:
        return {}
    if found["min_confidence"] is None:
        return {"min_confidence": f"none gives an accuracy of {found['wanted']:g}"}
    return {
        "min_confidence": f"{found['min_confidence']:g}",
        "labelled_with_it": found["coverage"],
        "accuracy_with_it": found["accuracy"],
    }


def tag(job: Tag, console: Console) -> int:
    """Run `genreray tag`."""
    from genreray import outputs
    from genreray.outputs.lists import CSV_FILE
    from genreray.tag import tag as tag_verb

    outcome = tag_verb(
        _catalog(job),
        job.tags,
        job.checkpoint,
        top_k=job.top_k,
        gpu=job.gpu,
        cluster=_cluster(job),
        progress=Progress(console, "tag"),
        wanted=job.wanted,
        embedding=job.embedding,
        coverage=job.coverage,
        model=job.model,
        limits=job.limits,
        retry_failed=job.retry_failed,
        fresh=job.fresh,
    )
    facts = {**_throughput(outcome), "tags": storage.join(storage.absolute(job.tags), CSV_FILE), **outcome.facts}
    summary = Summary("tag", storage.absolute(job.tags), outcome.seconds, outcome.counts, facts)
    code = finish(summary, storage.join(job.tags, outputs.SUMMARY_FILE), console, job.max_failed)
    return code or finish_files(outcome.facts.get("files", {}), job.max_failed, "written.csv")


def reproduce(job: Reproduce, console: Console) -> int:
    """Run `genreray reproduce`."""
    import time

    from genreray import comparison_page
    from genreray.reproduce import Plan, facts
    from genreray.reproduce import reproduce as reproduce_verb

    started = time.perf_counter()
    plan = Plan(job.names, job.seeds, job.epochs, job.split, job.workers, job.gpu, job.fma_features, job.fresh)
    table, worked = reproduce_verb(
        job.features, job.report, plan, cluster=_cluster(job), progress=Progress(console, "reproduce")
    )
    if not worked:
        console.print("every system is trained and scored: nothing to do")
    show_systems(table, console)
    page = storage.join(storage.absolute(job.report), comparison_page.HTML_NAME)
    summary = Summary(
        "reproduce",
        storage.absolute(job.report),
        time.perf_counter() - started,
        {},
        {**facts(table), "systems": len(table.systems), "failed": len(table.failures), "table": page},
    )
    code = finish(summary, storage.join(job.report, "summary.json"), console)
    for failure in table.failures:
        print(f"genreray: {failure.name} failed: {failure.error}", file=sys.stderr)
    return TOO_MANY_FAILED if table.failures else code


def tune(job: Tune, console: Console) -> int:
    """Run `genreray tune`."""
    from genreray.tune_summary import searched

    summary, failures = searched(job, _cluster(job), Progress(console, "tune"))
    code = finish(summary, storage.join(job.run, "summary.json"), console)
    for line in failures:
        print(f"genreray: {line}", file=sys.stderr)
    return TOO_MANY_FAILED if failures else code


def demo(job: Demo, console: Console) -> int:
    """Run `genreray demo`."""
    from genreray.walkthrough import walk

    return walk(job, console)


def _catalog(job: arguments.CatalogJob) -> Any:
    from genreray.catalog import read_catalog

    where: str = getattr(job, "catalog")  # noqa: B009 - a field of both subclasses
    return read_catalog(where, fma_metadata=job.fma_metadata, subset=job.subset, genre_column=job.genre_column)


def _cluster(job: Job) -> Any:
    from genreray.cluster import Cluster

    return Cluster(job.address, job.verbose)


def _throughput(outcome: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {"done_now": outcome.n_done, "done_before": outcome.n_before}
    if outcome.n_done:
        facts["tracks_per_second"] = round(outcome.n_done / outcome.seconds, 2)
    return facts


if __name__ == "__main__":
    sys.exit(main())
