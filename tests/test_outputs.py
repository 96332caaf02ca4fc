"""What people get of predictions: names of their own, lists, playlists, and tags in their files."""

import csv
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sounds
import torch
from making import GENRES, SMALL
from rich.console import Console

from genreray import checkpoint, cli, tables
from genreray.checkpoint import Settings
from genreray.errors import UserError
from genreray.models.mel_cnn import MelCnnConfig
from genreray.outputs import lists, playlists
from genreray.outputs.answers import View
from genreray.outputs.genre_map import GenreMap
from genreray.outputs.names import file_names

CLASSES = ["Folk", "Jazz", "Punk", "Rock"]


def row(track_id: str, **probabilities: float) -> dict:
    ranked = sorted(probabilities.items(), key=lambda item: -item[1])
    return {
        "track_id": track_id,
        "uri": f"/music/{track_id}.mp3",
        "status": "ok",
        "error": None,
        "genre": ranked[0][0],
        "confidence": ranked[0][1],
        "genres": [{"genre": name, "probability": value} for name, value in ranked],
        "true_genre": None,
    }


def listed(shown: dict) -> dict[str, float]:
    return {found["genre"]: pytest.approx(found["probability"]) for found in shown["genres"]}


def test_merged_genres_add_up_and_can_win():
    view = View(2, GenreMap({"Punk": "Loud", "Rock": "Loud"}))
    shown = view.row(row("a", Jazz=0.4, Rock=0.35, Punk=0.2, Folk=0.05))
    assert (shown["genre"], shown["confidence"]) == ("Loud", pytest.approx(0.55))
    assert listed(shown) == {"Loud": 0.55, "Jazz": 0.4}


def test_a_track_whose_best_genre_is_ignored_has_none():
    view = View(3, GenreMap({"Jazz": None}))
    shown = view.row(row("a", Jazz=0.9, Rock=0.06, Folk=0.04))
    assert shown["genre"] is shown["confidence"] is None
    assert listed(shown) == {"Rock": 0.06, "Folk": 0.04}
    assert view.row(row("a", Rock=0.5, Jazz=0.4, Folk=0.1))["genre"] == "Rock"


def test_a_doubtful_track_has_no_genre_and_has_not_failed():
    view = View(2, min_confidence=0.5)
    shown = view.row(row("a", Jazz=0.4, Rock=0.35, Folk=0.25))
    assert (shown["genre"], shown["confidence"], shown["status"], shown["abstained"]) == (None, 0.4, "ok", True)
    assert listed(shown) == {"Jazz": 0.4, "Rock": 0.35}
    sure = view.row(row("b", Jazz=0.5, Rock=0.5))
    assert (sure["genre"], sure["abstained"]) == ("Jazz", False)
    merged = View(2, GenreMap({"Jazz": "Loud", "Rock": "Loud"}), min_confidence=0.5)
    assert merged.row(row("a", Jazz=0.4, Rock=0.35, Folk=0.25))["genre"] == "Loud"  # by its name it is sure enough


def test_the_list_counts_labels_and_says_how_right_they_should_be(tmp_path):
    failed = {**row("d", Folk=1.0), "status": "silent", "error": "peak", "genre": None, "confidence": None}
    rows = [row("a", Jazz=0.9, Rock=0.1), row("b", Jazz=0.55, Rock=0.45), row("c", Rock=0.8, Jazz=0.2)]
    files = parts_of(tmp_path, *rows, {**failed, "genres": None})
    found = lists.write_csv(files, View(1, min_confidence=0.6), str(tmp_path / "tags.csv"))
    assert found == {"labelled": 2, "abstained": 1, "expected_accuracy": 0.85}
    with (tmp_path / "tags.csv").open(encoding="utf-8", newline="") as file:
        told = {row["track_id"]: (row["genre"], row["abstained"]) for row in csv.DictReader(file)}
    assert told == {"a": ("Jazz", ""), "b": ("", "yes"), "c": ("Rock", ""), "d": ("", "")}


def test_of_several_genres_a_track_the_highest_of_a_name_counts():
    view = View(None, GenreMap({"Punk": "Loud", "Rock": "Loud", "Jazz": None}), {"Punk": "Rock"})
    shown = view.row(row("a", Jazz=0.9, Rock=0.8, Punk=0.7))
    assert (shown["genre"], shown["confidence"]) == ("Loud", 0.8)
    assert listed(shown) == {"Loud": 0.8}


TREE = {"Punk": "Rock", "Oi": "Punk", "Bebop": "Jazz"}


