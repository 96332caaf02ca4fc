"""Ray itself: start it or join it quietly, and see what it has."""

import dataclasses
import logging
import os
from typing import Any, Literal

import ray
from ray.data import DataContext

from genreray.errors import UserError

Gpu = Literal["auto", "yes", "no"]


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Which Ray to work on: the one at `address` (or in RAY_ADDRESS, as in a submitted job), else one started here."""

    address: str | None = None
    verbose: bool = False

    def connect(self) -> None:
        """Join or start Ray, once a process; jobs call it when they have checked all that they can without.

        Raises UserError where the address does not answer.
        """
        if ray.is_initialized():
            return
        address = self.address or os.environ.get("RAY_ADDRESS") or "local"
        if address.startswith("ray://"):
            raise UserError(
                f"{address} is a Ray Client address, which jobs cannot use: submit them with `ray job submit`"
            )
        options: dict[str, Any] = {} if self.verbose else {"logging_level": "error", "log_to_driver": False}
        if not self.verbose:
            _quiet()
        if address == "local":
            # Of a Ray that ends with the job nobody looks at the dashboard, and it takes some of the CPUs' time.
            options["include_dashboard"] = self.verbose
        try:
            ray.init(address=address, **options)
        except ConnectionError as error:
            raise UserError(f"no Ray cluster answers at {address}: {str(error).splitlines()[0]}") from error
        DataContext.get_current().enable_progress_bars = self.verbose


def _quiet() -> None:
    # Ray writes these to the terminal by handlers of its own, whatever `ray.init` is told.
    for name in ("ray.data", "ray.train", "ray.tune", "ray"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what is raised is reported by the job


@dataclasses.dataclass(frozen=True)
class Workers:
    """What Ray Train is asked for, and what it leaves to the tasks that read the features."""

    count: int
    gpu: bool
    cpus: float  # logical CPUs of each worker
    threads: int  # of each worker's torch
    memory: int  # bytes of clips that each worker may keep


def plan_workers(count: int, gpu: Gpu) -> Workers:
    """Fit `count` workers into the cluster as it is, so that they and the tasks that feed them run side by side.

    Workers hold at most half of the CPUs: were they to hold all, no reading task could ever start.
    Raises UserError where GPUs are asked for and there are none, or fewer than workers.
    """
    if count < 1:
        raise UserError(f"workers is {count}: give 1 or more")
    total = ray.cluster_resources()
    n_gpus = int(total.get("GPU", 0))
    use_gpu = wants_gpu(gpu)
    if use_gpu and n_gpus < count:
        raise UserError(
            f"{count} workers want a GPU each, the cluster has {n_gpus}: give --workers {n_gpus} or --gpu no"
        )
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    if not nodes:
        raise UserError("the cluster has no CPUs for work: add a node, or start Ray with --num-cpus")
    smallest = min(node["CPU"] for node in nodes)
    per_node = -(-count // len(nodes))
    return Workers(
        count=count,
        gpu=use_gpu,
        cpus=min(1.0, smallest / 2 / per_node),
        threads=max(1, min(int(total["CPU"]) // count, os.cpu_count() or 1)),
        # Half of what Ray counts as free, and as if all workers were packed onto the node with the least.
        memory=int(min(node.get("memory", 0) for node in nodes) / 2 / count),
    )


def wants_gpu(gpu: Gpu) -> bool:
    """Return whether to use GPUs: as asked, or where the cluster has one.

    Raises UserError where they are asked for and there are none.
    """
    has_gpu = ray.cluster_resources().get("GPU", 0) > 0
    if gpu == "yes" and not has_gpu:
        raise UserError("--gpu yes, but no node of the cluster has a GPU: add one, or give --gpu auto or no")
    return gpu != "no" and has_gpu
