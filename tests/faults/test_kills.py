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
from commands import parts, started
from making import GENRES, feature_rows, write_features, write_links
from victims import busy, descendants

from genreray import checkpoint, cli
from genreray.checkpoint import Settings
from genreray.features import FeatureConfig
from genreray.models.mel_cnn import MelCnnConfig

pytestmark = pytest.mark.timeout(600)

SECONDS = ("--duration", "3")
TRAINING = ("--epochs", "12", "--crop-frames", "64", "--batch-size", "8", "--filters", "4", "8")


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    """240 files and one that is broken."""
    folder = write_links(tmp_path_factory.mktemp("kills") / "music")
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
                workers = {pid: title for pid, title in descendants(command.process.pid).items() if "ray::" in title}
                for pid in draw.sample(list(workers), min(1, len(workers))):
                    how = workers[pid]  # one of those that hold a node together too, as if it were lost
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
@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT", "SIGTERM", "workers"])
def test_training_killed_goes_on_and_ends_as_if_it_had_not_been(features, trained, tmp_path, how):
    folder = tmp_path / "run"

    def epochs() -> int:
        return len(losses(folder)) if (folder / "history.json").exists() else 0

    with started("train", features, folder, *TRAINING) as command:
        command.wait_until(lambda: epochs() >= 2)
        if how == "workers":
            for _ in range(5):  # more than Ray Train is told to bear
                there = epochs()
                workers = busy("RayTrainWorker", command.process.pid)
                print(f"killed workers {workers} after epoch {there}")
                os.kill(workers[-1], signal.SIGKILL)
                command.wait_until(lambda there=there: epochs() > there)
        else:
            command.signal(getattr(signal, how))
        said = command.output()
        assert "Traceback" not in said
    if how in ("SIGINT", "SIGTERM"):
        assert command.process.returncode == 128 + getattr(signal, how)
        line = rf"genreray: \w+ after \d+ of 12 epochs; to go on: genreray {' '.join(command.argv)}"
        assert re.fullmatch(line, said.splitlines()[-1])
    if how != "workers":
        done = epochs()
        print(f"{how} after epoch {done}")
        assert done < 12
        assert cli.main(["train", features, str(folder), *TRAINING]) == 0
    assert losses(folder) == [pytest.approx(epoch, rel=1e-4) for epoch in trained]
    assert (folder / "config.json").exists()


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
