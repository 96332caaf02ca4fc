"""tag --coverage: several clips of each track, and one answer."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile as sf
import torch
from making import GENRES, PARENTS, SMALL
from rich.console import Console
from test_inspection import saved

from genreray import checkpoint, cli, features, inspection, parts, spread, tables, track
from genreray.catalog import read_catalog
from genreray.errors import UserError
from genreray.predict import predict_rows
from genreray.synthesis.styles import habits, play

SR = SMALL.sr
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("run"))


def music(genre: str, seconds: float) -> np.ndarray:
    rng = np.random.default_rng(7)
    return play(genre, 0, habits(rng), seconds, SR, rng).mean(axis=0)


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    """A song that is Folk and then Rock, each half by itself, one that is short, one half silent, one broken."""
    folder = tmp_path_factory.mktemp("songs")
    folk, rock = music("Folk", 8.0), music("Rock", 8.0)
    quiet = np.zeros_like(folk)
    for name, y in {
        "both": np.concatenate([folk, rock]),
        "folk": folk,
        "rock": rock,
        "short": folk[: 4 * SR],
        "half": np.concatenate([quiet, rock]),
    }.items():
        sf.write(folder / f"{name}.wav", y, SR, subtype="FLOAT")
    (folder / "broken.mp3").write_text("no audio")
    return folder


def told(songs, run, n_clips: int, embedding: bool = False) -> dict[str, dict]:
    """What the stages of tag make of the songs, by name, without Ray."""
    how = {}
    if n_clips > 1:
        how["schema"] = tables.FEATURES_OF_CLIPS
        how["extract_tracks"] = lambda uris, config: track.extract_clips(uris, config, n_clips)
    rows = read_catalog(str(songs)).to_pylist()
    made = how.pop("extract_tracks", track.extract_tracks)([row["uri"] for row in rows], SMALL)
    table = pa.Table.from_pylist(
        [{**row, **more} for row, more in zip(rows, made, strict=True)], schema=how.pop("schema", tables.FEATURES)
    )
    found = predict_rows(table, checkpoint.load(run), len(GENRES), CPU, embedding=embedding)
    assert found["track_id"].to_pylist() == [row["track_id"] for row in rows]
    return {row["track_id"].partition(".")[0]: row for row in found.to_pylist()}


def shares(row: dict) -> np.ndarray:
    found = {one["genre"]: one["probability"] for one in row["genres"]}
    return np.array([found[genre] for genre in GENRES])


def test_two_clips_of_a_song_of_two_halves_are_what_each_half_is_by_itself(songs, run):
    one, two = told(songs, run, 1, True), told(songs, run, 2, True)
    assert np.abs(shares(one["folk"]) - shares(one["rock"])).max() > 5e-4  # untrained as it is
    np.testing.assert_allclose(shares(two["both"]), (shares(one["folk"]) + shares(one["rock"])) / 2, atol=1e-6)
    middles = np.array([one[name]["embedding"] for name in ("folk", "rock")])
    np.testing.assert_allclose(two["both"]["embedding"], middles.mean(axis=0), atol=1e-5)
    best = max(GENRES, key=lambda genre: shares(two["both"])[GENRES.index(genre)])
    assert (two["both"]["genre"], two["both"]["confidence"]) == (best, pytest.approx(shares(two["both"]).max()))


def test_a_short_song_and_a_half_silent_one_have_the_clips_that_there_are(songs, run):
    one, many = told(songs, run, 1), told(songs, run, 9)
    np.testing.assert_array_equal(shares(many["short"]), shares(one["short"]))
    assert many["broken"]["status"] == one["broken"]["status"] == "undecodable"
    assert many["broken"]["genres"] is None
    two = told(songs, run, 2)
    np.testing.assert_allclose(shares(two["half"]), shares(one["rock"]), atol=1e-6)


def test_the_clips_have_the_features_of_the_sound_at_their_time(songs):
    (found,) = track.extract_clips([str(songs / "both.wav")], SMALL, 3)
    y = np.concatenate([music("Folk", 8.0), music("Rock", 8.0)])
    assert len(found["clips"]) == 3
    for clip in found["clips"]:
        start = round(clip["start"] * SR)
        mel, mel_ref, mfcc = features.extract(y[start : start + 3 * SR], SMALL)
        assert (clip["mel"], clip["mfcc"]) == (mel.tobytes(), mfcc.tobytes())
        assert clip["mel_ref"] == pytest.approx(mel_ref)


def test_of_several_genres_a_track_no_parent_is_less_probable_than_its_child(songs, tmp_path):
    genres = ["Jazz", "Punk", "Rock"]
    run = saved(tmp_path, genres=genres, tree=PARENTS, thresholds=dict.fromkeys(genres, 0.0))
    one, two = (told(songs, run, n) for n in (1, 2))
    folk, rock = ({g["genre"]: g["probability"] for g in one[half]["genres"]} for half in ("folk", "rock"))
    found = {g["genre"]: g["probability"] for g in two["both"]["genres"]}
    assert found == {name: pytest.approx((folk[name] + rock[name]) / 2, abs=1e-6) for name in genres}
    assert found["Rock"] >= found["Punk"]


def test_probabilities_are_averaged_and_not_their_logarithms():
    values = np.float32([[0.9, 0.1], [0.1, 0.9], [0.8, 0.2], [1.0, 0.0]])
    found = spread.mean(values, np.array([3, 1]))
    np.testing.assert_allclose(found, [[0.6, 0.4], [1.0, 0.0]], rtol=1e-6)


def test_many_clips_make_small_parts():
    assert parts.part_size(10**6, 2) == parts.part_size(10**6, 2, 30.0) == 256
    assert parts.part_size(10**6, 2, 2 * 30.0) == 192
    assert parts.part_size(10**6, 2, 10 * 30.0) == 38
    assert parts.part_size(10**6, 2, 3600.0) == 3


def test_impossible_numbers_of_clips_are_one_line(songs, run, tmp_path):
    for n, said in ((0, "coverage is 0: give 1 to 1200"), (5000, "the clips of 3 s in 60 minutes")):
        with pytest.raises(UserError, match=said):
            tag(songs, tmp_path / "tags", run, "--coverage", n)
    with pytest.raises(UserError, match="coverage is 0"):
        spread.check(0, 30.0)
    assert not (tmp_path / "tags").exists()


def tag(songs, tags, run, *flags: object) -> int:
    argv = ["tag", songs, tags, "--checkpoint", run, "--gpu", "no", "--max-failed", "1", *flags]
    return cli.run([str(word) for word in argv], Console(file=open(os.devnull, "w")))  # noqa: PTH123


def test_the_job_covers_and_says_so_and_goes_on_only_with_the_same(ray_session, songs, run, tmp_path):
    tags = tmp_path / "tags"
    assert tag(songs, tags, run, "--coverage", 2) == 0
    expected = told(songs, run, 2)
    table = pq.read_table(tags / "predictions")
    assert tables.metadata_of(table.schema, "")["coverage"] == 2
    rows = {row["track_id"].partition(".")[0]: row for row in table.to_pylist()}
    for name, row in rows.items():
        assert row["status"] == expected[name]["status"]
        if row["status"] == "ok":
            np.testing.assert_allclose(shares(row), shares(expected[name]), atol=1e-6)
    assert {name: row["n_clips"] for name, row in rows.items()} == {
        **{"both": 2, "folk": 2, "rock": 2, "short": 1, "half": 1, "broken": None}
    }
    with pytest.raises(UserError, match=r"made with other settings \(coverage 2, not 3\)"):
        tag(songs, tags, run, "--coverage", 3)
    with pytest.raises(UserError, match=r"coverage 2, not 1"):
        tag(songs, tags, run)
    assert tag(songs, tags, run, "--coverage", 2) == 0  # which finds all of it done


def test_inspect_shows_the_clips_all_over_the_song(songs, run):
    song = str(songs / "both.wav")
    found = inspection.inspect(song, run, n_windows=12, n_clips=2)
    expected = told(songs, run, 2)["both"]
    assert list(found.probabilities) == [one["genre"] for one in expected["genres"]]
    np.testing.assert_allclose(list(found.probabilities.values()), [g["probability"] for g in expected["genres"]])
    assert len(found.starts) == len(found.windows) == 12
    assert (found.starts[0], found.starts[6]) == (pytest.approx(2.5), pytest.approx(10.5))
    halves = [inspection.inspect(str(songs / f"{half}.wav"), run, n_windows=6) for half in ("folk", "rock")]
    for half, windows in zip(halves, np.split(found.windows, 2), strict=True):
        np.testing.assert_allclose(windows, half.windows, atol=1e-6)
    assert [clip.start for clip in found.clips] == [pytest.approx(2.5), pytest.approx(10.5)]


def test_the_screen_and_the_picture_hold_all_clips(songs, run, tmp_path):
    plot = tmp_path / "plot.png"
    console = Console(record=True, width=100)
    argv = ["inspect", str(songs / "both.wav"), "--checkpoint", run, "--coverage", "5", "--plot", str(plot)]
    assert cli.run(argv, console) == 0
    shown = console.export_text()
    assert "15.0 s, 5 clips of 3.0 s spread over the track" in shown
    assert plot.stat().st_size > 10_000
