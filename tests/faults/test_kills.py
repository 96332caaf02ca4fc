"""Jobs that are killed and run again: what comes out is what an uninterrupted run gives."""

import json
import os
import random
import re
import signal
import termios
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import soundfile as sf
from commands import parts, started
from making import GENRES, feature_rows, write_features

from benchmarks.watch import tree
from genreray import checkpoint, cli
from genreray.checkpoint import Settings
from genreray.features import FeatureConfig
from genreray.models.mel_cnn import MelCnnConfig

pytestmark = pytest.mark.timeout(600)

SECONDS = ("--duration", "3")
TRAINING = ("--epochs", "12", "--crop-frames", "64", "--batch-size", "8", "--filters", "4", "8")


@pytest.fixture(scope="module")
def music(tmp_path_factory, tone):
    """240 files, links to four of some seconds, and one that is broken."""
    folder = tmp_path_factory.mktemp("kills") / "music"
    folder.mkdir()
    for i in range(4):
        sf.write(folder / f"{i:03d}.wav", tone(22050, 4.0, 220.0 * (i + 1)), 22050)
    for i in range(4, 240):
        (folder / f"{i:03d}.wav").hardlink_to(folder / f"{i % 4:03d}.wav")
    (folder / "bad.mp3").write_text("no audio")
    return folder


