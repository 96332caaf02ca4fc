import ast
import csv
import io
from pathlib import Path

import fsspec
import librosa
import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from genreray.demo import BROKEN, make_catalog
from genreray.demo.make import content
from genreray.demo.plan import LEAST_TRACKS, plan
from genreray.errors import UserError
from genreray.synthesis.styles import habits, play

SECONDS = 1.0
SMALL = {"tracks": LEAST_TRACKS, "seconds": SECONDS, "seed": 3}
FMA = Path(__file__).parent.parent.parent / "shared/data/fma/fma_metadata"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_catalog(str(tmp_path_factory.mktemp("demo") / "catalog"), **SMALL)


@pytest.fixture(scope="module")
def table(made):
    return pd.read_csv(f"{made.fma_metadata}/tracks.csv", index_col=0, header=[0, 1])


@pytest.fixture(scope="module")
def whole():
    """The default catalog's plan as a table, without its audio."""
    return pd.DataFrame([vars(track) for track in plan(160, seed=0)])


def file_of(made, track_id):
    return Path(made.audio) / f"{int(track_id):06d}"[:3] / f"{int(track_id):06d}.mp3"


def state(folder):
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in Path(folder).rglob("*") if path.is_file()}


# --- metadata ---


def test_tracks_csv_reads_as_fma_s_does(made, table):
    assert table.index.name == "track_id"
    assert len(table) == made.tracks == LEAST_TRACKS + len(BROKEN)
    assert table.index.is_unique
    assert set(table["set", "split"]) == {"training", "validation", "test"}
    assert set(table["set", "subset"]) == {"small", "medium"}
    assert not table.isna().to_numpy().any()


@pytest.mark.skipif(not FMA.exists(), reason="needs FMA's own metadata")
def test_headers_are_fma_s():
    ours = list(csv.reader(io.StringIO(_text("tracks.csv"))))
    with (FMA / "tracks.csv").open(encoding="utf-8", newline="") as file:
        genuine = [row for row, _ in zip(csv.reader(file), range(3), strict=False)]
    columns = list(zip(*genuine, strict=True))
    kept = [column for column in columns if column in set(zip(*ours[:3], strict=True))]
    assert list(zip(*ours[:3], strict=True)) == kept  # FMA's columns, in FMA's order, under FMA's three rows


@pytest.mark.skipif(not FMA.exists(), reason="needs FMA's own metadata")
def test_genre_ids_are_fma_s():
    ours = pd.read_csv(io.StringIO(_text("genres.csv")), index_col=0)
    genuine = pd.read_csv(FMA / "genres.csv", index_col=0).loc[ours.index]
    columns = ["title", "parent", "top_level"]
    assert list(ours) == list(genuine)
    pd.testing.assert_frame_equal(ours[columns], genuine[columns])


def _text(name):
    from genreray.demo.metadata import genres_csv, tracks_csv

    catalog = plan(160, seed=0)
    return tracks_csv(catalog, 12.0) if name == "tracks.csv" else genres_csv(catalog)


def test_genres_all_holds_the_top_genre_and_subgenres_below_it():
    genres = pd.read_csv(io.StringIO(_text("genres.csv")), index_col=0)
    tracks = pd.read_csv(io.StringIO(_text("tracks.csv")), index_col=0, header=[0, 1])
    several = 0
    for top, listed in zip(
        tracks["track", "genre_top"], tracks["track", "genres_all"].map(ast.literal_eval), strict=True
    ):
        rows = genres.loc[listed]
        assert top in set(rows["title"])
        assert set(genres.loc[rows["top_level"], "title"]) == {top}
        several += len(listed) > 1
    assert 0.3 < several / len(tracks) < 0.8


def test_genres_csv_counts_the_tracks():
    genres = pd.read_csv(io.StringIO(_text("genres.csv")), index_col=0)
    tracks = pd.read_csv(io.StringIO(_text("tracks.csv")), index_col=0, header=[0, 1])
    assert (
        genres["#tracks"].to_dict()
        == tracks["track", "genres_all"].map(ast.literal_eval).explode().value_counts().to_dict()
    )


def test_some_names_are_not_ascii_and_all_say_generated(table):
    for column in (("artist", "name"), ("album", "title"), ("track", "title")):
        assert table[column].str.endswith("(generated)").all()
    assert not table["artist", "name"].map(str.isascii).all()