@pytest.mark.parametrize(
    ("names", "genre", "subgenre"),
    [
        ({}, "Rock", "Punk"),
        ({"Rock": "Loud"}, "Loud", "Punk"),
        ({"Punk": "Noise"}, "Rock", "Noise"),
        ({"Punk": None}, "Rock", "Oi"),
        ({"Punk": "Rock"}, "Rock", "Oi"),
        ({"Punk": "Rock", "Oi": "Rock"}, "Rock", None),
        ({"Rock": None}, "Jazz", "Bebop"),
        ({"Rock": "Jazz"}, "Jazz", "Punk"),  # both are Jazz now, and Punk is the most probable below it
        ({"Rock": None, "Jazz": None}, None, None),
    ],
)
def test_the_subgenre_is_the_best_below_the_genre_by_its_name(names, genre, subgenre):
    told = {**row("a", Rock=0.9, Punk=0.8, Jazz=0.7, Bebop=0.65, Oi=0.6), "subgenre": "Punk"}
    shown = View(None, GenreMap(names), TREE).row(told)
    assert (shown["genre"], shown["subgenre"]) == (genre, subgenre)
    if not names:
        plain = View(None, None, TREE).row(told)
        assert (plain["genre"], plain["subgenre"]) == (genre, subgenre)
    doubtful = View(None, GenreMap(names), TREE, min_confidence=0.95).row(told)
    assert (doubtful["genre"], doubtful["subgenre"]) == (None, None)


def test_genre_and_subgenre_are_columns_and_files_and_playlists_get_the_genre(tmp_path):
    told = {**row("a", Rock=0.9, Punk=0.8), "subgenre": "Punk"}
    files = parts_of(tmp_path, told, {**row("b", Jazz=0.7), "subgenre": None})
    view = View(None, GenreMap({"Punk": "Noise"}), TREE)
    lists.write_csv(files, view, str(tmp_path / "tags.csv"))
    found = rows_of(tmp_path / "tags.csv")
    assert list(found["a"])[4:7] == ["genre", "subgenre", "abstained"]
    assert [(one["genre"], one["subgenre"]) for one in found.values()] == [("Rock", "Noise"), ("Jazz", "")]
    lists.write_jsonl(files, tables.PREDICTIONS.names, view, str(tmp_path / "tags.jsonl"))
    lines = [json.loads(line) for line in (tmp_path / "tags.jsonl").read_text().splitlines()]
    assert {(one["genre"], one["subgenre"]) for one in lines} == {("Rock", "Noise"), ("Jazz", None)}
    assert playlists.write(files, view, str(tmp_path)) == 2
    lists.write_csv(files, View(1), str(tmp_path / "tags.csv"))  # of a model of one genre a track
    assert "subgenre" not in rows_of(tmp_path / "tags.csv")["a"]


def test_what_a_model_abstained_from_stays_without_genre():
    shown = View(1, GenreMap({"Punk": "Rock"})).row({**row("a", Punk=0.3, Rock=0.3), "genre": None, "confidence": None})
    assert shown["genre"] is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("genre,name\nRok,Rock\n", r"line 2: the checkpoint has no genre 'Rok': did you mean 'Rock'"),
        ("genre,name\nxyz,Rock\n", r"its genres are Folk, Jazz, Punk, Rock"),
        ("genre,name\nRock,A\nRock,B\n", r"line 3: the genre 'Rock' is there twice"),
        ("Rock,A\n", r"its first line must be 'genre,name'"),
        ("", r"its first line must be 'genre,name'"),
        ("genre,name\nRock\n", r"line 2: give a genre and a name"),
        ("genre,name\nRock,A,B\n", r"line 2: give a genre and a name"),
        ("genre,name\nRock,A\x07B\n", r"line 2: the name 'A\\x07B' holds what cannot be printed"),
        ('genre,name\n"Rock,A\n', r"not valid CSV"),
        ("genre,name\nFolk,\nJazz,\nPunk,\nRock,\n", r"ignores every genre"),
        ("genre,name\nRock,Grün\n".encode("latin-1"), r"not UTF-8 \(byte 18\)"),
    ],
)
def test_a_bad_map_is_one_line_that_says_where(tmp_path, text, said):
    path = tmp_path / "names.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=said):
        GenreMap.read(str(path), CLASSES)


def test_a_map_from_a_spreadsheet_is_read(tmp_path):
    path = tmp_path / "names.csv"
    path.write_bytes('\ufeffgenre,name\r\nRock,"Rock, laut"\r\n\r\nJazz,\r\n'.encode())
    found = GenreMap.read(str(path), CLASSES)
    assert [found.name(genre) for genre in CLASSES] == ["Folk", None, "Punk", "Rock, laut"]