@pytest.fixture(scope="module")
def whole(ray_session, music, tmp_path_factory):
    """The features of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole") / "features"
    assert cli.main(["extract", str(music), str(folder), *SECONDS]) == 0
    return pq.read_table(folder).sort_by("track_id")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    settings = Settings(
        model="mel_cnn",
        model_config=MelCnnConfig(filters=(4, 8)),
        features=FeatureConfig(duration=3.0),
        genres=list(GENRES),
        crop_frames=64,
        n_crops=2,
        training={},
        metrics={},
    )
    checkpoint.save(str(folder), settings.build(), settings)
    return folder


def test_an_extraction_killed_and_interrupted_ends_as_if_it_had_not_been(ray_session, capsys, music, whole, tmp_path):
    folder = tmp_path / "features"
    command = ["extract", str(music), str(folder), *SECONDS]
    with started(*command) as killed:
        killed.wait_until(lambda: len(parts(folder)) >= 1)
        killed.signal(signal.SIGKILL)
        killed.process.wait()
    first = parts(folder)
    print(f"killed -9 with {len(first)} parts of 8 written")
    with started(*command, terminal=True) as interrupted:
        before = termios.tcgetattr(interrupted.master)
        interrupted.wait_until(lambda: len(parts(folder)) > len(first))
        pressed = time.monotonic()
        interrupted.type(b"\x03")
        said = interrupted.output()
        took = time.monotonic() - pressed
        assert interrupted.process.returncode == 130
        assert interrupted.left_over() == []
        assert termios.tcgetattr(interrupted.master) == before
    second = parts(folder)
    print(f"Ctrl-C with {len(second)} parts written ended it in {took:.1f} s")
    assert took < 10
    assert said.rindex("\x1b[?25h") > said.rindex("\x1b[?25l")  # the cursor is shown again
    line = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said).strip().splitlines()[-1].strip()
    assert re.search(rf"^genreray: interrupted after \d+ of \d+ tracks; to go on: genreray {' '.join(command)}$", line)
    assert "Traceback" not in said
    assert {name: time for name, time in second.items() if name in first} == first  # what was done is left
    capsys.readouterr()
    assert cli.main(command) == 0
    rows = sum(pq.read_metadata(folder / name).num_rows for name in second)
    assert re.search(rf"done before +{rows}\n", capsys.readouterr().out)
    assert {name: time for name, time in parts(folder).items() if name in second} == second
    assert pq.read_table(folder).sort_by("track_id").equals(whole)
    third = parts(folder)
    assert cli.main(command) == 0
    assert parts(folder) == third


@pytest.mark.faults
@pytest.mark.parametrize(("how", "group"), [(signal.SIGTERM, True), (signal.SIGKILL, False)])  # group: as timeout(1)
def test_tagging_that_is_ended_goes_on(ray_session, music, model, tmp_path, capsys, how, group):
    tags, reference = tmp_path / "tags", tmp_path / "reference"
    command = ["tag", str(music), str(tags), "--checkpoint", str(model)]
    with started(*command) as terminated:
        terminated.wait_until(lambda: len(parts(tags / "predictions")) >= 1)
        terminated.signal(how, group)
        if how == signal.SIGKILL:
            terminated.process.wait()
        else:
            said = terminated.output()
            assert terminated.process.returncode == 143
            assert terminated.left_over() == []
            *_, last = said.splitlines()
            going_on = f"to go on: genreray {' '.join(command)}"
            assert re.fullmatch(rf"genreray: terminated after \d+ of 241 tracks; {going_on}", last)
            assert len(said.splitlines()) == 2, said  # the other says how many tracks there are to do
    before = parts(tags / "predictions")
    assert not (tags / "tags.csv").exists()
    capsys.readouterr()
    assert cli.main(command) == 0
    rows = sum(pq.read_metadata(tags / "predictions" / name).num_rows for name in before)
    kept = int(re.search(r"done before +(\d+)\n", capsys.readouterr().out)[1])
    print(f"injected: {how!r} with {len(before)} parts of {len(parts(tags / 'predictions'))} written; {kept} rows kept")
    assert rows <= kept < 241  # what Ray's workers wrote after the driver's end is kept too
    assert parts(tags / "predictions").items() >= before.items()
    assert cli.main(["tag", str(music), str(reference), "--checkpoint", str(model)]) == 0
    assert (tags / "tags.csv").read_text() == (reference / "tags.csv").read_text()
    found, expected = (pq.read_table(f / "predictions").sort_by("track_id") for f in (tags, reference))
    assert found.equals(expected)


@pytest.mark.faults
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(3))
def test_an_extraction_killed_in_every_way_at_any_time_is_the_same(music, whole, tmp_path, seed):
    """Kills the driver, all processes or one worker, at a part or a moment drawn at random, until it is done."""
    draw = random.Random(seed)
    folder = tmp_path / "features"
    for attempt in range(12):
        with started("extract", music, folder, *SECONDS) as command:
            there, more = len(parts(folder)), draw.randint(0, 3)
            how, delay = draw.choice(["SIGKILL", "SIGTERM", "SIGINT", "group", "worker"]), draw.uniform(0, 0.5)
            while command.process.poll() is None and len(parts(folder)) < there + more:
                time.sleep(0.01)
            time.sleep(delay)
            if command.process.poll() is not None:
                break
            if how == "worker":
                workers = [pid for pid in tree(command.process.pid) if "ray::" in _command(pid)]
                for pid in draw.sample(workers, min(1, len(workers))):
                    how = _command(pid).split("\0")[0]  # one of those that hold a node together too, as if it were lost
                    os.kill(pid, signal.SIGKILL)
            elif how == "group":
                command.signal(signal.SIGKILL, group=True)
            else:
                command.signal(getattr(signal, how))
            said = command.output()
            print(f"{attempt}: {how} at {there + more} parts and {delay:.2f} s: exit code {command.process.returncode}")
            assert "Traceback" not in said
            if command.process.returncode == 0:
                break
    else:
        assert cli.main(["extract", str(music), str(folder), *SECONDS]) == 0
    assert pq.read_table(folder).sort_by("track_id").equals(whole)


def _heeds(pid: int, number: int) -> bool:
    """Return whether a process has a handler for a signal: whether Python itself has started."""
    status = Path(f"/proc/{pid}/status").read_text()
    return bool(int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16) >> number - 1 & 1)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    return write_features(tmp_path_factory.mktemp("kills") / "features", feature_rows(72))


@pytest.fixture(scope="module")
def trained(ray_session, features, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kills") / "run"
    assert cli.main(["train", features, str(folder), *TRAINING]) == 0
    return losses(folder)


def losses(run: Path) -> list[tuple[float, float]]:
    return [
        (epoch["training_loss"], epoch["validation_loss"]) for epoch in json.loads((run / "history.json").read_text())
    ]


@pytest.mark.faults
@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT", "workers"])
def test_training_killed_goes_on_and_ends_as_if_it_had_not_been(features, trained, tmp_path, how):
    folder = tmp_path / "run"

    def epochs() -> int:
        return len(losses(folder)) if (folder / "history.json").exists() else 0

    with started("train", features, folder, *TRAINING) as command:
        command.wait_until(lambda: epochs() >= 2)
        if how == "workers":
            for _ in range(5):  # more than Ray Train is told to bear
                there = epochs()
                workers = [pid for pid in tree(command.process.pid) if "RayTrainWorker" in _command(pid)]
                print(f"killed workers {workers} after epoch {there}")
                os.kill(workers[-1], signal.SIGKILL)
                command.wait_until(lambda there=there: epochs() > there)
        else:
            command.signal(getattr(signal, how))
        said = command.output()
        assert "Traceback" not in said
    if how != "workers":
        done = epochs()
        print(f"{how} after epoch {done}")
        assert done < 12
        assert cli.main(["train", features, str(folder), *TRAINING]) == 0
    assert losses(folder) == [pytest.approx(epoch, rel=1e-4) for epoch in trained]
    assert (folder / "config.json").exists()


@pytest.mark.faults
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
    print(f"injected: Ctrl-C twice, {again} s apart; found: exit code 130, nothing left running, one line")
    assert said.count("to go on: genreray extract") == 1


@pytest.mark.faults
@pytest.mark.parametrize("delay", [0.0, 0.5, 2.0, 4.0, 8.0])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_ray_starts_ends_it_with_one_line(music, tmp_path, delay, number):
    with started("extract", music, tmp_path / "features", *SECONDS) as command:
        command.wait_until(lambda: _heeds(command.process.pid, signal.SIGTERM))
        time.sleep(delay)
        command.signal(number)
        at = time.monotonic()
        said = command.output()
        print(f"{number!r} after {delay} s: {command.process.returncode} in {time.monotonic() - at:.1f} s: {said!r}")
        (line,) = (line for line in said.splitlines() if "to go on: genreray extract" in line)
        assert line.startswith(f"genreray: {'interrupted' if number == signal.SIGINT else 'terminated'}")
        assert "Traceback" not in said
        assert command.process.returncode == 128 + number
        assert command.left_over() == []


@pytest.mark.faults
def test_evaluate_reproduce_and_demo_end_with_their_line(features, trained, tmp_path):
    run = tmp_path / "run"
    assert cli.main(["train", features, str(run), *TRAINING]) == 0
    for argv in (
        ["evaluate", features, tmp_path / "report", "--checkpoint", run],
        ["reproduce", features, tmp_path / "table", "--models", "prior,mel_cnn"],
        ["demo", tmp_path / "demo"],
    ):
        with started(*argv) as command:
            command.wait_until(lambda pid=command.process.pid: any("ray::" in _command(child) for child in tree(pid)))
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


@pytest.mark.faults
def test_two_jobs_at_once_in_one_output_leave_each_track_once(music, whole, tmp_path):
    folder = tmp_path / "features"
    with started("extract", music, folder, *SECONDS) as one, started("extract", music, folder, *SECONDS) as other:
        for command in (one, other):
            said = command.output()
            print(f"two at once; found: exit code {command.process.returncode}: {said.splitlines()[-1]}")
            assert command.process.returncode in (cli.BAD_INPUT, 0)
            assert "Traceback" not in said
    assert cli.main(["extract", str(music), str(folder), *SECONDS]) == 0
    assert pq.read_table(folder).sort_by("track_id").equals(whole)
