import collections
import dataclasses

import librosa
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from networks import FRAMES as CROP
from networks import SMALL, inputs_of, network

from benchmarks import mfcc_branch, quality
from benchmarks.quality import Quality
from genreray import models, parts
from genreray.errors import UserError

FRAMES = 140
GENRES = ["blues", "jazz", "rock"]


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    """A table of noise whose genres differ in level, and where results go."""
    folder = tmp_path_factory.mktemp("quality")
    rng = np.random.default_rng(0)
    rows = []
    for split, n in (("training", 30), ("validation", 9), ("test", 6), (None, 3)):
        for i in range(n):
            grey = rng.integers(0, 120, (128, FRAMES)) + 50 * (i % 3)
            spectrogram = grey.astype(np.uint8).tobytes()
            rows.append({"track_id": f"{split}{i}", "genre": GENRES[i % 3], "split": split, "spectrogram": spectrogram})
    pq.write_table(pa.Table.from_pylist(rows), folder / "table.parquet")
    return Quality(data=folder / "table.parquet", results=folder / "results", models="mlp", seeds=2, threads=1)


@pytest.fixture(scope="module")
def features(options):
    return quality.write_features(options.data, options.results / "features")


def test_the_stand_in_for_the_mfcc_is_librosas_of_the_decibels(options, features):
    row = pq.read_table(options.data).to_pylist()[0]
    grey = np.frombuffer(row["spectrogram"], np.uint8).reshape(128, FRAMES)
    expected = librosa.feature.mfcc(S=grey * 80.0 / 255 - 80, n_mfcc=20)
    index = features.index.filter(pa.compute.field("track_id") == row["track_id"])
    (table,) = parts.read_places(index.select(["part", "row"]), ["mel", "mfcc"])
    mfcc = np.frombuffer(table.column("mfcc")[0].as_py(), np.float16).reshape(20, FRAMES).astype(float)
    assert mfcc[1:] == pytest.approx(expected[1:], rel=1e-3, abs=0.05)
    assert mfcc[0] - mfcc[0, 0] == pytest.approx(expected[0] - expected[0, 0], abs=0.5)  # levels are relative
    assert table.column("mel")[0].as_py() == row["spectrogram"]


def test_every_seed_is_trained_once_and_scored_on_validation_alone(options, features, capsys, monkeypatch):
    small = dataclasses.replace(options, change=("epochs=2", "learning_rate=0.01"))
    assert quality.main(small) == 0
    shown = capsys.readouterr().out
    assert "mlp, seeds averaged" in shown
    assert "validation" in shown
    assert "test" not in shown
    monkeypatch.setattr(quality, "_train", None)
    assert quality.main(dataclasses.replace(small, test=True)) == 0
    assert "test" in capsys.readouterr().out


def test_a_setting_that_no_system_has_is_refused(options):
    with pytest.raises(UserError, match="no system has a setting depth"):
        quality.main(dataclasses.replace(options, change=("depth=3",)))


def test_a_thinned_split_has_genres_that_decay_and_whole_other_splits(features):
    found = quality.thinned(features, 0.5, seed=1)
    counts = collections.Counter(found.usable("training").column("genre").to_pylist())
    assert sorted(counts.values()) == [2, 5, 10]  # 10 of each; round(2.5) is 2
    for split in ("validation", "test"):
        assert found.usable(split).equals(features.usable(split))
    others = [quality.thinned(features, 0.5, seed) for seed in range(8)]
    largest = {
        collections.Counter(other.usable("training").column("genre").to_pylist()).most_common(1)[0][0]
        for other in others
    }
    assert len(largest) > 1
    assert quality.thinned(features, 1.0, seed=1) is features


def test_the_mfcc_branch_alone_is_that_of_fusion_cnn():
    fusion = network("fusion_cnn")
    alone = models.build("benchmarks.mfcc_branch", mfcc_branch.FAMILY.config(), SMALL, CROP, 4)
    assert [p.shape for p in alone.trunk.parameters()] == [p.shape for p in fusion.mfcc.parameters()]
    assert alone.embedding_size == fusion.head.sizes[2]
    assert alone.eval()(inputs_of(alone)).shape == (8, 4)
