"""Several workers on CPUs: the loss falls as with one, at the same global batch."""

import statistics

import pytest
import ray
from making import feature_rows, write_features
from rich.console import Console

from genreray.cluster import Cluster
from genreray.models.mel_cnn import MelCnnConfig
from genreray.progress import Progress
from genreray.recipe import TrainingConfig
from genreray.train import train

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]
EPOCHS = 6
SEEDS = range(4)


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    return write_features(tmp_path_factory.mktemp("workers") / "features", feature_rows(288))


def curve(features, folder, workers, seed):
    done = train(
        features,
        str(folder),
        "mel_cnn",
        MelCnnConfig(filters=(4, 8), learning_rate=1e-3, dropout=0.0),
        TrainingConfig(epochs=EPOCHS, batch_size=16, crop_frames=64, crops=1, seed=seed),
        workers=workers,
        gpu="no",
        cluster=Cluster(),
        progress=Progress(Console(), "train"),
    )
    return [epoch["training_loss"] for epoch in done.history]


@pytest.mark.parametrize("workers", [2, 4])
def test_several_workers_have_the_loss_curve_of_one(ray_session, features, tmp_path, workers):
    """Other crops meet in other batches, as with another seed: no further apart than seeds are."""
    assert ray.cluster_resources()["CPU"] == 2
    alone = [curve(features, tmp_path / f"1-{seed}", 1, seed) for seed in SEEDS]
    several = [curve(features, tmp_path / f"{workers}-{seed}", workers, seed) for seed in SEEDS]
    for epoch, (one, many) in enumerate(zip(zip(*alone, strict=True), zip(*several, strict=True), strict=True), 1):
        # Four standard errors of the difference of two means; in the first epochs weights of other seeds are far apart.
        noise = 4 * (statistics.variance(one) / len(one) + statistics.variance(many) / len(many)) ** 0.5
        apart = statistics.mean(many) - statistics.mean(one)
        print(f"\nepoch {epoch}: {statistics.mean(one):.4f} with 1, {statistics.mean(many):.4f} with {workers}")
        assert abs(apart) < max(noise, 0.02)
    assert statistics.mean(each[-1] for each in several) < 0.7 * statistics.mean(each[0] for each in several)
