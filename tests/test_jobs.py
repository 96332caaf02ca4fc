"""Jobs submitted to a real cluster, as `ray job submit` does it: a head of its own, its job server, its logs."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator

import heads
import pyarrow.parquet as pq
import pytest
from heads import submit
from making import write_music

FEW_CPUS = ["--crop-frames", "64", "--batch-size", "8", "--filters", "4", "8"]


@pytest.fixture(scope="module")
def head(tmp_path_factory) -> Iterator[dict[str, str]]:
    with heads.started(tmp_path_factory.mktemp("head") / "log", num_cpus=2) as environment:
        yield environment


def said(done: subprocess.CompletedProcess) -> str:
    return done.stdout + done.stderr


def test_a_submitted_job_joins_the_cluster_and_shows_its_counts(head, tmp_path):
    write_music(tmp_path / "music", 4)
    (tmp_path / "music" / "bad.mp3").write_text("no audio")
    features = tmp_path / "features"
    done = submit(head, "python", "jobs/extract.py", str(tmp_path / "music"), str(features), "--max-failed", "0.5")
    assert done.returncode == 0, said(done)
    assert "undecodable" in done.stdout
    assert "Started a local Ray instance" not in said(done)
    assert pq.read_table(features).num_rows == 5
    assert json.loads((tmp_path / "features.summary.json").read_text())["counts"] == {"ok": 4, "undecodable": 1}


@pytest.mark.faults
def test_a_submitted_job_does_not_write_where_nobody_looks(head, tmp_path):
    done = submit(head, "python", "jobs/train.py", str(tmp_path / "nothing"), "run")
    assert done.returncode != 0
    assert "genreray: run is relative, and a submitted job runs in a temporary folder" in said(done)
    assert "Traceback" not in done.stdout.split("genreray:")[0]


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_every_job_can_be_submitted(head, tmp_path):
    manifest = write_music(tmp_path / "music", 27)
    features, run, report, tags, table = (str(tmp_path / name) for name in ("features", "run", "report", "tags", "all"))
    jobs = {
        "extract": [manifest, features, "--duration", "3"],
        "train": [features, run, "--epochs", "2", "--workers", "2", *FEW_CPUS],
        "evaluate": [features, report, "--checkpoint", run],
        "tag": [manifest, tags, "--checkpoint", run],
        "reproduce": [features, table, "--models", "prior,forest", "--seeds", "1"],
        "tune": [features, str(tmp_path / "search"), "--trials", "2", "--epochs", "2", "--concurrent", "1"],
    }
    for name, arguments in jobs.items():
        done = submit(head, "python", f"jobs/{name}.py", *arguments)
        assert done.returncode == 0, said(done)
        assert f"Job '{done.stdout.split(chr(39))[1]}' succeeded" in done.stdout  # as `ray job submit` follows it
        (took,) = (line for line in done.stdout.splitlines() if line.startswith("took"))
        print(f"submitted: {name}; found: succeeded, {took}")
    assert len(json.loads((tmp_path / "run" / "history.json").read_text())) == 2
    assert json.loads((tmp_path / "report" / "metrics.json").read_text())["n"] == 3
    assert len((tmp_path / "tags" / "tags.csv").read_text().splitlines()) == 28
    systems = json.loads((tmp_path / "all" / "comparison.json").read_text())["systems"]
    assert [system["name"] for system in systems] == ["prior", "forest"]
    assert pq.read_table(tmp_path / "search" / "trials.parquet").num_rows == 2


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_a_cluster_with_authentication_takes_jobs_from_whoever_has_its_token(tmp_path):
    """As cluster.yaml and deploy/kuberay have it."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    music, features = str(tmp_path / "music"), str(tmp_path / "features")
    write_music(tmp_path / "music", 4)
    with heads.started(tmp_path / "log", token, num_cpus=1) as environment:
        for wrong in ({}, {**token, "RAY_AUTH_TOKEN": secrets.token_hex(32)}):
            strange = {**environment, "HOME": str(tmp_path), **wrong}
            done = submit(strange, "python", "jobs/extract.py", music, features)
            assert done.returncode != 0
            assert "submitted successfully" not in said(done)
            print(f"injected: {'another token' if wrong else 'no token'}; found: {said(done).strip().splitlines()[-1]}")
        command = [sys.executable, "-m", "genreray.cli", "extract", music, features]
        strange["PYTHONPATH"] = os.pathsep.join([str(heads.ROOT), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(command, env=strange, capture_output=True, text=True, timeout=200)
        assert done.returncode == 2, said(done)
        assert done.stderr.splitlines()[-1].startswith("genreray: no Ray cluster answers at")
        assert list((tmp_path / "features").glob("*")) == []
        done = submit({**environment, **token}, "python", "jobs/extract.py", music, features)
        assert done.returncode == 0, said(done)
    assert pq.read_table(features).num_rows == 4


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_two_jobs_at_once_on_two_cpus_both_finish(head, tmp_path):
    """Two that train, and two that extract: each holds what the other waits for, and gives it back."""
    manifest = write_music(tmp_path / "music", 27)
    extracts = [["extract.py", manifest, str(tmp_path / f"features{i}"), "--duration", "3"] for i in range(2)]
    trains = [
        ["train.py", str(tmp_path / f"features{i}"), str(tmp_path / f"run{i}"), "--epochs", "2", "--workers", "2"]
        for i in range(2)
    ]
    for pair in (extracts, [[*train, *FEW_CPUS] for train in trains]):
        running = [
            subprocess.Popen(
                heads.submission("python", f"jobs/{script}", *arguments),
                cwd=heads.ROOT,
                env=head,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for script, *arguments in pair
        ]
        for process in running:
            output, _ = process.communicate(timeout=200)
            assert process.returncode == 0, output
        print(f"two at once on two CPUs: {pair[0][0]}; found: both done")
    assert [pq.read_table(tmp_path / f"features{i}").num_rows for i in range(2)] == [27, 27]
    assert [len(json.loads((tmp_path / f"run{i}" / "history.json").read_text())) for i in range(2)] == [2, 2]
