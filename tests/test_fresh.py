"""--fresh starts over, and deletes nothing that the job did not make."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import soundfile as sf
from making import feature_rows, write_features

from genreray import cli, run_folder
from genreray.errors import UserError

SECONDS = ("--duration", "3")


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.fixture
def music(tmp_path, tone):
    folder = tmp_path / "music"
    folder.mkdir()
    for i in range(3):
        sf.write(folder / f"{i}.wav", tone(22050, 3.5, 300.0 + i), 22050)
    return folder


def refused(capsys, *argv: object) -> str:
    assert cli.main([str(word) for word in argv]) == cli.BAD_INPUT
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_extraction_starts_over_with_other_settings(ray_session, music, tmp_path):
    folder = tmp_path / "features"
    write_features(folder, feature_rows(12))  # of other tracks and other settings
    assert cli.main(["extract", str(music), str(folder), *SECONDS, "--fresh"]) == 0
    assert sorted(pq.read_table(folder)["track_id"].to_pylist()) == ["0.wav", "1.wav", "2.wav"]


@pytest.mark.parametrize("name", ["notes.txt", "part-of-my-thesis.parquet", "old/part-1.parquet"])
def test_a_folder_with_something_else_in_it_is_left_alone(ray_session, capsys, music, tmp_path, name):
    folder = tmp_path / "features"
    write_features(folder, feature_rows(12))
    write(folder, {name: "mine"})
    before = snapshot(tmp_path)
    assert "features" in refused(capsys, "extract", music, folder, *SECONDS, "--fresh")
    assert snapshot(tmp_path) == before


def test_nothing_is_deleted_for_a_job_that_cannot_be_done(capsys, music, tmp_path):
    folder = tmp_path / "features"
    write_features(folder, feature_rows(12))
    before = snapshot(tmp_path)
    refused(capsys, "extract", tmp_path / "musik", folder, "--fresh")
    refused(capsys, "tag", music, folder, "--checkpoint", tmp_path, "--fresh")
    refused(capsys, "train", folder, tmp_path / "run", "--crop-frames", "999", "--fresh")
    assert snapshot(tmp_path) == before


RUN = {
    "run.json": json.dumps({"job": "train"}),
    "history.json": "[]",
    "summary.json": "{}",
    "model.safetensors": "",
    "config.json": "{}",
    "training/checkpoint_manager_snapshot.json": "{}",
    "training/.validate_storage_marker": "",
    "training/checkpoint_2025/config.json": "{}",
    "training/checkpoint_2025/optimizer.safetensors": "",
}


def test_a_run_is_deleted_whole(tmp_path):
    write(tmp_path / "run", RUN)
    run_folder.clear(str(tmp_path / "run"))
    assert snapshot(tmp_path) == {}
    assert list((tmp_path / "run").iterdir()) == []
    run_folder.clear(str(tmp_path / "run"))  # of nothing there is nothing to delete
    run_folder.clear(str(tmp_path / "never"))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"thesis.docx": ""}, r"holds thesis\.docx, which is not part of a run"),
        ({"training/mine.csv": ""}, r"holds training/mine\.csv"),
        ({"training/checkpoint_2025/mine.pt": ""}, r"mine\.pt"),
        ({"run.json": json.dumps({"job": "marathon"})}, r"has no run\.json of a run"),
        ({"run.json": "[1]"}, r"has no run\.json of a run"),
    ],
)
def test_what_is_not_a_run_is_left_alone(tmp_path, more, said):
    write(tmp_path, {**RUN, **more})
    before = snapshot(tmp_path)
    with pytest.raises(UserError, match=said):
        run_folder.clear(str(tmp_path))
    assert snapshot(tmp_path) == before


def test_without_its_mark_a_run_is_left_alone(tmp_path):
    write(tmp_path, {name: text for name, text in RUN.items() if name != "run.json"})
    with pytest.raises(UserError, match=r"has no run\.json of a run"):
        run_folder.clear(str(tmp_path))
    assert len(snapshot(tmp_path)) == len(RUN) - 1


def test_a_table_of_systems_is_deleted_with_its_runs_and_nothing_else(tmp_path):
    from genreray import reproduce

    report, seed = tmp_path / "report", "systems/mel_cnn/seed-0"
    write(report, {"comparison.html": "", "comparison.json": "{}", "summary.json": "{}"})
    write(report / seed / "run", RUN)
    write(report / seed / "report", {"report.html": "", "metrics.json": "{}", "predictions.parquet": ""})
    found = {str(Path(uri).relative_to(report)) for uri in reproduce._files(str(report))}
    assert found == snapshot(report).keys()
    for mine in ("systems/notes.txt", f"{seed}/run/thesis.docx", f"{seed}/report/mine.png", f"{seed}/mine"):
        write(report, {mine: ""})
        with pytest.raises(UserError, match="--fresh deletes nothing else"):
            reproduce._files(str(report))
        (report / mine).unlink()
