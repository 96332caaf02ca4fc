"""CATALOG in blocks, through stages on Ray Data, into part files: what extract and tag have in common."""

import dataclasses
import itertools
import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data

from genreray import storage
from genreray.cluster import Cluster
from genreray.errors import Status, UserError
from genreray.parts import Parts, count_statuses, part_size
from genreray.progress import Progress

_SHORT = 8  # tracks of the first block of each CPU


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of the tracks of a catalog."""

    counts: dict[str, int]  # tracks per status, those of earlier runs included
    n_done: int  # tracks done in this run
    n_before: int  # tracks found done
    seconds: float  # of this run


def run(
    catalog: pa.Table,
    stages: Callable[["ray.data.Dataset"], "ray.data.Dataset"],
    parts: Parts,
    *,
    cluster: Cluster,
    progress: Progress,
    block_size: int | None = None,
    seconds: float = 0.0,
    retry_failed: bool = False,
) -> Outcome:
    """Send the tracks that `parts` does not hold yet through `stages`, which write them as parts.

    Each block of the catalog becomes one part: smaller ones, where `seconds`, what is decoded of each track, are many.
    What comes out of the stages, and back to the driver, is each track's id and status.
    With `retry_failed`, tracks of the catalog whose status is not ok are done again.
    Raises UserError where the output holds something else, or does not hold all tracks in the end.
    """
    started = time.perf_counter()
    files = parts.files()
    parts.check_settings(files)
    done = parts.settle(files)
    _check_same_files(catalog, done, parts)
    if retry_failed:
        cluster.connect(progress.line)  # what cannot begin shall not take rows away
        done = _without_failed(catalog, done, parts, files)
    todo = _lacking(catalog, done)
    if len(todo):
        storage.check_buckets(todo.column("uri").to_pylist())
        storage.check_writable(parts.uri)
        progress.line(f"{len(todo):,} tracks to do" + (f", {len(done):,} done before" if len(done) else ""))
        cluster.connect(progress.line)
        n_cpus = ray.cluster_resources().get("CPU", 1)
        size = block_size or part_size(len(todo), n_cpus, seconds)
        starts = block_starts(len(todo), size, 0 if block_size else int(n_cpus))
        blocks = [todo.slice(i, end - i) for i, end in itertools.pairwise([*starts, len(todo)])]
        written = stages(ray.data.from_arrow(blocks))
        with progress.track(len(todo)) as advance:
            for block in written.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                advance(len(block))
    there = parts.settle(parts.files())
    if len(gone := _lacking(catalog, there)):
        raise UserError(
            f"{parts.uri} lacks {len(gone):,} tracks that were done, such as {gone.column('track_id')[0]}: something "
            "else changed it while the job ran; run the same command again"
        )
    return Outcome(
        counts=count_statuses(there.column("status")),
        n_done=len(todo),
        n_before=len(done),
        seconds=time.perf_counter() - started,
    )


def block_starts(n_tracks: int, size: int, n_short: int) -> list[int]:
    """Return where blocks of `size` tracks begin, the first `n_short` of them short, so that rows are on disk soon."""
    short = min(_SHORT, size)
    n_short = min(n_short, n_tracks // short)
    return [i * short for i in range(n_short)] + list(range(n_short * short, n_tracks, size))


def _lacking(catalog: pa.Table, done: pa.Table) -> pa.Table:
    """Return the rows of the catalog whose tracks are not in `done`."""
    there = pc.is_in(catalog.column("track_id"), value_set=done.column("track_id").combine_chunks())
    return catalog.filter(pc.invert(there))


def _without_failed(catalog: pa.Table, done: pa.Table, parts: Parts, files: list[str]) -> pa.Table:
    """Take the failed tracks of the catalog out of the parts, and return what is left of `done`."""
    of_catalog = pc.is_in(done.column("track_id"), value_set=catalog.column("track_id").combine_chunks())
    again = pc.and_(pc.not_equal(done.column("status"), Status.OK.value), of_catalog)
    if pc.any(again).as_py():
        parts.remove(files, done.filter(again).column("track_id").combine_chunks())
    return done.filter(pc.invert(again))


def _check_same_files(catalog: pa.Table, done: pa.Table, parts: Parts) -> None:
    """Raise UserError where a track of the catalog is in the output with another file."""
    place = pc.index_in(catalog.column("track_id"), value_set=done.column("track_id").combine_chunks())
    there = done.column("uri").combine_chunks().take(place.combine_chunks())
    differs = catalog.append_column("there", there).filter(pc.not_equal(catalog.column("uri"), there))
    if len(differs):
        track_id, uri, other = (differs.column(name)[0] for name in ("track_id", "uri", "there"))
        raise UserError(f"{parts.uri} holds track {track_id} of another file ({other}, not {uri}): give another folder")


def stage(dataset: "ray.data.Dataset", function: Callable[..., pa.Table], **arguments: Any) -> "ray.data.Dataset":
    """Add a stage of tasks that call `function` with each block."""
    return dataset.map_batches(
        function, fn_kwargs=arguments, batch_size=None, batch_format="pyarrow", zero_copy_batch=True
    )


def write_part(block: pa.Table, parts: Parts) -> pa.Table:
    """Write a block as one part; return its ids and statuses."""
    if len(block):
        parts.write(block)
    return block.select(["track_id", "status"])
