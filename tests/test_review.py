import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from reviewing import GENRES, HOSTILE, failed, hostile_rows, row, write_tags

from genreray import cli, doubt, tag
from genreray.catalog import read_catalog
from genreray.errors import UserError
from genreray.parts import Parts
from genreray.predictions import PREDICTIONS_FOLDER
from genreray.review import write_page
from genreray.tables import PREDICTIONS


def parts_of(tags: str) -> list[str]:
    return Parts(f"{tags}/{PREDICTIONS_FOLDER}", PREDICTIONS).files()


@pytest.fixture(scope="module")
def many():
    """300 tracks, every tenth failed, every seventh of the others without a genre; of equal confidence now and then."""
    rng = np.random.default_rng(0)
    rows = [row(f"{i:03d}", round(float(rng.uniform(0.25, 1)), 2), f"/music/{i}.mp3", i % 4) for i in range(300)]
    for i, one in enumerate(rows):
        if i % 10 == 0:
            rows[i] = failed(one["track_id"], "silent" if i % 20 else "undecodable")
        elif i % 7 == 0:
            rows[i] = {**one, "genre": None, "confidence": None}
    return rows


@pytest.fixture(scope="module")
def overview(many, tmp_path_factory):
    return doubt.overview(parts_of(write_tags(tmp_path_factory.mktemp("many"), many, 96)), 60)


def test_the_least_sure_come_first(many, overview):
    ok = [one for one in many if one["status"] == "ok"]
    order = sorted(ok, key=lambda one: (-1 if one["genre"] is None else np.float32(one["confidence"]), one["track_id"]))
    assert [one["track_id"] for one in overview.doubtful] == [one["track_id"] for one in order[:60]]
    assert [one["uri"] for one in overview.doubtful] == [one["uri"] for one in order[:60]]


def test_what_is_counted_adds_up(many, overview):
    ok = [one for one in many if one["status"] == "ok"]
    named = [one for one in ok if one["genre"] is not None]
    assert overview.counts == {"ok": 270, "undecodable": 15, "silent": 15}
    assert overview.without_genre == len(ok) - len(named)
    assert overview.confidences.sum() == len(named)
    assert overview.confidences[10:].sum() == sum(one["confidence"] >= 0.5 for one in named)
    assert {g.genre: g.tracks for g in overview.genres} == {
        genre: sum(one["genre"] == genre for one in named) for genre in GENRES
    }
    jazz = [one["confidence"] for one in named if one["genre"] == "Jazz"]
    assert next(g.confidence for g in overview.genres if g.genre == "Jazz") == pytest.approx(np.mean(jazz))


def test_failures_have_examples_of_each_status(overview):
    assert {status: [one["track_id"] for one in rows] for status, rows in overview.failures.items()} == {
        "undecodable": ["000", "020", "040", "060", "080"],
        "silent": ["010", "030", "050", "070", "090"],
    }


def test_a_track_in_two_parts_is_one(tmp_path):
    rows = [row(str(i), 0.5, f"/{i}") for i in range(3)]
    tags = write_tags(tmp_path, rows, 3)
    write_tags(tmp_path, [*rows[:1], row("new", 0.3, "/new")], 2)
    found = doubt.overview(parts_of(tags), 10)
    assert [one["track_id"] for one in found.doubtful] == ["new", "0", "1", "2"]
    assert found.counts == {"ok": 4}


def test_where_all_or_none_failed_there_is_a_page(tmp_path):
    page = write_page(write_tags(tmp_path / "none", [failed("a"), failed("b")])).page
    assert "Save" not in (tmp_path / "none" / "review.html").read_text()
    assert page == str(tmp_path / "none" / "review.html")
    write_page(write_tags(tmp_path / "all", [row("a", 0.5, "/a")]))
    assert "without an answer" not in (tmp_path / "all" / "review.html").read_text()


