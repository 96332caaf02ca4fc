"""CATALOG -> FEATURES, on Ray Data: one task fetches, decodes, computes and writes a block of tracks."""

import contextlib
import functools
import itertools
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa
import ray.data

from genreray import pipeline, storage, tables, track
from genreray.cluster import Cluster
from genreray.errors import TrackError
from genreray.features import FeatureConfig
from genreray.featureset import table_settings
from genreray.isolation import DEFAULT_LIMITS, Limits, map_isolated
from genreray.parts import GROUP, Parts
from genreray.pipeline import Outcome
from genreray.progress import Progress


class TrackFunction(Protocol):
    """`track.extract_tracks`, or what stands for it."""

    def __call__(self, uris: Sequence[str], config: FeatureConfig) -> Iterable[track.Columns]:
        """Yield the columns of FEATURES after the catalog's for the track at each of `uris`."""
        ...


def extract(
    catalog: pa.Table,
    features_uri: str,
    config: FeatureConfig,
    *,
    split_method: str,
    cluster: Cluster,
    progress: Progress,
    limits: Limits = DEFAULT_LIMITS,
    block_size: int | None = None,
    genre_parents: Mapping[str, str] | None = None,
    retry_failed: bool = False,
    fresh: bool = False,
) -> Outcome:
    """Compute the features of every track of `catalog` into Parquet below `features_uri`.

    `genre_parents` is the tree of the catalog's genres, the parent by the child, which the table then carries.
    Tracks that are there already are not done again, but with `retry_failed` those whose status is not ok; with `fresh`
    the parts that are there are deleted first. One row comes out for each row that goes in; what went wrong
    with a track is its row's status and error.
    Raises UserError where the folder holds something else, or features made with other settings.
    """
    schema = tables.with_metadata(tables.FEATURES, table_settings(config, split_method, genre_parents))

    # Parts of one split each can be skipped whole by whoever reads another split.
    in_order = catalog.sort_by([("split", "ascending"), ("track_id", "ascending")])
    output = Parts(features_uri, schema)
    if fresh:
        cluster.connect(progress.line)  # what cannot begin shall not delete
        storage.delete_files(output.ours(), output.uri)

    def stages(dataset: "ray.data.Dataset") -> "ray.data.Dataset":
        how = {"config": config, "limits": limits, "extract_tracks": track.extract_tracks}
        return pipeline.stage(dataset, extract_part, parts=output, **how)

    return pipeline.run(
        in_order,
        stages,
        output,
        cluster=cluster,
        progress=progress,
        block_size=block_size,
        seconds=config.duration,
        retry_failed=retry_failed,
    )


def feature_stage(
    dataset: "ray.data.Dataset", config: FeatureConfig, limits: Limits = DEFAULT_LIMITS, n_clips: int = 1
) -> "ray.data.Dataset":
    """Add the stage that turns rows of CATALOG into rows of FEATURES; of more than one clip, FEATURES_OF_CLIPS."""
    how: dict[str, Any] = {"extract_tracks": track.extract_tracks}
    if n_clips > 1:
        how = {
            "extract_tracks": functools.partial(track.extract_clips, n_clips=n_clips),
            "schema": tables.FEATURES_OF_CLIPS,
        }
    return pipeline.stage(dataset, extract_block, config=config, limits=limits, **how)


def extract_block(
    block: pa.Table,
    config: FeatureConfig,
    limits: Limits = DEFAULT_LIMITS,
    extract_tracks: TrackFunction = track.extract_tracks,
    schema: pa.Schema = tables.FEATURES,
) -> pa.Table:
    """Return the rows of `schema` for rows of CATALOG, in the same order, what else these have behind."""
    others = (field for field in block.schema if field.name not in schema.names)
    rows = _extracted(block, config, limits, extract_tracks)
    return pa.Table.from_pylist(list(rows), schema=pa.schema([*schema, *others]))


def extract_part(
    block: pa.Table,
    parts: Parts,
    config: FeatureConfig,
    limits: Limits = DEFAULT_LIMITS,
    extract_tracks: TrackFunction = track.extract_tracks,
) -> pa.Table:
    """Write the rows of FEATURES for rows of CATALOG as one part, some at a time; return their ids and statuses."""
    statuses: list[str] = []

    def groups() -> Iterator[pa.Table]:
        with contextlib.closing(_extracted(block, config, limits, extract_tracks)) as rows:
            while group := list(itertools.islice(rows, GROUP)):
                statuses.extend(row["status"] for row in group)
                yield pa.Table.from_pylist(group, schema=tables.FEATURES)

    track_ids = block.column("track_id").to_pylist()
    parts.write_groups(track_ids, groups())
    schema = pa.schema([tables.FEATURES.field(name) for name in ("track_id", "status")])
    return pa.table([track_ids, statuses], schema=schema)


def _extracted(
    block: pa.Table, config: FeatureConfig, limits: Limits, extract_tracks: TrackFunction
) -> Generator[dict[str, Any]]:
    """Yield a row for each row of CATALOG as it is made, in the same order.

    The tracks are done in a process of their own: one that crashes it, hangs or swells costs its own row alone.
    """
    rows = block.to_pylist()
    function = functools.partial(extract_tracks, config=config)
    with contextlib.closing(map_isolated(function, [row["uri"] for row in rows], limits)) as made:
        for row, found in zip(rows, made, strict=True):
            yield {**row, **(track.fault_columns(found) if isinstance(found, TrackError) else found)}
