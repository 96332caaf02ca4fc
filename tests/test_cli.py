import dataclasses
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile as sf
from making import SMALL, feature_rows, write_features
from rich.console import Console

from genreray import arguments, cli
from genreray.features import FeatureConfig
from genreray.models.mel_cnn import MelCnnConfig
from genreray.parsing import JOBS, parse
from genreray.summary import Summary

ROOT = Path(__file__).parent.parent


@pytest.fixture
def music(tmp_path, tone):
    """A folder of three good tracks and a bad one, with a manifest."""
    folder = tmp_path / "music"
    folder.mkdir()
    for i in range(3):
        sf.write(folder / f"{i}.wav", tone(22050, 3.5, 300.0 + i), 22050)
    (folder / "bad.mp3").write_text("no audio")
    lines = ["path,style"] + [f"music/{name},Rock" for name in ("0.wav", "1.wav", "2.wav", "bad.mp3")]
    (tmp_path / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder


def refused(capsys, *argv: str) -> str:
    """Run a command that must be refused, and return its one line."""
    assert cli.main(list(argv)) == cli.BAD_INPUT
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("genreray: ")
    assert captured.out == ""
    return lines[0]


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_catalog_that_is_not_there(capsys, tmp_path):
    line = refused(capsys, "extract", str(tmp_path / "musik"), str(tmp_path / "features"))
    assert "musik" in line
    assert not (tmp_path / "features").exists()


def test_an_empty_catalog_is_an_error(capsys, tmp_path):
    (tmp_path / "music").mkdir()
    (tmp_path / "music" / "cover.jpg").touch()
    assert "no audio" in refused(capsys, "extract", str(tmp_path / "music"), str(tmp_path / "features"))


def test_a_genre_column_that_is_not_there(capsys, tmp_path, music):
    manifest = str(tmp_path / "manifest.csv")
    line = refused(capsys, "extract", manifest, str(tmp_path / "features"), "--genre-column", "genra")
    assert "genra" in line
    assert "style" in line


def test_an_output_of_something_else(capsys, tmp_path, music):
    before = snapshot(tmp_path)
    line = refused(capsys, "extract", str(music), str(music))
    assert "give another folder" in line
    assert snapshot(tmp_path) == before


def test_an_output_that_is_a_file(capsys, tmp_path, music):
    (tmp_path / "features").write_text("mine")
    assert "is a file" in refused(capsys, "extract", str(music), str(tmp_path / "features"))
    assert (tmp_path / "features").read_text() == "mine"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--n-mels", "0"], "n_mels"),
        (["--n-mfcc", "200"], "n_mfcc"),
        (["--duration", "1"], "duration"),
        (["--max-failed", "2"], "max failed"),
        (["--subset", "small"], "--fma-metadata"),
    ],
)
def test_impossible_values(capsys, tmp_path, music, flags, said):
    assert said in refused(capsys, "extract", str(music), str(tmp_path / "features"), *flags)


def test_features_that_are_not_there(capsys, tmp_path):
    line = refused(capsys, "train", str(tmp_path / "nothing"), str(tmp_path / "run"))
    assert "genreray extract" in line


def test_a_damaged_part_is_named(capsys, tmp_path):
    features = write_features(tmp_path / "features", feature_rows())
    part = sorted((tmp_path / "features").iterdir())[0]
    part.write_bytes(part.read_bytes()[:200])
    assert part.name in refused(capsys, "train", features, str(tmp_path / "run"))


def test_features_of_two_settings(capsys, tmp_path):
    features = write_features(tmp_path / "features", feature_rows())
    other = FeatureConfig(n_mels=64, duration=3.0)
    write_features(tmp_path / "features", feature_rows(4, other), other)
    assert "different settings" in refused(capsys, "train", features, str(tmp_path / "run"))


