"""Disks that are full or read-only: one clear line, what was written stays valid, and the same command goes on."""

import json
import re
from pathlib import Path

import disks
import pyarrow.parquet as pq
import pytest
from commands import started
from making import feature_rows, write_features, write_music

from genreray import cli

pytestmark = pytest.mark.faults

FULL = "cannot be written: no space left on device"
TRAINING = ("--epochs", "12", "--crop-frames", "64", "--batch-size", "8", "--filters", "4", "8")


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    return write_features(tmp_path_factory.mktemp("full") / "features", feature_rows(72))


@pytest.fixture(scope="module")
def run(ray_session, features, tmp_path_factory):
    """The folder of a training that had room."""
    folder = tmp_path_factory.mktemp("full") / "run"
    assert cli.main(["train", features, str(folder), *TRAINING]) == 0
    return folder


@pytest.fixture
def disk(tmp_path):
    with disks.mounted(tmp_path / "disk", "3m") as folder:
        yield folder


def losses(run: Path) -> list[tuple[float, float]]:
    return [
        (epoch["training_loss"], epoch["validation_loss"]) for epoch in json.loads((run / "history.json").read_text())
    ]


def refused(capsys, *argv: object) -> str:
    capsys.readouterr()
    assert cli.main([str(word) for word in argv]) == cli.BAD_INPUT
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said.splitlines()[-1]


def hidden(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if path.name.endswith(".part")]


@pytest.mark.timeout(600)
def test_training_on_a_disk_that_fills_is_one_line_and_goes_on_when_there_is_room(features, run, disk):
    folder = disk / "run"
    snapshot = folder / "training" / "checkpoint_manager_snapshot.json"  # Ray Train's list of checkpoints

    def epochs() -> int:
        return len(losses(folder)) if (folder / "history.json").exists() else 0

    with started("train", features, folder, *TRAINING) as command:
        command.wait_until(snapshot.exists)
        ballast = disks.fill(disk)
        said = command.output(400)
    print(f"\ninjected: a disk full by {ballast:,} bytes after epoch {epochs()}; found: {said.splitlines()[-1]}")
    assert command.process.returncode == cli.BAD_INPUT, said
    assert said.splitlines()[-1].startswith(f"genreray: {folder}/")
    assert said.splitlines()[-1].endswith(FULL)
    assert "Traceback" not in said
    assert epochs() < 12
    assert hidden(disk) == []
    assert json.loads(snapshot.read_text())["latest_checkpoint_result"]
    disks.make_room(disk)
    assert cli.main(["train", features, str(folder), *TRAINING]) == 0
    assert losses(folder) == [pytest.approx(epoch, rel=1e-4) for epoch in losses(run)]
    assert (folder / "config.json").exists()


def test_a_report_on_a_full_disk_is_one_line_and_is_whole_when_there_is_room(features, run, disk, capsys):
    ballast = disks.fill(disk)
    line = refused(capsys, "evaluate", features, disk / "report", "--checkpoint", run)
    print(f"\ninjected: a disk full by {ballast:,} bytes; found: {line}")
    assert line.endswith(FULL)
    assert hidden(disk) == []
    disks.make_room(disk)
    assert cli.main(["evaluate", features, str(disk / "report"), "--checkpoint", str(run)]) == 0
    assert json.loads((disk / "report" / "metrics.json").read_text())["n"] == 12


def test_tags_on_a_full_disk_are_one_line_and_all_there_when_there_is_room(run, disk, tmp_path, capsys):
    manifest = write_music(tmp_path / "music", 24)
    tags, reference = disk / "tags", tmp_path / "reference"
    assert cli.main(["tag", manifest, str(reference), "--checkpoint", str(run)]) == 0
    ballast = disks.fill(disk)
    with (disk / "ballast").open("rb+") as file:
        file.truncate(ballast - 3 * 4096)  # room for a part or two
    line = refused(capsys, "tag", manifest, tags, "--checkpoint", run)
    written = {path.name: path.read_bytes() for path in (tags / "predictions").iterdir()}
    print(f"\ninjected: a disk full after {len(written)} parts; found: {line}")
    assert re.search(rf"part-\w+\.parquet {FULL}$", line)
    assert all(pq.read_table(tags / "predictions" / name).num_rows for name in written)
    assert not (tags / "tags.csv").exists()
    disks.make_room(disk)
    assert cli.main(["tag", manifest, str(tags), "--checkpoint", str(run)]) == 0
    assert (tags / "tags.csv").read_text() == (reference / "tags.csv").read_text()
    assert all((tags / "predictions" / name).read_bytes() == content for name, content in written.items())


def test_an_output_on_a_disk_that_is_read_only_is_one_line_before_any_work(features, run, tmp_path, capsys):
    manifest = write_music(tmp_path / "music", 4)
    jobs = {
        "extract": [manifest],
        "train": [features, *TRAINING],
        "evaluate": [features, "--checkpoint", run],
        "tag": [manifest, "--checkpoint", run],
        "reproduce": [features, "--models", "prior"],
    }
    with disks.mounted(tmp_path / "disk", "1m", "ro") as disk:
        for job, (source, *flags) in jobs.items():
            capsys.readouterr()
            assert cli.main([job, str(source), str(disk / "out"), *map(str, flags)]) == cli.BAD_INPUT
            said = capsys.readouterr()
            print(f"injected: a read-only disk; found: {said.err.strip()}")
            (line,) = said.err.splitlines()
            assert line.endswith("read-only file system")
            assert "tracks to" not in said.out
            assert "epoch" not in said.out
