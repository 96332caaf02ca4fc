"""A head that runs no tasks and workers from none, as in cluster.yaml: Ray's own autoscaler, its nodes here."""

import json
import os
import subprocess
import sys

import heads
import pyarrow.parquet as pq
import pytest
import ray.util
import yaml
from making import write_music

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

HEAD = "f" * 56  # its id, by which the provider of nodes knows it
CONFIG = {
    "cluster_name": "test",
    "max_workers": 3,
    "idle_timeout_minutes": 5,
    "provider": {
        "type": "fake_multinode",
        "head_node_id": HEAD,
        # There is nothing to reach the nodes by, and their names are no addresses.
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
        "worker_liveness_check": False,
    },
    "auth": {},
    "upscaling_speed": 1.0,
    "file_mounts": {},
    "cluster_synced_files": [],
    "file_mounts_sync_continuously": False,
    "rsync_exclude": [],
    "rsync_filter": [],
    "head_node": {},
    "worker_nodes": {},
    **{
        f"{kind}_commands": []
        for kind in (
            "initialization",
            "setup",
            "head_setup",
            "worker_setup",
            "head_start_ray",
            "worker_start_ray",
        )
    },
    "head_node_type": "ray.head.default",
    "available_node_types": {
        "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "cpu": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 2},
        "gpu": {"resources": {"CPU": 0, "GPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 1},
    },
}
PLAN = """
import sys
from genreray import cluster
from genreray.errors import UserError

if __name__ == "__main__":
    cluster.Cluster().connect(print)
    print(cluster.plan_workers(1, "yes", print))
    cluster._GROWTH_PATIENCE = 20
    try:
        cluster.plan_workers(2, "yes", print)
    except UserError as error:
        print("refused:", error)
"""


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    folder = tmp_path_factory.mktemp("head")
    port = heads.free_port()
    address = f"{ray.util.get_node_ip_address()}:{port}"
    config = {**CONFIG, "provider": {**CONFIG["provider"], "gcs_address": address}}
    (folder / "cluster.yaml").write_text(yaml.safe_dump(config))
    variables = {
        "RAY_FAKE_CLUSTER": "1",
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD,
        "RAY_NODE_TYPE_NAME": "ray.head.default",  # as Ray's launcher and KubeRay set it
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    }
    with heads.started(
        folder / "log", variables, port=port, num_cpus=0, autoscaling_config=folder / "cluster.yaml"
    ) as environment:
        yield {**environment, "PYTHONPATH": os.pathsep.join([str(heads.ROOT), environment.get("PYTHONPATH", "")])}


def run(head, *command: str) -> str:
    done = subprocess.run([sys.executable, *command], env=head, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
    return done.stdout


def test_jobs_bring_the_nodes_that_they_need(head, tmp_path):
    manifest = write_music(tmp_path / "music", 18)
    said = run(head, "-m", "genreray.cli", "extract", manifest, str(tmp_path / "features"), "--duration", "3")
    assert "waiting for the autoscaler to bring 1 CPU" in said
    assert pq.read_table(tmp_path / "features").num_rows == 18
    small = ["--crop-frames", "64", "--batch-size", "8", "--filters", "4", "8", "--epochs", "1"]
    features, out = str(tmp_path / "features"), str(tmp_path / "run")
    run(head, "-m", "genreray.cli", "train", features, out, "--workers", "2", *small)
    assert len(json.loads((tmp_path / "run" / "history.json").read_text())) == 1
    run(head, "-m", "genreray.cli", "tag", manifest, str(tmp_path / "tags"), "--checkpoint", out)
    assert len((tmp_path / "tags" / "tags.csv").read_text().splitlines()) == 19


def test_gpus_that_are_asked_for_are_waited_for_and_too_many_refused(head, tmp_path):
    (tmp_path / "plan.py").write_text(PLAN)
    said = run(head, str(tmp_path / "plan.py"))
    assert "waiting for the autoscaler to bring 1 GPU" in said
    assert "Workers(count=1, gpu=True" in said
    assert "refused: 2 workers want a GPU each, the cluster has 1: give --workers 1 or --gpu no" in said
