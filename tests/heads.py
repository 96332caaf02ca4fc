"""A Ray head as `ray start` makes it, in processes of its own, for tests that join it or submit jobs to it."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
_RAY = [sys.executable, "-m", "ray.scripts.scripts"]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def started(log: Path, variables: dict[str, str] | None = None, **options: object) -> Iterator[dict[str, str]]:
    """Yield the environment in which commands reach a head started with `options` (num_cpus=2) of `ray start`.

    `variables` are those of the head alone.
    """
    dashboard, port = free_port(), options.pop("port", None) or free_port()
    # Of its own, as jobs are sent to the head that was last started in a folder; and short, as names of sockets are.
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")
    environment = {
        **os.environ,
        "RAY_AUTH_MODE": "disabled",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    given = {
        "port": port,
        "dashboard-port": dashboard,
        "dashboard-agent-listen-port": free_port(),
        "ray-client-server-port": free_port(),
        "object-store-memory": 200_000_000,
        "temp-dir": folder,
        **{name.replace("_", "-"): value for name, value in options.items()},
    }
    flags = [f"--{name}={value}" for name, value in given.items()]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*_RAY, "start", "--head", "--block", *flags],
            env={**environment, **(variables or {})},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _wait_for(f"http://127.0.0.1:{dashboard}/api/version", process, log)
        address = f"127.0.0.1:{port}"
        yield {**environment, "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{dashboard}", "RAY_ADDRESS": address}
    finally:
        _stop(process)
        shutil.rmtree(folder, ignore_errors=True)


def _stop(process: subprocess.Popen) -> None:
    """End the head and what it started; `ray stop` would end every Ray on the machine."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=5)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=15)


def _wait_for(url: str, process: subprocess.Popen, log: Path) -> None:
    for _ in range(240):
        assert process.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(url, timeout=2)
            return
        except urllib.error.HTTPError:  # it is there, and wants a token
            return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"no job server: {log.read_text()}")


def submit(head: dict[str, str], *command: str, timeout: float = 200) -> subprocess.CompletedProcess:
    """Submit a job and follow its logs to its end."""
    return subprocess.run(submission(*command), cwd=ROOT, env=head, capture_output=True, text=True, timeout=timeout)


def submission(*command: str) -> list[str]:
    """The command line that submits a job from the root of this project."""
    return [*_RAY, "job", "submit", "--working-dir", ".", "--", *command]
