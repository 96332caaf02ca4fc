"""inspect beside tag: the same file, the same numbers."""

import re

import numpy as np
import pytest
import soundfile as sf
import sounds
import torch
from making import GENRES, PARENTS, SMALL
from PIL import Image
from rich.console import Console

from genreray import checkpoint, cli, extract, inspection
from genreray.catalog import read_catalog
from genreray.checkpoint import Settings
from genreray.errors import UserError
from genreray.isolation import DEFAULT_LIMITS
from genreray.models.mel_cnn import MelCnnConfig
from genreray.predict import predict_rows

SETTINGS = {
    "model": "mel_cnn",
    "model_config": MelCnnConfig(filters=(4, 8)),
    "features": SMALL,
    "genres": list(GENRES),
    "crop_frames": 64,
    "n_crops": 3,
    "training": {},
    "metrics": {"epoch": 1},
    "temperature": 0.05,  # far from equal probabilities, untrained as it is
}


def saved(folder, **changes) -> str:
    settings = Settings(**{**SETTINGS, **changes})
    torch.manual_seed(3)
    checkpoint.save(str(folder), settings.build(), settings)
    return str(folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    """Noise, then a tone, of which the middle three seconds are seen."""
    path = tmp_path_factory.mktemp("music") / "[b]song[bold].wav"
    y = np.concatenate([sounds.noise(22050, 2.5), sounds.tone(22050, 2.5)])
    sf.write(path, y, 22050)
    return str(path)


def tagged(uri: str, run: str) -> dict:
    """What the stages of tag make of the file, without Ray."""
    rows = extract.extract_block(read_catalog(uri), SMALL, DEFAULT_LIMITS)
    (row,) = predict_rows(rows, checkpoint.load(run), len(GENRES), torch.device("cpu")).to_pylist()
    return row


def test_the_probabilities_are_those_of_tag(run, song):
    row = tagged(song, run)
    for n in (1, 7):  # however many windows are looked at beside
        found = inspection.inspect(song, run, n_windows=n)
        assert list(found.probabilities.items()) == [(best["genre"], best["probability"]) for best in row["genres"]]


def test_the_windows_of_scoring_have_its_probabilities_as_their_mean(run, song):
    found = inspection.inspect(song, run, n_windows=3)
    expected = [found.probabilities[genre] for genre in GENRES]
    np.testing.assert_allclose(found.windows.mean(0), expected, rtol=1e-5)
    assert found.starts[0] == 1.0  # s into the song
    assert found.starts[-1] + found.window_seconds == pytest.approx(4.0, abs=0.03)


def test_windows_tell_the_noise_from_the_tone(run, song):
    windows = inspection.inspect(song, run, n_windows=12).windows
    assert np.abs(windows[0] - windows[-1]).max() > 0.01
    np.testing.assert_allclose(windows.sum(1), 1, rtol=1e-5)


def test_a_clip_without_room_has_one_window(tmp_path, song):
    run = saved(tmp_path, crop_frames=SMALL.max_frames)
    assert inspection.inspect(song, run, n_windows=9).windows.shape == (1, len(GENRES))


def test_several_genres_are_shown_with_their_thresholds(tmp_path, song):
    genres = ["Jazz", "Rock", "Punk"]
    run = saved(tmp_path, genres=genres, tree=PARENTS, thresholds=dict.fromkeys(genres, 0.0), temperature=1.0)
    found = inspection.inspect(song, run, n_windows=2)
    assert found.probabilities["Rock"] >= found.probabilities["Punk"]
    console = Console(record=True, width=100, force_terminal=False)
    assert cli.run(["inspect", song, "--checkpoint", run], console) == 0
    assert console.export_text().count("yes") == 3


def test_the_screen_has_all_of_it_on_a_narrow_log_too(run, song):
    console = Console(record=True, width=80)
    assert cli.run(["inspect", song, "--checkpoint", run, "--crops", "16"], console) == 0
    shown = console.export_text()
    assert song in shown.replace("\n", "")  # its brackets are no markup
    row = tagged(song, run)
    for best in row["genres"]:
        assert re.search(rf"{best['genre']} +{best['probability']:.1%}", shown)
    assert "3.0 s, the middle of what is longer" in shown
    assert "16 windows" in shown


def test_a_file_that_cannot_be_used_ends_with_its_reason_and_exit_code_1(run, tmp_path):
    (tmp_path / "bad.mp3").write_text("no audio")
    for name, status in (("bad.mp3", "undecodable"), ("none.mp3", "not_found")):
        console = Console(record=True, width=200)
        plot = str(tmp_path / "plot.png")
        assert cli.run(["inspect", str(tmp_path / name), "--checkpoint", run, "--plot", plot], console) == 1
        shown = console.export_text()
        assert re.search(rf"status +{status}\n", shown)
        assert re.search(r"reason +\S", shown)
    assert not (tmp_path / "plot.png").exists()


def test_the_picture_is_one(run, song, tmp_path):
    plot = tmp_path / "plot.png"
    console = Console(record=True, width=100)
    assert cli.run(["inspect", song, "--checkpoint", run, "--plot", str(plot)], console) == 0
    pixels = np.asarray(Image.open(plot).convert("L"), float)
    assert pixels.shape[0] > 400
    assert pixels.std() > 10
    with pytest.raises(UserError, match=r"\.png"):
        cli.run(["inspect", song, "--checkpoint", run, "--plot", "a.jpg"], console)


def test_impossible_numbers_of_windows_are_refused(song):
    with pytest.raises(UserError, match="crops is 0"):
        cli.run(["inspect", song, "--checkpoint", "run", "--crops", "0"], Console())
