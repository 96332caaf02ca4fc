"""The jobs that benchmarks/scale.py times, in a module of its own as Ray's workers import it by its name."""

import json
import os
import resource
import time
from functools import partial
from pathlib import Path

import pyarrow as pa
import ray.data
from rich.console import Console

from benchmarks import ray_side
from genreray import pipeline, tables
from genreray.catalog import read_catalog
from genreray.cluster import Cluster
from genreray.errors import Status
from genreray.features import FeatureConfig
from genreray.featureset import table_settings
from genreray.parts import Parts
from genreray.progress import Progress

_STUB_BYTES = 64


def job(manifest: Path, output: Path, told: Path, cpus: int) -> None:
    """Do what is missing of the catalog with the stub, and leave what it took in the file `told`."""
    started = time.perf_counter()
    if not output.exists():  # a resume that finds all done needs no Ray
        ray_side.start(cpus)
    schema = tables.with_metadata(tables.FEATURES, table_settings(FeatureConfig(), "official"))
    catalog = read_catalog(str(manifest)).sort_by([("split", "ascending"), ("track_id", "ascending")])
    parts = Parts(str(output), schema)
    with Path(os.devnull).open("w") as silence:
        outcome = pipeline.run(
            catalog,
            partial(stages, parts=parts),
            parts,
            cluster=Cluster(),
            progress=Progress(Console(file=silence), "scale"),
        )
    found = {
        "seconds": time.perf_counter() - started,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "done": outcome.n_done,
        "before": outcome.n_before,
    }
    told.write_text(json.dumps(found))


def stages(rows: ray.data.Dataset, parts: Parts) -> ray.data.Dataset:
    return pipeline.stage(pipeline.stage(rows, stub), pipeline.write_part, parts=parts)


def stub(block: pa.Table) -> pa.Table:
    """Return rows of FEATURES for rows of CATALOG, made of nothing."""
    image = bytes(_STUB_BYTES)
    made = {"status": Status.OK.value, "duration": 30.0, "n_frames": 1, "mel": image, "mel_ref": 0.0, "mfcc": image}
    columns = {name: block.column(name) for name in block.schema.names}
    for field in tables.FEATURES:
        if field.name not in columns:
            columns[field.name] = pa.array([made.get(field.name)] * len(block), field.type)
    return pa.table([columns[name] for name in tables.FEATURES.names], schema=tables.FEATURES)
