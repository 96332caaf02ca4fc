"""Ray itself: start it or join it quietly, and see what it has; wait for what its autoscaler may bring."""

import contextlib
import dataclasses
import logging
import math
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import grpc
import ray
import ray._private.utils
import ray.util
from ray._private.services import get_webui_url_from_internal_kv
from ray.autoscaler.sdk import request_resources
from ray.data import DataContext

from genreray.errors import UserError

Gpu = Literal["auto", "yes", "no"]

_PATIENCE = 5.0  # seconds for an address to answer
_START_PATIENCE = 30.0  # seconds for the first node to join a cluster that is just starting
_GROWTH_PATIENCE = 1200.0  # seconds for an autoscaler to bring nodes: spot GPUs may take a while
_STORE_SHARE = 0.6  # of the free memory, at most, where a job wants a large object store: some of it is held twice
_SHM_SHARE = 0.95  # of what /dev/shm has: in one that is larger than this Ray puts the store on disk
_GROUP = "ray.io/node-group"
# Ray Train on a Ray of one node that ends with the job: nobody takes that node away with notice, and asking one group
# of workers how they are costs nothing, while each run waits for the next time that they are asked.
_ALONE = {"RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0", "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5"}
# Of each block the driver is given its tracks' ids and statuses: asking for what Ray Data knows of them is quick, and
# a thread that does so beside its loop only has the next block wait for one more of its looks, a tenth of a second.
_OF_DRIVER = {"RAY_DATA_METADATA_PREFETCH_ON_THREAD": "0"}
# Of a Ray that ends with the job nobody looks at the dashboard or at metrics, and they take some of the CPUs' time.
_UNSEEN = {"RAY_enable_metrics_collection": "false"}


def _say_nothing(_: str) -> None:
    pass


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Which Ray to work on: the one at `address` (or in RAY_ADDRESS, as in a submitted job), else one started here."""

    address: str | None = None
    verbose: bool = False
    stores: Sequence[float] = ()  # sizes in bytes, each of use: a Ray started here has the greatest there is room for

    def connect(self, say: Callable[[str], None] = _say_nothing) -> None:
        """Join or start Ray, once a process; jobs call it when they have checked all that they can without.

        `say` tells a person what is waited for.
        Raises UserError where the address does not answer, and where no node has a CPU and none is to come.
        """
        _set(_OF_DRIVER)
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
            options["include_dashboard"] = self.verbose
            options["object_store_memory"] = _store(self.stores)
            set_alone(self.verbose)
        elif address != "auto":
            _check_address(address)
        with _own_sigterm():
            try:
                ray.init(address=address, **options)
            except ConnectionError as error:
                raise UserError(f"no Ray cluster answers at {address}: {str(error).splitlines()[0]}") from error
        DataContext.get_current().enable_progress_bars = self.verbose
        _wait_for_cpus(say)


def set_alone(verbose: bool = False) -> None:
    """Set, where nobody has, what a Ray that is started here and ends with the job reads of its environment."""
    _set(_ALONE if verbose else _ALONE | _UNSEEN)


def _set(variables: dict[str, str]) -> None:
    for name, value in variables.items():
        os.environ.setdefault(name, value)  # who has set another wants that


def _store(sizes: Sequence[float]) -> int | None:
    """Return the greatest size of an object store that there is room for; None where Ray's own, 30 %, is as large.

    A larger one is only promised: memory is taken by what is put there.
    """
    if sys.platform != "linux":  # on macOS Ray takes no larger one than its own
        return None
    free = ray._private.utils.estimate_available_memory()
    room = min(_STORE_SHARE * free, _SHM_SHARE * ray._private.utils.get_shared_memory_bytes())
    size = math.ceil(max((size for size in sizes if size <= room), default=0))
    return size if size > ray._private.utils.resolve_object_store_memory(free) else None


@contextlib.contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep this process's handler of SIGTERM, where it has one, while Ray starts.

    Ray would put three of its own in its place, one after another: two end the process by an exit code of theirs, and
    the one of C++, which is there for the last moment of the start, by a trace.
    """
    handler = signal.getsignal(signal.SIGTERM)
    if not callable(handler) or threading.current_thread() is not threading.main_thread():
        yield
        return
    theirs = ray._private.utils.set_sigterm_handler
    ray._private.utils.set_sigterm_handler = lambda _: None
    try:
        yield
    finally:
        ray._private.utils.set_sigterm_handler = theirs
        signal.signal(signal.SIGTERM, handler)