class Scripts(HTMLParser):
    """The elements of a page, and the content of its scripts."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.scripts, self.policy, self.is_script = [], [], "", False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.is_script = tag == "script"
        if self.is_script:
            self.scripts.append("")
        if tag == "meta" and dict(attrs).get("http-equiv") == "Content-Security-Policy":
            self.policy = dict(attrs)["content"]

    def handle_endtag(self, tag):
        self.is_script = False

    def handle_data(self, data):
        if self.is_script:
            self.scripts[-1] += data


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    remote = [row("remote", 0.6, "https://host:81/a.mp3"), row("bucket", 0.61, "s3://bucket/a.mp3")]
    write_page(write_tags(folder, [*hostile_rows(folder), *remote]))
    return (folder / "review.html").read_text(encoding="utf-8")


def test_names_are_text_in_the_page(hostile):
    page = Scripts(hostile)
    assert page.tags.count("script") == 2
    assert not {"img", "b", "i"} & set(re.findall(r"<(\w+)[^>]*>[^<]*(?:alert|bad|not<)", hostile))
    data = json.loads(page.scripts[0])
    assert [track["id"] for track in data["tracks"]] == [*HOSTILE, "remote", "bucket"]
    assert data["genres"] == list(GENRES)
    assert page.scripts[0].isascii()
    assert not set("<>&") & set(page.scripts[0])


def test_the_policy_lets_no_other_script_run_and_nothing_out(hostile):
    page = Scripts(hostile)
    digest = base64.b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode()
    assert dict(part.strip().split(" ", 1) for part in page.policy.split(";")) == {
        "default-src": "'none'",
        "style-src": "'unsafe-inline'",
        "script-src": f"'sha256-{digest}'",
        "media-src": "'self' file: https://host:81",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_the_page_is_no_larger_than_what_is_asked_for(tmp_path):
    tags = write_tags(tmp_path, [row(f"{i:05d}", 0.5, f"/music/{i}.mp3") for i in range(2000)], 500)
    write_page(tags, n_tracks=20)
    assert (tmp_path / "review.html").stat().st_size < 80_000


def test_the_page_is_by_the_names_of_a_map_and_tracks_without_a_label_come_first(tmp_path):
    """Folk and Hip-Hop are one here, so that what was unsure between the two is sure; Jazz is no genre."""
    (tmp_path / "names.csv").write_text("genre,name\nFolk,Ours\nHip-Hop,Ours\nJazz,\n")
    shares = {"both": (0.5, 0.4, 0.06, 0.04), "jazz": (0.1, 0.1, 0.7, 0.1), "rock": (0.3, 0.1, 0.0, 0.6)}
    shares |= {"low": (0.2, 0.1, 0.2, 0.5), "sure": (0.02, 0.02, 0.01, 0.95)}
    rows = []
    for name, values in shares.items():
        ranked = sorted(zip(values, GENRES, strict=True), reverse=True)
        genres = [{"genre": genre, "probability": value} for value, genre in ranked]
        told = {"genre": ranked[0][1], "confidence": ranked[0][0], "genres": genres}
        rows.append({"track_id": name, "uri": f"/{name}", "status": "ok", **told})
    tags = write_tags(tmp_path, [*rows, failed("x")], 2)
    write_tags(tmp_path, [rows[0], failed("y")], 2)  # a track in two parts is one
    flags = ["--map", str(tmp_path / "names.csv"), "--min-confidence", "0.55"]
    assert cli.main(["review", tags, *flags]) == 0
    data = json.loads(Scripts((tmp_path / "review.html").read_text()).scripts[0])
    assert data["genres"] == ["Ours", GENRES[3]]
    told = [(track["id"], track["genre"], track["confidence"]) for track in data["tracks"]]
    assert told[:2] == [("jazz", None, None), ("low", None, 0.5)]
    assert told[2:] == [("rock", GENRES[3], 0.6), ("both", "Ours", 0.9), ("sure", GENRES[3], 0.95)]
    assert data["tracks"][0]["best"] == [["Ours", 0.2], [GENRES[3], 0.1]]
    (tmp_path / "names.csv").write_text("genre,name\nFolc,Ours\n")
    with pytest.raises(UserError, match="the checkpoint has no genre 'Folc': did you mean 'Folk'"):
        write_page(tags, map_uri=str(tmp_path / "names.csv"))
    with pytest.raises(UserError, match="min confidence is 2"):
        write_page(tags, min_confidence=2)


@pytest.mark.parametrize("n", [0, -1, 1_000_000])
def test_no_tracks_or_too_many_are_refused(tmp_path, n):
    with pytest.raises(UserError, match=f"tracks is {n}"):
        write_page(write_tags(tmp_path, [row("a", 0.5, "/a")]), n_tracks=n)


def test_what_is_no_tags_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(UserError, match="genreray tag"):
            write_page(str(folder))


def test_no_other_file_is_written_over(tmp_path):
    tags = write_tags(tmp_path / "tags", [row("a", 0.5, "/a")])
    (tmp_path / "songs.csv").write_text("mine")
    with pytest.raises(UserError, match="no page that review wrote"):
        write_page(tags, str(tmp_path / "songs.csv"))
    with pytest.raises(UserError, match="is a folder"):
        write_page(tags, str(tmp_path))
    assert (tmp_path / "songs.csv").read_text() == "mine"
    write_page(tags, str(tmp_path / "page.html"))
    write_page(tags, str(tmp_path / "page.html"))  # an earlier page is


def test_tag_goes_on_in_a_folder_with_a_page(tmp_path):
    tags = write_tags(tmp_path, [row("a", 0.5, "/a")])
    write_page(tags)
    tag._check_output(tags)


def test_the_command_writes_the_page_and_says_where(tmp_path, capsys):
    tags = write_tags(tmp_path, [*(row(str(i), 0.5, f"/{i}") for i in range(5)), failed("x")])
    assert cli.main(["review", tags, "--tracks", "3"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"on the page +3\b", shown)
    assert str(tmp_path / "review.html") in shown
    assert cli.main(["review", str(tmp_path / "nothing")]) == cli.BAD_INPUT


def test_a_manifest_gives_guarded_texts_back(tmp_path):
    (tmp_path / "a.csv").write_text("path,track_id,genre\na.mp3,'=1+1,'+Rock\nb.mp3,''-x,'quoted'\n'@c.mp3,,Jazz\n")
    found = read_catalog(str(tmp_path / "a.csv")).to_pylist()
    assert [one["track_id"] for one in found] == ["=1+1", "'-x", "'@c.mp3"]
    assert [one["genre"] for one in found] == ["+Rock", "'quoted'", "Jazz"]
    assert found[2]["uri"] == str(tmp_path / "'@c.mp3")
