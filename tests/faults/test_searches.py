"""Searches that are killed, interrupted, lose a node, or have next to no CPUs; and what a whole one gains."""

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import heads
import pyarrow.parquet as pq
import pytest
import searches
from commands import started
from making import feature_rows, write_features
from rich.console import Console
from victims import busy

from genreray import cli, models, trials
from genreray.starts import MOST_FAILED
from genreray.trials import TrialStatus

SLOW = 900  # seconds: on two cores that others use too
SPACE = """
learning_rate: {log_uniform: [1e-5, 3e-2]}
dropout: {uniform: [0, 0.5]}
filters: {choice: [[4, 8]]}
crop_frames: 64
batch_size: 8
"""
FLAGS = ["--trials", "4", "--epochs", "6", "--grace", "6", "--search", "random", "--gpu", "no"]
pytestmark = [pytest.mark.faults, pytest.mark.timeout(2 * SLOW)]


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    return write_features(tmp_path_factory.mktemp("tune") / "features", feature_rows(144))


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    file = tmp_path_factory.mktemp("space") / "space.yaml"
    file.write_text(SPACE)
    return str(file)


def command(*argv: object, start: tuple[str, ...] = ("-m", "genreray.cli"), **environment: str) -> subprocess.Popen:
    everything = {**os.environ, **environment}
    everything["PYTHONPATH"] = os.pathsep.join([str(heads.ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, *start, *map(str, argv)],
        env=everything,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen) -> str:
    output, _ = process.communicate(timeout=SLOW)
    assert process.returncode == 0, output
    return output


def wait_until(is_so, process: subprocess.Popen) -> None:
    until = time.monotonic() + SLOW
    while not is_so():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < until
        time.sleep(0.05)


def epochs(run: Path) -> dict[str, int]:
    """The epochs of each trial so far."""
    found = {}
    for file in sorted(run.glob("trials/*/history.json")):
        found[file.parent.name] = len(json.loads(file.read_text()))
    return found


def rows(run: Path) -> list[trials.Trial]:
    return trials.from_table(pq.read_table(run / "trials.parquet"))


def losses(trial: trials.Trial) -> list[float]:
    return [epoch["training_loss"] for epoch in trial.history]


@pytest.fixture(scope="module")
def whole(features, space, tmp_path_factory):
    """The search without a fault, a trial at a time."""
    run = tmp_path_factory.mktemp("whole") / "run"
    finish(command("tune", features, run, "--space", space, "--concurrent", 1, *FLAGS))
    return rows(run)


def check_went_on(run: Path, whole: list[trials.Trial]) -> None:
    """The same trials with the same losses, one search as if there had been no fault."""
    found = rows(run)
    assert [trial.status for trial in found] == [TrialStatus.FINISHED] * 4
    assert [dict(trial.config) for trial in found] == [dict(trial.config) for trial in whole]
    for one, other in zip(found, whole, strict=True):
        assert losses(one) == pytest.approx(losses(other), rel=1e-3)
    assert (run / "model.safetensors").exists()


@pytest.mark.parametrize("how", ["kill -9", "SIGINT"])
def test_a_search_that_was_ended_goes_on(features, space, whole, tmp_path, how):
    run = tmp_path / "run"
    argv = ["tune", features, run, "--space", space, "--concurrent", 1, *FLAGS]
    with started(*argv) as first:
        first.wait_until(lambda: epochs(run).get("0002", 0) >= 2)
        first.signal(signal.SIGKILL if how == "kill -9" else signal.SIGINT)
        said = first.output()
    before = epochs(run)
    ended = (run / "trials" / "0001" / "ended.json").stat().st_mtime_ns
    print(f"\ninjected: {how} with epochs {before}")
    if how == "SIGINT":
        assert re.search(r"genreray: interrupted after 1 of 4 trials; to go on: genreray tune ", said), said
        assert first.process.returncode == 130
    finish(command(*argv))
    assert (run / "trials" / "0001" / "ended.json").stat().st_mtime_ns == ended
    check_went_on(run, whole)
    print("found: the trial that had ended was left, all losses equal to without")


def test_a_search_goes_on_where_a_node_is_lost(features, space, whole, tmp_path):
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": 200_000_000}
    made = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        made.add_node(num_cpus=2, object_store_memory=200_000_000)
    run = tmp_path / "run"
    try:
        argv = ["tune", features, run, "--space", space, "--concurrent", 1, *FLAGS]
        process = command(*argv, RAY_ADDRESS=made.address)
        wait_until(lambda: epochs(run).get("0002", 0) >= 1, process)
        raylets = {node: node.all_processes["raylet"][0].process.pid for node in made.worker_nodes}
        lost = next(node for node, pid in raylets.items() if busy("RayTrainWorker", pid))
        made.remove_node(lost, allow_graceful=False)
        print(f"\ninjected: the node of a trial's worker removed with epochs {epochs(run)}")
        finish(process)
    finally:
        made.shutdown()
    check_went_on(run, whole)


FAILING = """
learning_rate: 3e-3
filters: {choice: [[4, 8], [4, 16], [4, 1000000, 1000000]]}
crop_frames: 64
batch_size: 8
"""


def test_trials_that_run_out_of_memory_are_rows_and_the_search_goes_on(features, tmp_path):
    """One whose workers are killed, as the kernel and Ray do it; one that asks for 36 terabytes."""
    run, space = tmp_path / "run", tmp_path / "space.yaml"
    space.write_text(FAILING)
    argv = ["tune", features, run, "--space", space, "--search", "grid", "--trials", 3, "--epochs", 3, "--grace", 3]
    process = command(*argv, "--concurrent", 1, "--gpu", "no")
    begun, ended = (run / "trials" / "0002" / name for name in ("trial.json", "ended.json"))
    wait_until(begun.exists, process)
    killed = set()
    while not ended.exists():
        assert process.poll() is None, process.communicate()[0]
        for pid in set(busy("RayTrainWorker", process.pid)) - killed:
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
        time.sleep(0.05)
    said = finish(process)
    print(f"\ninjected: {len(killed)} workers of trial 0002 killed; found:\n{said}")
    assert len(killed) == MOST_FAILED + 1
    default, lost, large = rows(run)
    assert [trial.status for trial in (default, lost, large)] == ["finished", "failed", "failed"]
    assert "while they started" in lost.error
    assert "allocate" in large.error
    assert (run / "model.safetensors").exists()


ON_FEW = """
import sys
import ray
from genreray import cli

if __name__ == "__main__":
    ray.init(address="local", num_cpus=int(sys.argv[1]), num_gpus=0, include_dashboard=False, logging_level="error",
             log_to_driver=False, object_store_memory=200_000_000)
    code = cli.main(sys.argv[2:])
    groups = {group["state"] for group in ray.util.placement_group_table().values()}
    assert groups == {"REMOVED"}, groups
    sys.exit(code)
"""


@pytest.mark.parametrize(("cpus", "workers", "concurrent"), [(1, 1, 1), (1, 2, 1), (2, 1, 2), (2, 2, 1)])
def test_a_search_with_stopped_trials_ends_on_few_cpus(features, space, tmp_path, cpus, workers, concurrent):
    script = tmp_path / "few.py"
    script.write_text(ON_FEW)
    run = tmp_path / "run"
    argv = ["tune", features, run, "--space", space, "--workers", workers, "--concurrent", concurrent]
    argv += ["--trials", 5, "--epochs", 4, "--grace", 1, "--reduction", 2, "--search", "random", "--gpu", "no"]
    path = os.pathsep.join([str(heads.ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(script), str(cpus), *map(str, argv)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=SLOW,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    statuses = [trial.status for trial in rows(run)]
    print(f"\nfound: {statuses}")
    assert TrialStatus.STOPPED in statuses
    assert TrialStatus.FAILED not in statuses


def test_twenty_trials_on_the_demo_are_worth_it(tmp_path):
    from genreray.demo import make_catalog

    features = tmp_path / "features"
    catalog = make_catalog(str(tmp_path / "catalog"))
    finish(command("extract", catalog.audio, features, "--fma-metadata", catalog.fma_metadata, "--max-failed", 1))
    run = tmp_path / "run"
    finish(command("tune", features, run, "--trials", 20, "--epochs", 10))
    found = rows(run)
    values = [value for trial in found if (value := trial.value("calibrated_loss")) is not None]
    n_epochs = sum(len(trial.epochs) for trial in found)
    print(f"\nfound: best {min(values):.3f}, default {values[0]:.3f}, median {statistics.median(values):.3f}; ")
    print(f"{n_epochs} of {20 * 10} epochs")
    assert len(found) == 20
    assert min(values) <= values[0]
    assert min(values) < statistics.median(values)
    assert n_epochs <= 0.6 * 20 * 10


def test_all_architectures_end_in_one_table(ray_session, features, tmp_path, monkeypatch, capsys):
    """Of two that are fitted at once; the others have nothing to search."""
    monkeypatch.setattr(models, "MODELS", searches.left_with("svm", "forest"))
    argv = ["tune", features, str(tmp_path / "run"), "--model", "all", "--trials", "2", "--gpu", "no"]
    assert cli.run(argv, Console()) == 0
    shown = capsys.readouterr().out
    print(shown)
    assert "left out, without settings to search: prior" in shown
    assert shown.index("architecture 1 of 2: svm") < shown.index("architecture 2 of 2: forest")
    table = json.loads((tmp_path / "run" / "tuned.json").read_text())
    assert [(row["name"], row["trials"], row["failed"]) for row in table["rows"]] == [("svm", 2, 0), ("forest", 2, 0)]
    for row in table["rows"]:
        assert row["best"]["calibrated_loss"] <= row["default"]["calibrated_loss"]
        assert row["best_test"].keys() >= {"accuracy"} <= row["default_test"].keys()
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("trials/*/*")}
    assert cli.run(argv, Console()) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("trials/*/*")}


OF_TWO = """
import sys
import searches
from genreray import cli, models

if __name__ == "__main__":
    models.MODELS = searches.left_with("mlp", "mel_cnn_shallow")
    sys.exit(cli.main(sys.argv[1:]))
"""


def test_a_search_of_all_architectures_that_was_interrupted_goes_on(features, tmp_path):
    """Of two networks, so that it does not take an hour."""
    run = tmp_path / "run"
    argv = ["tune", features, run, "--model", "all", "--concurrent", 1, *FLAGS]
    first = command(*argv, start=("-c", OF_TWO))
    wait_until(lambda: epochs(run / "models" / "mel_cnn_shallow").get("0002", 0) >= 2, first)
    first.send_signal(signal.SIGINT)
    said, _ = first.communicate(timeout=SLOW)
    print(f"\ninjected: SIGINT with epochs {epochs(run / 'models' / 'mel_cnn_shallow')} of the second; found:\n{said}")
    assert first.returncode == 130, said
    done = "genreray: interrupted after 1 of 4 trials, 1 of 2 architectures; to go on: genreray tune "
    assert re.search(f"{done}.*--model all ", said), said
    assert [row["name"] for row in json.loads((run / "tuned.json").read_text())["rows"]] == ["mlp"]
    before = {path: path.stat().st_mtime_ns for path in (run / "models").glob("*/trials/*/ended.json")}
    assert len(before) == 5
    print(finish(command(*argv, start=("-c", OF_TWO))))
    assert before == {path: path.stat().st_mtime_ns for path in before}
    table = json.loads((run / "tuned.json").read_text())["rows"]
    assert [(row["name"], row["trials"], row["failed"]) for row in table] == [("mlp", 4, 0), ("mel_cnn_shallow", 4, 0)]
    for name in ("mlp", "mel_cnn_shallow"):
        assert [len(trial.history) for trial in rows(run / "models" / name)] == [6] * 4
