"""FMA's own statistics in place of those of the clips: from features.csv to what a model sees."""

import numpy as np
import pyarrow as pa
import pytest
from making import feature_rows, write_features
from test_fma_features import features as csv_features
from test_fma_features import write as write_csv

from genreray import checkpoint, loading, part_rows
from genreray.catalog import fma_features
from genreray.checkpoint import Settings
from genreray.errors import UserError
from genreray.evaluate import evaluate
from genreray.features import FeatureConfig
from genreray.featureset import FeatureSet
from genreray.models.svm import SvmConfig
from genreray.statistics import with_fma_statistics
from genreray.tag import tag

FULL = FeatureConfig(n_mels=32, n_mfcc=20, duration=3.0)


def of_fma(n, config=FULL):
    """Tracks whose ids are FMA's: 000000, 000001 and so on."""
    return [{**row, "track_id": row["track_id"].zfill(6)} for row in feature_rows(n, config) if row["status"] == "ok"]


@pytest.fixture
def features(tmp_path):
    return FeatureSet.open(write_features(tmp_path / "features", of_fma(12), FULL))


def test_a_model_sees_the_statistics_of_the_file(features, tmp_path):
    uri = write_csv(tmp_path, csv_features(ids=range(20)))
    found = with_fma_statistics(features, uri, "svm")
    index = found.usable("training")
    runs = part_rows.runs(index.select(["part", "row", "mfcc_stats"]), ["track_id", "genre", "n_frames"])
    clips = loading.load(runs, ["mfcc_stats"], FULL, ["Folk", "Jazz", "Rock"])
    table = fma_features.read(uri)
    expected = dict(zip(table.column("track_id").to_pylist(), table.column("mfcc_stats").to_pylist(), strict=True))
    assert len(clips) == len(index) > 0
    for track_id, stats in zip(clips.track_ids, clips.inputs["mfcc_stats"].numpy(), strict=True):
        np.testing.assert_array_equal(stats, np.frombuffer(expected[track_id], np.float32).reshape(7, 20))


def test_a_track_that_the_file_lacks_is_named(features, tmp_path):
    uri = write_csv(tmp_path, csv_features(ids=[i for i in range(12) if i != 5]))
    with pytest.raises(UserError, match="no MFCC statistics of 1 tracks .* such as 000005"):
        with_fma_statistics(features, uri, "svm")


def test_failed_tracks_need_no_statistics(tmp_path):
    rows = [*of_fma(3), {**of_fma(4)[3], "status": "undecodable", "mel": None, "mfcc": None}]
    features = FeatureSet.open(write_features(tmp_path / "features", rows, FULL))
    stats = pa.table({"track_id": [f"{i:06d}" for i in range(3)], "mfcc_stats": [b"x"] * 3})
    found = features.with_statistics(stats, "here").index.to_pylist()
    assert {row["track_id"]: row["mfcc_stats"] for row in found}["000003"] is None


def test_models_on_other_inputs_are_refused(features):
    with pytest.raises(UserError, match=r"mel_cnn does not read MFCC statistics: .* use .*mlp.*svm"):
        with_fma_statistics(features, "features.csv", "mel_cnn")


def test_another_number_of_mfcc_is_refused(tmp_path):
    config = FeatureConfig(n_mels=32, n_mfcc=13, duration=3.0)
    features = FeatureSet.open(write_features(tmp_path / "features", of_fma(3, config), config))
    with pytest.raises(UserError, match=r"statistics of 20 MFCC, .* 13 MFCC: extract with --n-mfcc 20"):
        with_fma_statistics(features, "features.csv", "svm")


@pytest.fixture
def run(tmp_path):
    """A checkpoint that says its statistics were FMA's."""

    def make(statistics):
        settings = Settings(
            model="svm",
            model_config=SvmConfig(),
            features=FULL,
            genres=["Folk", "Jazz", "Rock"],
            crop_frames=64,
            n_crops=1,
            training={},
            metrics={},
            statistics=statistics,
        )
        checkpoint.save(str(tmp_path / "run"), settings.build(), settings)
        return str(tmp_path / "run")

    return make


def score(features, run, tmp_path, **options):
    evaluate(
        features.uri, str(tmp_path / "report"), run, split="test", gpu="no", cluster=None, progress=None, **options
    )


def test_a_checkpoint_is_scored_on_the_statistics_that_it_was_trained_on(features, run, tmp_path):
    assert checkpoint.load_settings(run("fma")).statistics == "fma"
    with pytest.raises(UserError, match="trained on FMA's own MFCC statistics: give --fma-features"):
        score(features, run("fma"), tmp_path)
    with pytest.raises(UserError, match="not trained on FMA's own MFCC statistics: leave --fma-features out"):
        score(features, run("clip"), tmp_path, fma_features="features.csv")


def test_files_have_no_statistics_of_fmas(run, tmp_path):
    with pytest.raises(UserError, match="which files do not have: train without --fma-features"):
        tag(pa.table({}), str(tmp_path / "tags"), run("fma"), top_k=1, gpu="no", cluster=None, progress=None)
