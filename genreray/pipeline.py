"""CATALOG in blocks, through stages on Ray Data, into part files: what extract and tag have in common."""

import dataclasses
import time
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data

from genreray import storage
from genreray.cluster import Cluster
from genreray.errors import UserError
from genreray.parts import Parts, count_statuses, part_size
from genreray.progress import Progress


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
) -> Outcome:
    """Send the tracks that `parts` does not hold yet through `stages` and write what comes out as parts.

    Each block of the catalog becomes one block of rows and one part. Only the statuses come back to the driver.
    Raises UserError where the output holds something else.
    """
    started = time.perf_counter()
    files = parts.files()
    parts.check_settings(files)
    done = parts.read(files)
    _check_same_files(catalog, done, parts)
    todo = catalog.filter(
        pc.invert(pc.is_in(catalog.column("track_id"), value_set=done.column("track_id").combine_chunks()))
    )
    if len(todo):
        storage.check_buckets(todo.column("uri").to_pylist())
        storage.check_writable(parts.uri)
        progress.line(f"{len(todo):,} tracks to do" + (f", {len(done):,} done before" if len(done) else ""))
        cluster.connect(progress.line)
        block_size = block_size or part_size(len(todo), ray.cluster_resources().get("CPU", 1))
        blocks = [todo.slice(i, block_size) for i in range(0, len(todo), block_size)]
        dataset = stages(ray.data.from_arrow(blocks))
        written = dataset.map_batches(
            _write_part, fn_kwargs={"parts": parts}, batch_size=None, batch_format="pyarrow", zero_copy_batch=True
        )
        with progress.track(len(todo)) as advance:
            for block in written.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                advance(len(block))
    statuses = parts.read(parts.files()).column("status")
    return Outcome(
        counts=count_statuses(statuses),
        n_done=len(todo),
        n_before=len(done),
        seconds=time.perf_counter() - started,
    )


def _check_same_files(catalog: pa.Table, done: pa.Table, parts: Parts) -> None:
    """Raise UserError where a track of the catalog is in the output with another file."""
    uris = dict(zip(*done.select(["track_id", "uri"]).to_pydict().values(), strict=True))
    for track_id, uri in zip(*catalog.select(["track_id", "uri"]).to_pydict().values(), strict=True):
        if uris.get(track_id, uri) != uri:
            raise UserError(
                f"{parts.uri} holds track {track_id} of another file ({uris[track_id]}, not {uri}): give another folder"
            )


def _write_part(block: pa.Table, parts: Parts) -> pa.Table:
    if len(block):
        parts.write(block)
    return block.select(["track_id", "status"])
