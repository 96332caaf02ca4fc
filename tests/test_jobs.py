"""A job submitted to a real cluster, as `ray job submit` does it: a head of its own, its job server, its logs."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import soundfile as sf

ROOT = Path(__file__).parent.parent


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def head(tmp_path_factory) -> Iterator[dict[str, str]]:
    """The environment in which `ray job submit` reaches a Ray head started for these tests."""
    log = tmp_path_factory.mktemp("head") / "log"
    dashboard = free_port()
    environment = {
        **os.environ,
        "RAY_AUTH_MODE": "disabled",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    options = {
        "port": free_port(),
        "dashboard-port": dashboard,
        "dashboard-agent-listen-port": free_port(),
        "ray-client-server-port": free_port(),
        "num-cpus": 2,
        "object-store-memory": 200_000_000,
    }
    flags = [f"--{name}={value}" for name, value in options.items()]
    with log.open("wb") as output:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", *flags]
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
    try:
        wait_for(f"http://127.0.0.1:{dashboard}/api/version", process, log)
        yield {**environment, "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{dashboard}"}
    finally:
        stop(process)


def stop(process: subprocess.Popen) -> None:
    """End the head and what it started; `ray stop` would end every Ray on the machine."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=5)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=15)


def wait_for(url: str, process: subprocess.Popen, log: Path) -> None:
    for _ in range(240):
        assert process.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(url, timeout=2)
            return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"no job server: {log.read_text()}")


def submit(head: dict[str, str], *command: str) -> subprocess.CompletedProcess:
    submit = [sys.executable, "-m", "ray.scripts.scripts", "job", "submit", "--working-dir", ".", "--"]
    return subprocess.run([*submit, *command], cwd=ROOT, env=head, capture_output=True, text=True, timeout=200)


def test_a_submitted_job_joins_the_cluster_and_shows_its_counts(head, tmp_path, tone):
    music = tmp_path / "music"
    music.mkdir()
    for i in range(4):
        sf.write(music / f"{i}.wav", tone(22050, 3.5, 300.0 + i), 22050)
    (music / "bad.mp3").write_text("no audio")
    features = tmp_path / "features"
    done = submit(head, "python", "jobs/extract.py", str(music), str(features), "--max-failed", "0.5")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "undecodable" in done.stdout
    assert "Started a local Ray instance" not in done.stdout + done.stderr
    assert pq.read_table(features).num_rows == 5
    assert json.loads((tmp_path / "features.summary.json").read_text())["counts"] == {"ok": 4, "undecodable": 1}


def test_a_submitted_job_that_cannot_be_done_fails_with_its_one_line(head, tmp_path):
    done = submit(head, "python", "jobs/train.py", str(tmp_path / "nothing"), str(tmp_path / "run"))
    assert done.returncode != 0
    assert "genreray: there are no features" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout.split("genreray:")[0]
