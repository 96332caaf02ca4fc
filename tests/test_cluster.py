"""Joining a cluster, and fitting workers into it."""

import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from genreray import cluster
from genreray.cluster import Cluster, plan_workers
from genreray.errors import UserError

_MANY_SECONDS = 30  # Ray itself takes minutes


@pytest.fixture
def alone(monkeypatch):
    """As in a process that has no Ray yet."""
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(cluster, "_PATIENCE", 1.0)


def refused(address: str) -> str:
    started = time.monotonic()
    with pytest.raises(UserError) as told:
        Cluster(address).connect()
    assert time.monotonic() - started < _MANY_SECONDS
    assert "\n" not in str(told.value)
    return str(told.value)


def test_sigterm_stays_in_our_hands_while_ray_starts():
    """tests/faults/test_signals.py sends it while a real one does."""
    import ray._private.utils

    def ours(number, frame):
        pass

    before = signal.signal(signal.SIGTERM, ours)
    try:
        with cluster._own_sigterm():
            ray._private.utils.set_sigterm_handler(lambda number, frame: None)  # as ray.init does
            assert signal.getsignal(signal.SIGTERM) is ours
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as the library in C++ does it
        assert signal.getsignal(signal.SIGTERM) is ours
        ray._private.utils.set_sigterm_handler(signal.SIG_IGN)  # Ray's own does what it did
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_address_where_nothing_listens_is_told_at_once(alone):
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert f"no Ray cluster answers at {address} (connection refused)" in refused(address)


def test_an_address_in_the_environment_is_looked_at_too(alone, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(UserError, match=f"no Ray cluster answers at {address}"):
            Cluster().connect()


def test_a_host_that_does_not_exist_is_told(alone):
    assert "no Ray cluster answers at nowhere.invalid:6379" in refused("nowhere.invalid:6379")


def test_a_server_that_is_not_ray_is_told(alone):
    """The dashboard's port is the usual mistake; Ray tries for seven minutes, and ends the process."""
    server = http.server.ThreadingHTTPServer(("", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        assert "is not a Ray cluster: give the port of `ray start`" in refused(f"127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("address", ["head", "http://head:8265", "head:port", ":6379", "head:70000"])
def test_what_is_no_address_is_told(alone, address):
    line = refused(address)
    assert address in line
    assert "6379" in line


def test_a_ray_client_address_is_refused(alone):
    assert "ray job submit" in refused("ray://head:10001")


INLINE = """
from genreray.cluster import Cluster
from genreray.errors import UserError
try:
    Cluster("ray://head:10001").connect()
except UserError:
    pass
from ray.data._internal.execution import metadata_fetcher
print(type(metadata_fetcher.make_metadata_fetcher()).__name__)
"""


@pytest.mark.parametrize(("said", "expected"), [(None, "InlineMetadataFetcher"), ("1", "ThreadedMetadataFetcher")])
def test_the_driver_asks_for_what_ray_data_knows_of_a_block_at_once(said, expected):
    """Else a worker waits for its next block a tenth of a second longer; who has set it otherwise has it so."""
    name = "RAY_DATA_METADATA_PREFETCH_ON_THREAD"
    env = {key: value for key, value in os.environ.items() if key != name} | ({name: said} if said else {})
    done = subprocess.run([sys.executable, "-c", INLINE], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [expected]


GB = 1 << 30


@pytest.fixture
def memory(monkeypatch):
    """Says how much memory is free, and how much of it may be shared."""
    import ray._private.utils

    def have(free, shared):
        monkeypatch.setattr(ray._private.utils, "estimate_available_memory", lambda: free * GB)
        monkeypatch.setattr(ray._private.utils, "get_shared_memory_bytes", lambda: shared * GB)

    return have


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere Ray takes no larger store than its own")
@pytest.mark.parametrize(
    ("free", "shared", "wanted", "expected"),
    [
        (12, 8, [], None),
        (12, 8, [3], None),  # Ray's own has 30 % of 12
        (12, 8, [2, 4, 7, 7.25], 7),  # no more than 60 % of what is free
        (12, 5, [4, 5], 4),  # nor than nearly all of /dev/shm
        (12, 1 / 16, [4], None),  # a container's: Ray's own is then on disk
        (12, 8, [30], None),
    ],
)
def test_a_ray_that_is_started_here_has_the_largest_store_of_use(
    alone, memory, monkeypatch, free, shared, wanted, expected
):
    import ray

    started = {}
    monkeypatch.setattr(ray, "init", lambda **options: started.update(options))
    monkeypatch.setattr(cluster, "_ALONE", {})
    monkeypatch.setattr(cluster, "_UNSEEN", {})
    monkeypatch.setattr(cluster, "_wait_for_cpus", lambda say: None)
    memory(free, shared)
    Cluster(stores=[size * GB for size in wanted]).connect()
    assert started["object_store_memory"] == (expected and expected * GB)


@pytest.fixture
def nodes(monkeypatch):
    """Says what the nodes of the cluster have."""

    def have(*found):
        monkeypatch.setattr(cluster, "_nodes", lambda resource: [node for node in found if node.get(resource)])

    return have


@pytest.mark.parametrize(
    ("cpus", "count", "expected"),
    [
        ([1], 1, 0.5),
        ([1], 2, 0.25),
        ([2], 1, 1.0),
        ([2], 2, 0.5),
        ([4], 1, 1.0),
        ([4], 4, 0.5),
        ([64], 8, 1.0),
        ([4, 4], 4, 1.0),
        ([1, 16], 2, 0.5),
    ],
)
def test_workers_leave_half_of_the_cpus_to_the_tasks_that_feed_them(nodes, cpus, count, expected):
    nodes(*({"CPU": n, "memory": 8 * GB} for n in cpus))
    plan = plan_workers(count, "no")
    assert plan.cpus == expected
    assert plan.cpus * count <= sum(cpus) / 2


def test_a_worker_computes_with_the_cpus_of_its_node(nodes):
    nodes({"CPU": 16, "memory": 8 * GB}, {"CPU": 16, "memory": 4 * GB})
    assert plan_workers(1, "no").threads == 16
    assert plan_workers(4, "no").threads == 8
    assert plan_workers(2, "no").memory == GB  # half of the smaller node, between two


def test_gpus_are_asked_of_the_nodes_that_have_them(nodes):
    nodes({"CPU": 64, "memory": 8 * GB}, {"CPU": 8, "GPU": 2, "memory": 16 * GB})
    plan = plan_workers(2, "auto")
    assert (plan.gpu, plan.threads, plan.memory) == (True, 4, 4 * GB)
    with pytest.raises(UserError, match="3 workers want a GPU each, the cluster has 2: give --workers 2 or --gpu no"):
        plan_workers(3, "auto")
    assert not plan_workers(3, "no").gpu


def test_a_node_with_a_gpu_may_keep_its_cpus_from_other_tasks(nodes):
    nodes({"GPU": 1, "memory": 8 * GB}, {"CPU": 4, "memory": 8 * GB})
    plan = plan_workers(1, "yes")
    assert (plan.gpu, plan.cpus, plan.threads) == (True, 0.0, 0)  # 0 threads: as many as the machine has


def test_a_cluster_without_cpus_is_told(nodes, monkeypatch):
    nodes({"GPU": 1})
    monkeypatch.setattr(cluster, "_START_PATIENCE", 0.0)
    monkeypatch.setattr(cluster, "may_grow", lambda: False)
    with pytest.raises(UserError, match="the cluster has no CPUs for work: add a node"):
        cluster._wait_for_cpus(print)