def test_a_model_that_is_not_there(capsys, tmp_path):
    line = refused(capsys, "train", str(tmp_path), str(tmp_path / "run"), "--model", "mel_cmm")
    assert "'mel_cmm'" in line
    assert "mel_cnn" in line


@pytest.mark.parametrize("command", ["evaluate", "tag"])
def test_a_checkpoint_without_its_files(capsys, tmp_path, music, command):
    features = write_features(tmp_path / "features", feature_rows())
    (tmp_path / "run").mkdir()
    source = features if command == "evaluate" else str(music)
    line = refused(capsys, command, source, str(tmp_path / "out"), "--checkpoint", str(tmp_path / "run"))
    assert "config.json" in line
    assert not (tmp_path / "out").exists()


def test_a_flag_that_is_not_there_is_refused_by_name(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["tag", "a", "b", "--chekpoint", "c"])
    assert stopped.value.code == cli.BAD_INPUT
    assert "--chekpoint" in capsys.readouterr().err


def test_a_job_ends_with_its_counts_and_a_summary(ray_session, capsys, tmp_path, music):
    features = tmp_path / "features"
    assert cli.main(["extract", str(music), str(features), "--max-failed", "0.3", "--duration", "3"]) == 0
    shown = capsys.readouterr().out
    assert "undecodable" in shown
    assert str(features) in shown
    summary = json.loads((tmp_path / "features.summary.json").read_text())
    assert summary["counts"] == {"ok": 3, "undecodable": 1}
    assert {path.suffix for path in features.iterdir()} == {".parquet"}


def test_too_many_failures_end_with_exit_code_1_and_all_rows(ray_session, capsys, tmp_path, music):
    assert cli.main(["extract", str(music), str(tmp_path / "features")]) == cli.TOO_MANY_FAILED
    assert "1 of 4 tracks failed" in capsys.readouterr().err
    assert pq.read_table(tmp_path / "features").num_rows == 4


def test_a_genre_column_by_another_name(ray_session, tmp_path, music):
    out = str(tmp_path / "features")
    argv = ["extract", str(tmp_path / "manifest.csv"), out, "--genre-column", "style", "--max-failed", "1"]
    assert cli.main(argv) == 0
    assert set(pq.read_table(out)["genre"].to_pylist()) == {"Rock"}


def test_flags_become_settings():
    flags = ["--filters", "4", "8", "--dropout", "0.1", "--first-crop", "--epochs", "3", "--workers", "2"]
    job = parse(["train", "a", "b", *flags])
    assert (job.features, job.run, job.workers) == ("a", "b", 2)
    assert job.architecture == MelCnnConfig(filters=(4, 8), dropout=0.1)
    assert (job.training.epochs, job.training.first_crop) == (3, True)
    assert parse(["extract", "a", "b", "--hop-length", "256"]).settings == FeatureConfig(hop_length=256)


def test_the_flags_are_the_ones_that_people_have_learnt():
    """Frozen: a flag that goes or changes its default breaks scripts, which should be on purpose."""
    golden = ROOT / "tests" / "golden" / "flags.txt"
    lines = []
    for name in JOBS:
        if name == "demo":
            continue
        needed = ["--checkpoint", "c"] if name in ("evaluate", "tag", "inspect") else []
        places = ["A"] if name in ("untag", "review", "inspect") else ["A", "B"]
        job = parse([name, *places, *needed])
        for field, value in sorted(flat(job)):
            lines.append(f"{name} {field} {value!r}")
    assert "\n".join(lines) + "\n" == golden.read_text()


def flat(job: object) -> list[tuple[str, object]]:
    found = []
    for field in dataclasses.fields(job):
        value = getattr(job, field.name)
        found += flat(value) if dataclasses.is_dataclass(value) else [(field.name, value)]
    return found