HOSTILE = ["../../etc/passwd", "/etc/passwd", "a\0b", "..", ".", "", " ", ".hidden", "x" * 5000, "é" * 5000, "CON"]
HOSTILE += ["nul.txt", "Rock", "rock", "ROCK", "a:b", "a/b", "a_b", "new\nline", "tr.ail.", "\ud800", "Ⅳ", "IV"]


def test_no_name_of_a_genre_leads_out_of_its_folder_and_no_two_meet(tmp_path):
    names = file_names(HOSTILE, ".m3u8")
    assert len({name.casefold() for name in names.values()}) == len(HOSTILE)
    for name in names.values():
        (tmp_path / name).touch()
        assert not name.startswith(".")
        assert len(name.encode()) < 120
    assert {p.name for p in tmp_path.iterdir()} == set(names.values())
    assert names["../../etc/passwd"].startswith(".") is False
    assert file_names(["Hip-Hop", "Old-Time / Historic"], "")["Hip-Hop"] == "Hip-Hop"


def parts_of(folder: Path, *rows: dict) -> list[str]:
    """Two parts of PREDICTIONS."""
    uris = []
    for i, some in enumerate((rows[::2], rows[1::2])):
        uris.append(str(folder / f"part-{i}.parquet"))
        pq.write_table(pa.Table.from_pylist(list(some), schema=tables.PREDICTIONS), uris[-1])
    return uris


def test_playlists_hold_the_surest_first_by_paths_from_where_they_are(tmp_path):
    music, tags = tmp_path / "music", tmp_path / "disk" / "tags"
    music.mkdir()
    tags.mkdir(parents=True)
    (tmp_path / "link").symlink_to(tags)  # from whose real place .. is taken
    names = ["a.mp3", "ü b.mp3", "#c.mp3", "new\nline.mp3"]
    rows = []
    for i, name in enumerate(names):
        (music / name).touch()
        rows.append({**row(name, Rock=0.9 - i / 10, Jazz=0.05), "uri": str(music / name)})
    rows.append({**row("far", Rock=0.3), "uri": "s3://bucket/far.mp3"})
    rows.append({**row("other", Jazz=0.9), "uri": "/j.mp3"})
    files = parts_of(tmp_path, *rows)
    assert playlists.write(files, View(3), str(tmp_path / "link")) == 2
    text = (tags / "playlists" / "Rock.m3u8").read_text(encoding="utf-8")
    assert text.startswith("#EXTM3U\n")
    entries = [line for line in text.splitlines() if not line.startswith("#")]
    assert entries[-1] == "s3://bucket/far.mp3"
    assert entries[:3] == [f"../../../music/{name}" for name in names[:3]]
    assert "\nnew" not in text
    assert all((tags / "playlists" / entry).exists() for entry in entries[:3])
    assert text.count("#EXTINF:-1,") == 5
    (tags / "playlists" / "Rock.m3u8").rename(tags / "playlists" / "Old.m3u8")
    playlists.write(files, View(3), str(tags))
    assert {p.name for p in (tags / "playlists").iterdir()} == {"Rock.m3u8", "Jazz.m3u8"}
    (tags / "playlists" / "mine.m3u8").write_text("#EXTM3U\n")
    with pytest.raises(UserError, match=r"mine\.m3u8, which this job did not write"):
        playlists.write(files, View(3), str(tags))


