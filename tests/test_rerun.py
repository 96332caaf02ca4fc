"""Jobs whose output changes, fails or is done again: one line where something is wrong, and every track once."""

import functools
import os
import re
import shutil
from pathlib import Path

import disks
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile as sf
from rich.console import Console

from benchmarks.scale_side import stages as stub_stages
from genreray import cli, pipeline, tables
from genreray.cluster import Cluster
from genreray.errors import UserError
from genreray.features import FeatureConfig
from genreray.featureset import table_settings
from genreray.parts import Parts
from genreray.progress import Progress

SCHEMA = tables.with_metadata(tables.FEATURES, table_settings(FeatureConfig(), "official"))


@pytest.fixture
def music(tmp_path, tone):
    """Six good files and two that are broken."""
    folder = tmp_path / "music"
    folder.mkdir()
    for i in range(6):
        sf.write(folder / f"{i}.wav", tone(22050, 3.5, 300.0 + i), 22050)
    for name in ("bad.mp3", "worse.mp3"):
        (folder / name).write_text("no audio")
    return folder


def statuses(folder: Path) -> dict[str, str]:
    table = pq.read_table(folder, columns=["track_id", "status"])
    assert len(set(table["track_id"].to_pylist())) == len(table)
    return dict(zip(*table.to_pydict().values(), strict=True))


def statuses_in(part: Path) -> set[str]:
    return set(pq.read_table(part)["status"].to_pylist())


def extract(capsys, music: Path, folder: Path, *flags: str) -> tuple[int, int]:
    """Run the command; return how many tracks it did and how many were done before."""
    assert cli.main(["extract", str(music), str(folder), "--duration", "3", "--max-failed", "1", *flags]) == 0
    shown = capsys.readouterr().out
    return tuple(int(re.search(rf"done {when} +(\d+)", shown)[1]) for when in ("now", "before"))


def test_failed_tracks_are_done_again_where_that_is_asked_for(ray_session, capsys, music, tmp_path):
    folder = tmp_path / "features"
    assert extract(capsys, music, folder) == (8, 0)
    shutil.copy(music / "0.wav", music / "bad.mp3")  # decoders go by content
    assert extract(capsys, music, folder) == (0, 8)
    assert statuses(folder)["bad.mp3"] == "undecodable"
    good = {
        p.name: p.stat().st_mtime_ns for p in folder.iterdir() if set(pq.read_table(p)["status"].to_pylist()) == {"ok"}
    }
    assert good
    assert extract(capsys, music, folder, "--retry-failed") == (2, 6)
    assert statuses(folder) == {**{f"{i}.wav": "ok" for i in range(6)}, "bad.mp3": "ok", "worse.mp3": "undecodable"}
    assert {name: (folder / name).stat().st_mtime_ns for name in good} == good
    assert extract(capsys, music, folder, "--retry-failed") == (1, 7)


def test_failed_tracks_that_left_the_catalog_stay(ray_session, capsys, music, tmp_path):
    folder = tmp_path / "features"
    extract(capsys, music, folder)
    (music / "bad.mp3").unlink()
    assert extract(capsys, music, folder, "--retry-failed") == (1, 7)
    assert statuses(folder)["bad.mp3"] == "undecodable"


class Meddling(Progress):
    """Does something to the output of a running job when the first block is done."""

    def __init__(self, meddle) -> None:
        super().__init__(Console(file=open(os.devnull, "w")), "extract")  # noqa: SIM115, PTH123
        self.meddle = meddle

    def _lines(self, total):
        lines = super()._lines(total)

        class Shown:
            def __enter__(shown):  # noqa: N805
                shown.advance, shown.meddled = lines.__enter__(), False
                return shown.step

            def step(shown, n):  # noqa: N805
                shown.advance(n)
                if not shown.meddled:
                    shown.meddled = True
                    self.meddle()

            def __exit__(shown, *error):  # noqa: N805
                return lines.__exit__(*error)

        return Shown()


def run(folder: Path, meddle=lambda: None):
    rows = [{"track_id": f"{i:02d}", "uri": f"/music/{i:02d}.mp3"} for i in range(40)]
    catalog = pa.Table.from_pylist(rows, schema=tables.CATALOG)
    output = Parts(str(folder), SCHEMA)
    stages = functools.partial(stub_stages, parts=output)
    return pipeline.run(catalog, stages, output, cluster=Cluster(), progress=Meddling(meddle), block_size=4)


@pytest.mark.parametrize("gone", ["a part", "the folder"])
def test_an_output_that_something_takes_from_is_told_and_mended_by_the_same_command(ray_session, tmp_path, gone):
    folder = tmp_path / "features"

    def take() -> None:
        shutil.rmtree(folder) if gone == "the folder" else next(folder.iterdir()).unlink()

    with pytest.raises(UserError, match=r"lacks [\d]+ tracks that were done, such as .*; run the same command again"):
        run(folder, take)
    there = len(statuses(folder))
    assert there < 40
    outcome = run(folder)
    assert (outcome.n_done, outcome.n_before) == (40 - there, there)
    assert len(statuses(folder)) == 40


def test_something_else_put_into_the_output_is_told(ray_session, tmp_path):
    folder = tmp_path / "features"
    with pytest.raises(UserError, match=r"holds notes\.txt, which genreray did not make"):
        run(folder, lambda: (folder / "notes.txt").write_text("mine"))
    assert len(list(folder.glob("part-*"))) == 10


def test_an_output_that_cannot_be_made_is_one_line(ray_session, capsys, music, tmp_path):
    (tmp_path / "file").write_text("mine")
    assert cli.main(["extract", str(music), str(tmp_path / "file" / "features"), "--duration", "3"]) == cli.BAD_INPUT
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot be" in line
    assert "not a directory" in line


@pytest.fixture
def small_disk(tmp_path):
    with disks.mounted(tmp_path / "disk", "300k") as folder:
        yield folder


def test_a_full_disk_is_one_line_and_what_was_written_is_valid(ray_session, capsys, music, small_disk):
    folder = small_disk / "features"
    argv = ["extract", str(music), str(folder), "--duration", "3", "--max-failed", "1"]
    (small_disk / "ballast").write_bytes(bytes(280_000))
    assert cli.main(argv) == cli.BAD_INPUT
    said = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"genreray: .*part-\w+\.parquet cannot be written: no space left on device", said[-1])
    assert "Traceback" not in "".join(said)
    before = {p.name: pq.read_table(p).num_rows for p in folder.iterdir()}
    assert all(name.startswith("part-") for name in before)  # nothing half-written is left
    print(f"full with {len(before)} parts written")
    (small_disk / "ballast").unlink()
    assert cli.main(argv) == 0
    assert len(statuses(folder)) == 8
    assert {name: pq.read_table(folder / name).num_rows for name in before} == before
