"""Clips read once and held in Ray's object store, where all workers of a node look at the same copy."""

import dataclasses
import itertools
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import torch

from genreray import dataset, loading, part_rows
from genreray.checkpoint import Settings
from genreray.cluster import object_store
from genreray.dataset import Clips, View
from genreray.labels import Learnable

STORE_SHARE = 0.6  # of a node's object store; what Ray Data moves beside it is little
_CPUS = 0.5  # of the task that reads: others may hold the rest


@dataclasses.dataclass(frozen=True)
class Shared:
    """The clips of both splits, each an object of the store, with the inputs of one model or more."""

    splits: dict[str, "ray.ObjectRef[dict[str, Any]]"]

    def clips(self, split: str, inputs: Sequence[str], rank: int, world: int) -> View:
        """Return the share of worker `rank` of `world`, without a copy: of training equal shares, of validation all."""
        held = ray.get(self.splits[split])
        n = len(held["track_ids"])
        rows = np.arange(rank, n - n % world if split == "training" else n, world)
        with warnings.catch_warnings():  # torch warns of memory that may not be written; nobody writes clips
            warnings.simplefilter("ignore", UserWarning)
            shown = {name: torch.from_numpy(held["inputs"][name]) for name in inputs}
            n_frames, labels = (torch.from_numpy(held[name]) for name in ("n_frames", "labels"))
        return Clips(held["track_ids"], shown, n_frames, labels).view(torch.from_numpy(rows))


@dataclasses.dataclass
class Pool:
    """The clips of several searches of the same tracks, read once with all inputs that their models have."""

    inputs: tuple[str, ...] = ()
    shared: Shared | None = None

    def stores(self, learnt: Learnable, inputs: Sequence[str], settings: Settings) -> list[float]:
        """Return the sizes of object stores that share clips with these inputs, or with the pool's, all or some."""
        names = tuple(dict.fromkeys([*self.inputs, *inputs]))
        some = [chosen for n in range(len(names)) for chosen in itertools.combinations(names, n + 1)]
        return [store_for(learnt, chosen, settings) for chosen in some]

    def share(self, learnt: Learnable, inputs: Sequence[str], settings: Settings) -> Shared | None:
        """Return the clips with these inputs, and with the pool's others where there is room; None without room."""
        if self.shared is not None and set(inputs) <= set(self.inputs):
            return self.shared
        if set(inputs) <= set(self.inputs) and fits(learnt, self.inputs, settings):
            self.shared = share(learnt, self.inputs, settings)
            return self.shared
        return share(learnt, inputs, settings) if fits(learnt, inputs, settings) else None


def store_for(learnt: Learnable, inputs: Sequence[str], settings: Settings) -> float:
    """Return the bytes of an object store in which the clips of both splits with these inputs are shared."""
    n = sum(len(rows) for rows in learnt.tracks.values())
    return n * dataset.clip_bytes(inputs, settings.features) / STORE_SHARE


def fits(learnt: Learnable, inputs: Sequence[str], settings: Settings) -> bool:
    """Return whether the clips with these inputs fit in the object store of every node that works."""
    return store_for(learnt, inputs, settings) <= object_store()


def share(learnt: Learnable, inputs: Sequence[str], settings: Settings) -> Shared:
    """Read the clips of both splits, each part once, into the object store; the process that calls it owns them.

    Raises UserError where a part is damaged.
    """
    read = ray.remote(num_cpus=_CPUS, num_returns=2, max_calls=1)(_read)  # else its process stays, with its memory
    made = {split: read.remote(_in_order(rows), list(inputs), settings) for split, rows in learnt.tracks.items()}
    ray.get([n for n, _ in made.values()])  # what cannot be read is one error here, and not one in every trial
    return Shared({split: clips for split, (_, clips) in made.items()})


def _in_order(rows: pa.Table) -> pa.Table:
    """Return the places of rows of FeatureSet.index, so that each part is read in one go."""
    places = rows.select([name for name in ("part", "row", "mfcc_stats") if name in rows.schema.names])
    places = places.set_column(0, "part", places["part"].cast(pa.string()))
    return places.sort_by([("part", "ascending"), ("row", "ascending")])


def _read(places: pa.Table, inputs: list[str], settings: Settings) -> tuple[int, dict[str, Any]]:
    """Return how many clips are at `places`, and them as numpy arrays, which the object store takes as they are."""
    labels = ["genre"] if settings.tree is None else ["genre", "genres"]
    runs = part_rows.runs(places, ["track_id", *labels, "n_frames", *loading.columns(inputs)])
    clips = loading.load(runs, inputs, settings.features, settings.genres, settings.tree)
    return len(clips), {
        "track_ids": clips.track_ids,
        "inputs": {name: x.numpy() for name, x in clips.inputs.items()},
        "n_frames": clips.n_frames.numpy(),
        "labels": clips.labels.numpy(),
    }