def test_jsonl_holds_a_row_a_line_by_the_names_of_the_map(tmp_path):
    files = parts_of(tmp_path, row("a", Rock=0.6, Jazz=0.4), row("b", Jazz=1.0))
    lists.write_jsonl(files, tables.PREDICTIONS.names, View(1, GenreMap({"Rock": "Loud"})), str(tmp_path / "t.jsonl"))
    found = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert [(one["track_id"], one["genre"]) for one in found] == [("a", "Loud"), ("b", "Jazz")]
    assert [len(one["genres"]) for one in found] == [1, 1]
    assert set(found[0]) == {*tables.PREDICTIONS.names, "abstained"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A network that was never trained, and whose best genre is always the same."""
    folder = tmp_path_factory.mktemp("trained")
    settings = Settings(
        model="mel_cnn",
        model_config=MelCnnConfig(filters=(4, 8)),
        features=SMALL,
        genres=list(GENRES),
        crop_frames=64,
        n_crops=1,
        training={},
        metrics={"epoch": 1},
    )
    torch.manual_seed(0)
    model = settings.build()
    with torch.no_grad():
        list(model.parameters())[-1].copy_(torch.tensor([0.0, 0.0, 9.0]))
    checkpoint.save(str(folder), model, settings)
    return str(folder)


def run(*argv: object) -> int:
    return cli.run([str(word) for word in argv], Console(file=open(os.devnull, "w")))  # noqa: PTH123


def rows_of(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return {row.get("track_id", row["uri"]): row for row in csv.DictReader(file)}


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir()}


def test_from_a_folder_of_songs_to_tags_in_them_and_back(ray_session, trained, tmp_path):
    music, tags, names = tmp_path / "music", tmp_path / "tags", tmp_path / "names.csv"
    music.mkdir()
    for name, genre in (("a.mp3", None), ("ü.flac", None), ("c.m4a", "Polka"), ("d.ogg", None)):
        (music / name).write_bytes(sounds.tagged(name.rpartition(".")[2], genre, 4.0))
    (music / "d.ogg").chmod(0o444)
    (music / "bad.mp3").write_text("no audio")
    names.write_text("genre,name\nRock,Rök\n", encoding="utf-8")
    before = snapshot(music)
    flags = ("--checkpoint", trained, "--gpu", "no", "--max-failed", "0.5", "--map", names, "--write-tags")
    assert run("tag", music, tags, *flags, "--dry-run") == 0
    assert snapshot(music) == before
    assert not (tags / "undo.jsonl").exists()
    assert run("tag", music, tags, *flags, "--playlists", "--jsonl") == 0
    written = rows_of(tags / "written.csv")
    assert {name: (one["outcome"], one["genre_after"]) for name, one in written.items()} == {
        "a.mp3": ("written", "Rök"),
        "ü.flac": ("written", "Rök"),
        "c.m4a": ("kept", "Polka"),
        "d.ogg": ("read_only", ""),
        "bad.mp3": ("failed", ""),
    }
    assert (tags / "dry_run.csv").read_text() == (tags / "written.csv").read_text()
    assert sounds.tags_of(music / "ü.flac")["genre"] == "Rök"
    assert {name for name in before if (music / name).read_bytes() != before[name][0]} == {"a.mp3", "ü.flac"}
    assert rows_of(tags / "tags.csv")["c.m4a"]["genre"] == "Rök"
    predictions = pq.read_table(tags / "predictions")
    assert set(predictions["genre"].drop_null().to_pylist()) == {"Rock"}  # the model's own name
    assert {len(genres) for genres in predictions["genres"].drop_null().to_pylist()} == {3}
    assert [p.name for p in (tags / "playlists").iterdir()] == ["Rök.m3u8"]
    assert len((tags / "tags.jsonl").read_text().splitlines()) == 5
    assert json.loads((tags / "summary.json").read_text())["files"] == {
        "written": 2,
        "failed": 1,
        "kept": 1,
        "read_only": 1,
    }
    # Again: nothing is decoded, nothing written twice; not even --fresh takes the way back.
    lines = (tags / "undo.jsonl").read_bytes()
    assert run("tag", music, tags, *flags) == 0
    assert rows_of(tags / "written.csv")["a.mp3"]["reason"] == "by an earlier run"
    assert (tags / "undo.jsonl").read_bytes() == lines
    assert run("untag", tags) == 0
    assert snapshot(music) == before
    assert {one["outcome"] for one in rows_of(tags / "untagged.csv").values()} == {"restored"}
    assert run("untag", tags) == 0
    assert {one["outcome"] for one in rows_of(tags / "untagged.csv").values()} == {"as_before"}


def test_what_cannot_be_is_one_line_before_any_work(trained, tmp_path):
    (tmp_path / "music.csv").write_text("path\ns3://bucket/a.mp3\n")
    out = str(tmp_path / "tags")
    catalog = str(tmp_path / "music.csv")
    for argv, said in (
        (("tag", catalog, out, "--checkpoint", trained, "--write-tags"), "no track of the catalog is on a disk"),
        (("tag", catalog, "memory://tags", "--checkpoint", trained, "--write-tags"), "give a local folder"),
        (("tag", catalog, out, "--checkpoint", trained, "--dry-run"), "--write-tags too"),
        (("tag", catalog, out, "--checkpoint", trained, "--map", catalog), "its first line must be 'genre,name'"),
        (("untag", out), "has no undo.jsonl"),
    ):
        with pytest.raises(UserError, match=said):
            run(*argv)
    assert not (tmp_path / "tags").exists()