# --- which tracks ---


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("tracks", [LEAST_TRACKS, 100, 160, 1000])
def test_no_artist_is_in_two_splits_and_each_genre_is_in_all(tracks, seed):
    catalog = pd.DataFrame([vars(track) for track in plan(tracks, seed)])
    assert catalog["broken"].isna().sum() == tracks
    assert catalog["track_id"].is_monotonic_increasing
    assert catalog["track_id"].is_unique
    assert (catalog.groupby("artist")["split"].nunique() == 1).all()
    assert (catalog.groupby("artist")["genre"].nunique() == 1).all()
    assert (catalog.groupby("genre")["split"].nunique() == 3).all()
    assert catalog["genre"].nunique() == 8


def test_genres_are_unequal_and_the_majority_is_small(whole):
    shares = whole["genre"].value_counts(normalize=True)
    assert 1 / 8 < shares.max() < 1 / 4
    assert shares.min() < shares.max() / 3


def test_splits_are_near_70_14_16(whole):
    shares = whole[whole["broken"].isna()]["split"].value_counts(normalize=True)
    assert shares["training"] == pytest.approx(0.70, abs=0.03)
    assert shares["validation"] == pytest.approx(0.14, abs=0.03)
    assert shares["test"] == pytest.approx(0.16, abs=0.03)
    assert whole["split"].eq("test").sum() >= 18


def test_each_genre_has_three_to_six_artists(whole):
    assert whole.groupby("genre")["artist"].nunique().between(3, 6).all()


def test_most_files_are_44100_hz_stereo_and_some_are_not(whole):
    formats = whole[["sr", "channels"]].value_counts(normalize=True)
    assert formats[44100, 2] > 0.5
    assert {sr for sr, _ in formats.index} == {22050, 44100, 48000}
    assert {channels for _, channels in formats.index} == {1, 2}


@pytest.mark.parametrize("tracks", [LEAST_TRACKS, 160])
def test_files_are_in_several_folders(tracks):
    assert len({track.name[:3] for track in plan(tracks, seed=0)}) >= 2


@pytest.mark.slow
def test_genres_can_be_told_apart_but_not_perfectly():
    """The field's simplest baseline (MFCC means and deviations, SVM), on short clips of every playable track."""
    catalog = [track for track in plan(160, seed=0) if track.broken is None]

    def statistics(track):
        artist, rng = (np.random.default_rng([0, i, number]) for i, number in ((1, track.artist), (2, track.track_id)))
        y = play(track.genre, track.variant, habits(artist), 2.0, 22050, rng).mean(axis=0)
        mfcc = librosa.feature.mfcc(y=y, sr=22050, n_mfcc=20)
        return np.concatenate([mfcc.mean(axis=1), mfcc.std(axis=1)])

    x, genre = np.stack([statistics(track) for track in catalog]), np.array([track.genre for track in catalog])
    training = np.array([track.split == "training" for track in catalog])
    svm = make_pipeline(StandardScaler(), SVC(C=3)).fit(x[training], genre[training])
    assert 0.5 < svm.score(x[~training], genre[~training]) < 0.97


# --- files ---


def test_every_playable_track_is_an_mp3_of_its_length(made):
    for track in plan(SMALL["tracks"], SMALL["seed"]):
        if track.broken is None:
            y, sr = sf.read(file_of(made, track.track_id), always_2d=True)
            info = sf.info(file_of(made, track.track_id))
            assert (info.format, sr, y.shape[1]) == ("MP3", track.sr, track.channels)
            assert len(y) / sr == pytest.approx(SECONDS, abs=0.1)
            assert y.std() > 0.01


def test_broken_files_are_what_they_claim(made, table):
    by_kind = {kind: (track_id, file_of(made, track_id)) for track_id, kind in made.broken.items()}
    assert set(by_kind) == set(BROKEN)
    for track_id, _ in by_kind.values():
        assert table.loc[int(track_id), ("set", "split")] == "training"
        assert table.loc[int(track_id), ("track", "genre_top")]
    files = {kind: path for kind, (_, path) in by_kind.items()}
    assert files["empty"].read_bytes() == b""
    assert files["text"].read_text().startswith("<!DOCTYPE html>")
    assert len(files["cut off"].read_bytes()) == 300
    assert files["cut off"].read_bytes()[:1] == b"\xff"  # an mpeg frame begins
    assert not files["missing"].exists()
    for kind in ("text", "cut off"):
        with pytest.raises(sf.LibsndfileError):
            sf.read(files[kind])
    silent, sr = sf.read(files["silent"])
    assert not silent.any()
    assert len(silent) / sr == pytest.approx(SECONDS, abs=0.1)
    assert sf.info(files["short"]).duration == pytest.approx(0.5, abs=0.06)


