"""SIGINT and SIGTERM at any moment of any job: one line, the exit code of the signal, and nothing left running."""

import re
import signal
import time
from pathlib import Path

import pytest
from commands import parts, started
from making import feature_rows, write_features, write_links
from victims import descendants

from genreray import cli

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

SECONDS = ("--duration", "3")
TRAINING = ("--epochs", "2", "--crop-frames", "64", "--batch-size", "8", "--filters", "4", "8")


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    return write_links(tmp_path_factory.mktemp("signals") / "music")


def heeds(pid: int, number: int) -> bool:
    """Return whether a process has a handler for a signal: whether Python itself has started."""
    status = Path(f"/proc/{pid}/status").read_text()
    return bool(int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16) >> number - 1 & 1)


def programs(pid: int) -> list[str]:
    """The command lines of all processes below one, without those that have ended."""
    return [title for title in descendants(pid).values() if title]


@pytest.mark.parametrize("again", [0.0, 0.05, 1.0])
def test_a_second_ctrl_c_does_not_hang_either(music, tmp_path, again):
    folder = tmp_path / "features"
    with started("extract", music, folder, *SECONDS, terminal=True) as command:
        command.wait_until(lambda: len(parts(folder)) >= 1)
        command.type(b"\x03")
        time.sleep(again)
        command.type(b"\x03")
        said = command.output()
        assert command.process.returncode == 130
        assert command.left_over() == []
    assert said.count("to go on: genreray extract") == 1
    print(f"injected: Ctrl-C twice, {again} s apart; found: exit code 130, nothing left running, one line")


@pytest.mark.parametrize("delay", [0.0, 0.7, 2.0])
@pytest.mark.parametrize("begun", ["python", "gcs_server", "raylet"])  # Ray's first process, and its last
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_ray_starts_ends_it_with_one_line(music, tmp_path, number, begun, delay):
    with started("extract", music, tmp_path / "features", *SECONDS) as command:
        pid = command.process.pid
        command.wait_until(lambda: heeds(pid, signal.SIGTERM))
        if begun != "python":
            command.wait_until(lambda: begun in {Path(title.split()[0]).name for title in programs(pid)})
        time.sleep(delay)
        command.signal(number)
        at = time.monotonic()
        said = command.output()
        print(
            f"injected: {number!r} {delay} s after {begun} was there; found: exit code {command.process.returncode} "
            f"in {time.monotonic() - at:.1f} s: {said!r}"
        )
        (line,) = (line for line in said.splitlines() if "to go on: genreray extract" in line)
        assert line.startswith(f"genreray: {'interrupted' if number == signal.SIGINT else 'terminated'}")
        assert "Traceback" not in said
        assert command.process.returncode == 128 + number
        assert command.left_over() == []


def test_evaluate_reproduce_and_demo_end_with_their_line(ray_session, tmp_path):
    features = write_features(tmp_path / "features", feature_rows(72))
    run = tmp_path / "run"
    assert cli.main(["train", features, str(run), *TRAINING]) == 0
    for argv in (
        ["evaluate", features, tmp_path / "report", "--checkpoint", run],
        ["reproduce", features, tmp_path / "table", "--models", "prior,mel_cnn"],
        ["demo", tmp_path / "demo"],
    ):
        with started(*argv) as command:
            command.wait_until(lambda pid=command.process.pid: any("ray::" in title for title in programs(pid)))
            time.sleep(1)
            command.signal(signal.SIGINT)
            at = time.monotonic()
            said = command.output()
            took = time.monotonic() - at
            print(f"injected: SIGINT into {argv[0]}; found after {took:.1f} s: {said.splitlines()[-1]}")
            assert took < 10
            assert command.process.returncode == 130
            assert command.left_over() == []
            assert "Traceback" not in said
            assert said.splitlines()[-1].endswith(f"to go on: genreray {' '.join(map(str, argv))}")
