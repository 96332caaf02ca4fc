import collections
import dataclasses

import librosa
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from networks import FRAMES as CROP
from networks import SMALL, inputs_of, network

from benchmarks import branches, mfcc_branch, quality
from benchmarks.branches import Difference
from benchmarks.quality import Quality
from genreray import models, part_rows
from genreray.errors import UserError
from genreray.models.pooled import mean_and_max

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
    (table,) = part_rows.read(index.select(["part", "row"]), ["mel", "mfcc"])
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


def test_branches_are_scored_beside_the_network_that_joins_them(options, features, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    changes = ("epochs=1", "crop_frames=64", "filters=[4, 8]", "recurrent_filters=[4, 8]", "recurrent=4")
    small = dataclasses.replace(options, models="fusion_cnn", change=changes)
    assert quality.main(small) == 0
    shown = capsys.readouterr().out
    for branch in ("residual", "recurrent", "mfcc"):
        assert f"its {branch} branch, seeds averaged" in shown
        assert f"fusion_cnn less its {branch} branch" in shown
    found = quality.trial(features, GENRES, "fusion_cnn", 0, small)
    assert [len(own[split]) for own in found.branches.values() for split in ("validation", "test")] == 3 * [9, 6]


def test_a_branch_answers_with_its_own_logits():
    model = network("fusion_cnn").eval()
    inputs = inputs_of(model)
    embeddings = model.embed(inputs).split(model.head.sizes, dim=1)
    mel = model.standardise["mel"](inputs["mel"]).unsqueeze(1)
    mfcc = model.standardise["mfcc"](inputs["mfcc"])
    for (name, branch), embedding, head in zip(
        branches.of(model).items(), embeddings, model.head.branches, strict=True
    ):
        seen = mfcc if name == "mfcc" else mel
        torch.testing.assert_close(embedding, mean_and_max(model.get_submodule(name)(seen)))
        assert torch.equal(branch(inputs), head(embedding))
    assert branches.of(network("crnn")) == {}


def test_a_difference_is_taken_track_by_track_and_seed_by_seed():
    right, wrong = [0.9, 0.1], [0.1, 0.9]
    ours = [[right, right, right, wrong], [right, right, wrong, wrong]]  # accuracies of 0.75 and 0.5
    theirs = [[right, wrong, wrong, wrong], [right, wrong, wrong, wrong]]  # of 0.25 both
    found = Difference.of(ours, theirs, np.zeros(4, np.int64))
    assert found.mean == pytest.approx((0.5 + 0.25) / 2)
    assert found.deviation == pytest.approx(0.25 / 2**0.5)
    assert found.interval[0] == 0 < found.mean < found.interval[1] <= 1
    assert Difference.of(ours, ours, np.zeros(4, np.int64)).interval == (0, 0)
    assert str(Difference(0.0123, 0.01, (-0.003, 0.028))) == "+0.012 ±0.010 [-0.003, +0.028]"


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