def test_the_readme_says_that_the_music_is_generated(made):
    text = (Path(made.folder) / "README.txt").read_text(encoding="utf-8")
    assert text.startswith("This music is generated")
    assert "It says nothing about real music" in text


# --- again ---


def test_a_file_depends_on_seed_and_track_alone(made, tmp_path):
    again = make_catalog(str(tmp_path / "again"), **SMALL)
    assert {p.relative_to(made.folder): b for p, (_, b) in state(made.folder).items()} == {
        p.relative_to(again.folder): b for p, (_, b) in state(again.folder).items()
    }
    track = next(track for track in plan(SMALL["tracks"], SMALL["seed"]) if track.broken is None)
    assert content(track, SECONDS, SMALL["seed"]) == file_of(made, track.track_id).read_bytes()
    assert content(track, SECONDS, SMALL["seed"] + 1) != file_of(made, track.track_id).read_bytes()


def test_a_second_run_does_nothing(made):
    before, seen = state(made.folder), []
    again = make_catalog(made.folder, **SMALL, progress=lambda done, total: seen.append((done, total)))
    assert again == made
    assert state(made.folder) == before
    assert seen == [(made.tracks, made.tracks)]


def test_only_what_is_missing_is_made(made):
    before = state(made.folder)
    lost = next(path for path in sorted(before) if path.suffix == ".mp3" and path.stat().st_size > 1000)
    lost.unlink()
    make_catalog(made.folder, **SMALL)
    after = state(made.folder)
    assert after[lost][1] == before[lost][1]
    assert {path for path in after if after[path][0] != before[path][0]} == {lost}


def test_an_interrupted_run_has_no_metadata_and_is_finished_by_the_next(made, tmp_path):
    def interrupt(done, total):
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_catalog(str(tmp_path / "catalog"), **SMALL, progress=interrupt)
    assert not (tmp_path / "catalog/fma_metadata/tracks.csv").exists()
    kept = state(tmp_path / "catalog/fma_medium")
    counts = []
    make_catalog(str(tmp_path / "catalog"), **SMALL, progress=lambda done, total: counts.append(done))
    assert counts == sorted(counts)
    assert counts[0] > len(BROKEN)
    assert kept.items() <= state(tmp_path / "catalog/fma_medium").items()
    assert (tmp_path / "catalog/fma_metadata/tracks.csv").read_bytes() == Path(
        made.fma_metadata, "tracks.csv"
    ).read_bytes()


def test_the_folder_may_be_any_uri(made):
    there = make_catalog("memory://bucket/demo", **SMALL)
    files = fsspec.filesystem("memory").find("/bucket/demo")
    assert there.audio == "memory://bucket/demo/fma_medium"
    assert len(files) == len(state(made.folder))
    assert make_catalog("memory://bucket/demo", **SMALL) == there


# --- bad input ---


def test_a_folder_with_other_things_is_refused_and_left_as_it_was(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="holds other things: give a new or an empty folder"):
        make_catalog(str(tmp_path), **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="is a file"):
        make_catalog(str(tmp_path / "file"), **SMALL)


def test_a_catalog_made_with_other_settings_is_refused(made):
    before = state(made.folder)
    with pytest.raises(UserError, match="other settings"):
        make_catalog(made.folder, **{**SMALL, "seed": 4})
    assert state(made.folder) == before


@pytest.mark.parametrize(
    ("setting", "message"),
    [({"tracks": 23}, "give 24 or more"), ({"seconds": 0.2}, "give 1 s or more"), ({"seed": -1}, "give 0 or more")],
)
def test_impossible_settings_are_refused(tmp_path, setting, message):
    with pytest.raises(UserError, match=message):
        make_catalog(str(tmp_path / "catalog"), **{**SMALL, **setting})
    assert not (tmp_path / "catalog").exists()