def _check_address(address: str) -> None:
    """Raise UserError where no cluster can be at `address`, which Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise UserError(f"{address} is not the address of a Ray cluster: give host:port, such as head:6379, or auto")
    if host in ("localhost", "127.0.0.1", "::1", "[::1]"):  # as Ray does, whose head does not listen there
        host = ray.util.get_node_ip_address()
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()
    except (OSError, OverflowError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise UserError(
            f"no Ray cluster answers at {address} ({reason.lower()}): see `ray status` on its head; "
            "the port is that of `ray start`, 6379 by default"
        ) from error
    if os.environ.get("RAY_USE_TLS", "0") != "0":
        return
    with contextlib.closing(grpc.insecure_channel(f"{host}:{port}", [("grpc.enable_http_proxy", 0)])) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=_PATIENCE)
        except grpc.FutureTimeoutError as error:
            raise UserError(
                f"what answers at {address} is not a Ray cluster: give the port of `ray start`, 6379 by default, "
                "not the dashboard's"
            ) from error


def _quiet() -> None:
    # Ray writes these to the terminal by handlers of its own, whatever `ray.init` is told.
    for name in ("ray.data", "ray.train", "ray.tune", "ray", "ray._private.worker"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what is raised is reported by the job


def _wait_for_cpus(say: Callable[[str], None]) -> None:
    """Wait for the first node with a CPU; raise UserError where none comes."""
    if not _nodes("CPU") and not _grow("CPU", 1, say):
        raise UserError("the cluster has no CPUs for work: add a node, or start Ray with --num-cpus 1 or more")


def _nodes(resource: str) -> list[dict[str, float]]:
    """Return the resources of each node that has `resource`."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get(resource)]


def _count(resource: str) -> int:
    return int(sum(node[resource] for node in _nodes(resource)))


def may_grow() -> bool:
    """Return whether an autoscaler may add nodes: those of Ray's launcher and of KubeRay carry the name of a group."""
    return any(node.get("Labels", {}).get(_GROUP) for node in ray.nodes() if node["Alive"])


def _grow(resource: str, count: int, say: Callable[[str], None]) -> int:
    """Ask the autoscaler for `count` of `resource`, wait for them, and return how many there are."""
    patience = _GROWTH_PATIENCE if may_grow() else _START_PATIENCE
    started = time.monotonic()
    if may_grow():
        say(f"waiting for the autoscaler to bring {count} {resource}: `ray status` shows how far it is")
        request_resources(bundles=[{resource: 1}] * count)
    try:
        while _count(resource) < count and time.monotonic() - started < patience:
            time.sleep(0.5)
    finally:
        if may_grow():
            request_resources(bundles=[])  # from here on the work itself asks
    return _count(resource)


@dataclasses.dataclass(frozen=True)
class Workers:
    """What Ray Train is asked for, and what it leaves to the tasks that read the features."""

    count: int
    gpu: bool
    cpus: float  # logical CPUs of each worker
    threads: int  # of each worker's torch; 0 for as many as its machine has CPUs
    memory: int  # bytes of clips that each worker may keep
    gpus: float = 0.0  # of each worker, a share where several trials have one GPU


def plan_workers(
    count: int, gpu: Gpu, say: Callable[[str], None] = _say_nothing, *, groups: int = 1, gpus: float = 1.0
) -> Workers:
    """Fit `count` workers into the cluster as it is, so that they and the tasks that feed them run side by side.

    Workers hold at most half of the CPUs: were they to hold all, no reading task could ever start. Room is left for
    `groups` of as many workers at once, each with `gpus` GPUs where GPUs are used.
    Raises UserError where GPUs are asked for and there are none, or fewer than workers.
    """
    if count < 1:
        raise UserError(f"workers is {count}: give 1 or more")
    use_gpu = wants_gpu(gpu, math.ceil(count * groups * gpus), say)
    if use_gpu and (there := n_gpus()) < count * gpus:
        raise UserError(f"{count} workers want a GPU each, the cluster has {there}: give --workers {there} or --gpu no")
    nodes = _nodes("GPU" if use_gpu else "CPU")
    smallest = min(node.get("CPU", 0) for node in nodes)  # of nodes with GPUs it may be 0, which keeps other tasks off
    per_node = -(-count * groups // len(nodes))
    return Workers(
        count=count,
        gpu=use_gpu,
        cpus=min(1.0, smallest / 2 / per_node),
        threads=int(smallest // per_node),
        # Half of what Ray counts as free, and as if all workers were packed onto the node with the least.
        memory=int(min(node.get("memory", 0) for node in nodes) / 2 / (count * groups)),
        gpus=gpus if use_gpu else 0.0,
    )


def wants_gpu(gpu: Gpu, count: int = 1, say: Callable[[str], None] = _say_nothing) -> bool:
    """Return whether to use GPUs: as asked, waiting for `count` where nodes may be added; or where there are any.

    Raises UserError where they are asked for and there are none.
    """
    if gpu == "yes" and n_gpus() < count and may_grow():
        _grow("GPU", count, say)
    if gpu == "yes" and not n_gpus():
        raise UserError("--gpu yes, but no node of the cluster has a GPU: add one, or give --gpu auto or no")
    return gpu != "no" and n_gpus() > 0


def has_dashboard() -> bool:
    """Return whether the cluster has a dashboard, of which Ray's own helpers ask what actors do."""
    return bool(get_webui_url_from_internal_kv())


def object_store() -> int:
    """Return the bytes of the smallest object store of the nodes that work."""
    return int(min((node.get("object_store_memory", 0) for node in _nodes("CPU")), default=0))


def n_cpus() -> int:
    """Return how many CPUs the cluster has."""
    return _count("CPU")


def n_gpus() -> int:
    """Return how many GPUs the cluster has."""
    return _count("GPU")
