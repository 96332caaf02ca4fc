"""Nodes removed and workers killed in the middle of a job: the output is what it is without."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import heads
import pyarrow.parquet as pq
import pytest
import soundfile as sf
import sounds
from making import GENRES, SMALL, feature_rows, write_features
from victims import busy

N_TRACKS = 120
SLOW = 600  # seconds: on two cores that others use too


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    """A manifest of noise, long enough that a block takes a moment."""
    folder = tmp_path_factory.mktemp("music")
    lines = ["path,genre,split"]
    for i in range(N_TRACKS):
        sf.write(folder / f"{i:03d}.flac", sounds.noise(22050, 12.0, seed=i % 8), 22050)
        lines.append(f"{i:03d}.flac,{GENRES[i % 3]},{('training', 'validation', 'test')[i % 3]}")
    (folder / "music.csv").write_text("\n".join(lines) + "\n")
    return str(folder / "music.csv")


@pytest.fixture
def cluster():
    """A head that runs no tasks, and two nodes of two CPUs."""
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": 200_000_000}
    made = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        made.add_node(num_cpus=2, object_store_memory=200_000_000)
    yield made
    made.shutdown()


def job(cluster, *argv: str) -> subprocess.Popen:
    environment = {**os.environ, "RAY_ADDRESS": cluster.address}
    environment["PYTHONPATH"] = os.pathsep.join([str(heads.ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "genreray.cli", *argv]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process: subprocess.Popen) -> None:
    output, _ = process.communicate(timeout=SLOW)
    assert process.returncode == 0, output


def wait_until(there: Callable[[], bool], process: subprocess.Popen) -> None:
    until = time.monotonic() + SLOW
    while not there():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < until
        time.sleep(0.05)


def raylet(node) -> int:
    return node.all_processes["raylet"][0].process.pid


def remove_busy_node(cluster, word: str) -> None:
    """Remove a node that works on what `word` names, with all its processes, as when its machine is lost."""
    found: list = []
    until = time.monotonic() + 60
    while not found and time.monotonic() < until:
        found = [(node, workers) for node in cluster.worker_nodes if (workers := busy(word, raylet(node)))]
    (node, workers), *_ = found
    print(f"\ninjected: a node removed on which {len(workers)} workers were at {word}", flush=True)
    cluster.remove_node(node, allow_graceful=False)


def table(folder: Path):
    return pq.read_table(folder).sort_by("track_id")


def parts(folder: Path) -> int:
    return len(list(folder.glob("part-*")))


@pytest.mark.faults
@pytest.mark.timeout(2 * SLOW)
def test_a_node_lost_in_the_middle_of_extract_changes_nothing(cluster, music, tmp_path):
    whole, hurt = tmp_path / "whole", tmp_path / "hurt"
    finish(job(cluster, "extract", music, str(whole), "--duration", "10"))
    process = job(cluster, "extract", music, str(hurt), "--duration", "10")
    wait_until(lambda: parts(hurt) > 0, process)
    before = parts(hurt)
    remove_busy_node(cluster, "extract_part")
    finish(process)
    print(
        f"found: {before} of {parts(hurt)} parts were written before, {len(table(hurt))} rows after, equal to without"
    )
    assert before < parts(hurt)
    assert table(hurt).equals(table(whole))
    assert len(table(hurt)) == N_TRACKS


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    return write_features(tmp_path_factory.mktemp("train") / "features", feature_rows(144))


TRAINING = ["--workers", "2", "--crop-frames", "64", "--batch-size", "8", "--filters", "4", "8"]


@pytest.mark.faults
@pytest.mark.timeout(2 * SLOW)
def test_a_node_lost_in_the_middle_of_train_and_then_of_tag_changes_nothing(cluster, features, music, tmp_path):
    whole, hurt = tmp_path / "whole", tmp_path / "hurt"
    finish(job(cluster, "train", features, str(whole), *TRAINING, "--epochs", "12"))
    process = job(cluster, "train", features, str(hurt), *TRAINING, "--epochs", "12")
    wait_until(lambda: (hurt / "history.json").exists() and len(losses(hurt)) > 2, process)
    before = len(losses(hurt))
    remove_busy_node(cluster, "RayTrainWorker")
    finish(process)
    print(f"found: {before} epochs were done before, {len(losses(hurt))} in the end, their losses equal to without")
    assert before < 12
    assert losses(hurt) == [pytest.approx(loss, rel=1e-3) for loss in losses(whole)]
    assert (hurt / "model.safetensors").exists()

    cluster.add_node(num_cpus=2, object_store_memory=200_000_000)
    tags = tmp_path / "whole_tags", tmp_path / "hurt_tags"
    finish(job(cluster, "tag", music, str(tags[0]), "--checkpoint", str(whole)))
    process = job(cluster, "tag", music, str(tags[1]), "--checkpoint", str(whole))
    wait_until(lambda: parts(tags[1] / "predictions") > 0, process)
    before = parts(tags[1] / "predictions")
    remove_busy_node(cluster, "extract_block")
    finish(process)
    print(f"found: {before} of {parts(tags[1] / 'predictions')} parts were written before; tags.csv equal to without")
    assert (tags[1] / "tags.csv").read_text() == (tags[0] / "tags.csv").read_text()
    assert len((tags[1] / "tags.csv").read_text().splitlines()) == N_TRACKS + 1


def losses(run: Path) -> list[tuple[float, float]]:
    return [
        (epoch["training_loss"], epoch["validation_loss"]) for epoch in json.loads((run / "history.json").read_text())
    ]


@pytest.mark.faults
@pytest.mark.timeout(2 * SLOW)
def test_a_worker_killed_every_few_seconds_changes_nothing(cluster, music, tmp_path):
    whole, hurt = tmp_path / "whole", tmp_path / "hurt"
    finish(job(cluster, "extract", music, str(whole), "--duration", "10"))
    process = job(cluster, "extract", music, str(hurt), "--duration", "10")
    killed = 0
    wait_until(lambda: parts(hurt) > 0, process)
    while process.poll() is None:
        workers = [pid for node in cluster.worker_nodes for pid in busy("extract_part", raylet(node))]
        if workers:
            os.kill(workers[killed % len(workers)], signal.SIGKILL)
            killed += 1
        time.sleep(3)
    finish(process)
    print(f"\ninjected: {killed} workers killed with -9; found: {len(table(hurt))} rows, equal to without")
    assert killed >= 2
    assert table(hurt).equals(table(whole))


def test_a_killed_worker_costs_no_row(ray_session, tmp_path):
    """The short form: one worker, with -9, in the middle of its block."""
    from rich.console import Console

    from genreray.catalog import read_catalog
    from genreray.cluster import Cluster
    from genreray.extract import extract
    from genreray.progress import Progress

    (tmp_path / "music").mkdir()
    for i in range(16):
        sf.write(tmp_path / "music" / f"{i:02d}.flac", sounds.noise(22050, 4.0, seed=i), 22050)
    catalog = read_catalog(str(tmp_path / "music"))
    killed: list[int] = []

    def kill() -> None:
        until = time.monotonic() + 60
        while not killed and time.monotonic() < until:
            if workers := busy("extract_part"):
                os.kill(workers[0], signal.SIGKILL)
                killed.append(workers[0])

    how = {"split_method": "official", "cluster": Cluster(), "progress": Progress(Console(), "extract")}
    extract(catalog, str(tmp_path / "whole"), SMALL, **how, block_size=4)
    killer = threading.Thread(target=kill)
    killer.start()
    outcome = extract(catalog, str(tmp_path / "hurt"), SMALL, **how, block_size=4)
    killer.join()
    print(f"injected: worker {killed} killed with -9; found: {outcome.counts}")
    assert killed
    assert outcome.counts == {"ok": 16}
    assert table(tmp_path / "hurt").equals(table(tmp_path / "whole"))