@pytest.mark.parametrize("name", [None, *JOBS])
def test_help_has_a_sentence_and_a_default_for_each_flag(capsys, name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as stopped:
        parse([*([name] if name else []), "--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    if name is None:
        assert all(job in shown for job in JOBS)
        return
    for field, _ in flat_defaults(JOBS[name]):
        assert f"--{field.replace('_', '-')}" in shown or field.upper() in shown or field == "folder"
    said = [field for field, default in flat_defaults(JOBS[name]) if default is not None]
    assert shown.count("default:") + shown.count("required") >= len(said)
    assert "None" not in shown  # what holds without such a flag is told in words


def flat_defaults(job: type) -> list[tuple[str, object]]:
    found = []
    for field in dataclasses.fields(job):
        owners = {
            "settings": FeatureConfig,
            "training": arguments.TrainingConfig,
            "wanted": arguments.Wanted,
            "plan": arguments.SearchPlan,
        }
        nested = owners.get(field.name)
        found += flat_defaults(nested) if nested else [(field.name, field.default)]
    return found


def test_the_last_screen_shows_small_numbers_too():
    console = Console(file=io.StringIO(), width=200)
    Summary("tune", "out", 1.0, {}, {"settings": {"rate": 5.991e-4, "l2": 1e-6, "mixup": 0.0, "loss": 1.25}}).show(
        console
    )
    assert "settings  rate 0.000599, l2 1e-06, mixup 0.000, loss 1.250" in console.file.getvalue()
    Summary("untag", "out", 1.0, {}, {"files": {}}).show(console)
    assert "files   none\n" in console.file.getvalue()


def test_a_reader_that_has_seen_enough_is_no_fault():
    writing = [sys.executable, "-c", "import sys; from genreray.cli import main; sys.exit(main())", "train", "--help"]
    with subprocess.Popen(writing, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()  # before the first word is written
        assert process.stderr.read() == b""
        assert process.wait() == cli.UNREAD


# A script of the name inspect.py would be imported by the others for the standard library's module.
@pytest.mark.parametrize("name", [name for name in JOBS if name != "inspect"])
def test_each_job_is_a_script_with_the_same_flags(capsys, name):
    with pytest.raises(SystemExit):
        cli.main([name, "--help"])
    command = [sys.executable, ROOT / "jobs" / f"{name}.py", "--help"]
    script = subprocess.run(command, capture_output=True, text=True, check=True)
    assert words(script.stdout) == words(capsys.readouterr().out)


def words(text: str) -> list[str]:
    """What is said, however wide the screen was."""
    return re.findall(r"(?:--)?[A-Za-z]\w+(?:-\w+)*", text)


@pytest.mark.parametrize("words", [["--help"], ["extract", "--help"], ["tune", "--help"], ["extract", "A", "B"]])
def test_the_command_line_does_not_wait_for_what_others_need(words):
    code = """
import atexit, os, sys
from genreray import cli
from genreray.parsing import parse
def look():
    if there := {"ray", "torch", "sklearn", "librosa", "numba", "scipy"} & set(sys.modules):
        print(there, file=sys.stderr, flush=True)
        os._exit(1)
atexit.register(look)
parse(sys.argv[1:])
"""
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_unreadable_features_leave_the_run_folder_alone(capsys, tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "part-0.parquet")
    assert "not made by genreray" in refused(capsys, "train", str(tmp_path), str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_recipe_for_networks_is_refused_where_nothing_is_trained_in_steps(capsys, tmp_path):
    features = write_features(tmp_path / "features", feature_rows())
    flags = ["--crop-frames", "64", "--mixup", "0.3"]
    line = refused(capsys, "train", features, str(tmp_path / "run"), "--model", "svm", *flags)
    assert "mixup is 0.3, but this model is not trained in steps: leave it out" in line
    assert not (tmp_path / "run").exists()


def test_crops_of_the_wrong_length_are_refused_before_any_work(capsys, tmp_path):
    features = write_features(tmp_path / "features", feature_rows())
    line = refused(capsys, "train", features, str(tmp_path / "run"))
    assert f"crop frames is 385, but the longest clips have {SMALL.max_frames}" in line
