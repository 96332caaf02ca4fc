"""CATALOG -> FEATURES, on Ray Data: one task fetches, decodes, computes and writes a block of tracks."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import ray.data

from genreray import audio, features, pipeline, storage, tables
from genreray.cluster import Cluster
from genreray.errors import Status, TrackError
from genreray.features import FeatureConfig
from genreray.featureset import table_settings
from genreray.parts import Parts
from genreray.pipeline import Outcome
from genreray.progress import Progress


def extract(
    catalog: pa.Table,
    features_uri: str,
    config: FeatureConfig,
    *,
    split_method: str,
    cluster: Cluster,
    progress: Progress,
    block_size: int | None = None,
    genre_parents: Mapping[str, str] | None = None,
) -> Outcome:
    """Compute the features of every track of `catalog` into Parquet below `features_uri`.

    `genre_parents` is the tree of the catalog's genres, the parent by the child, which the table then carries.
    Tracks that are there already are not done again. One row comes out for each row that goes in; what went wrong
    with a track is its row's status and error.
    Raises UserError where the folder holds something else, or features made with other settings.
    """
    schema = tables.with_metadata(tables.FEATURES, table_settings(config, split_method, genre_parents))

    def stages(dataset: "ray.data.Dataset") -> "ray.data.Dataset":
        return feature_stage(dataset, config)

    # Parts of one split each can be skipped whole by whoever reads another split.
    in_order = catalog.sort_by([("split", "ascending"), ("track_id", "ascending")])
    return pipeline.run(
        in_order, stages, Parts(features_uri, schema), cluster=cluster, progress=progress, block_size=block_size
    )


def feature_stage(dataset: "ray.data.Dataset", config: FeatureConfig) -> "ray.data.Dataset":
    """Add the stage that turns rows of CATALOG into rows of FEATURES."""
    return dataset.map_batches(
        extract_block, fn_kwargs={"config": config}, batch_size=None, batch_format="pyarrow", zero_copy_batch=True
    )


def extract_block(block: pa.Table, config: FeatureConfig) -> pa.Table:
    """Return the rows of FEATURES for rows of CATALOG, in the same order."""
    rows = [{**row, **extract_track(row["uri"], config)} for row in block.to_pylist()]
    return pa.Table.from_pylist(rows, schema=tables.FEATURES)


def extract_track(uri: str, config: FeatureConfig) -> dict[str, Any]:
    """Return the columns of FEATURES after the catalog's, for the track at `uri`.

    This is the one place where a track's fault becomes data: whatever is raised ends in `status` and `error`.
    """
    try:
        with storage.open_track(uri) as file:
            y = audio.decode(file, config.sr, config.duration)
        mel, mel_ref, mfcc = features.extract(y, config)
    except TrackError as error:
        return {"status": error.status.value, "error": error.message}
    except OSError as error:  # of a file on disk that was opened
        return {"status": Status.UNREADABLE.value, "error": error.strerror or str(error)}
    except Exception as error:
        return {"status": Status.ERROR.value, "error": f"{type(error).__name__}: {error}"}
    return {
        "status": Status.OK.value,
        "duration": len(y) / config.sr,
        "n_frames": mel.shape[1],
        "mel": np.ascontiguousarray(mel).tobytes(),
        "mel_ref": mel_ref,
        "mfcc": np.ascontiguousarray(mfcc).tobytes(),
    }
