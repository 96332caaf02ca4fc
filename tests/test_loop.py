import numpy as np
import pytest
import torch
from making import GENRES, SMALL, feature_rows
from sklearn.metrics import log_loss
from torch import nn

from genreray import dataset, loop, models, tables
from genreray.errors import UserError
from genreray.models.base import make_optimizer
from genreray.models.mel_cnn import MelCnnConfig
from genreray.recipe import TrainingConfig

CPU = torch.device("cpu")
CONFIG = MelCnnConfig(filters=(4, 8), learning_rate=3e-3)


@pytest.fixture(scope="module")
def clips():
    import pyarrow as pa

    rows = [row for row in feature_rows() if row["status"] == "ok"]
    return dataset.from_table(pa.Table.from_pylist(rows, schema=tables.FEATURES), ["mel"], SMALL, GENRES)


class MeanModel(nn.Module):
    """Logits of a crop: its first frame's grey value, for the first genre."""

    def forward(self, inputs):
        first = inputs["mel"][:, 0, 0].float() / 100
        return torch.stack([first, torch.zeros_like(first)], 1)


def train(clips, epochs=1, seed=0):
    torch.manual_seed(seed)
    model = models.build("mel_cnn", CONFIG, SMALL, 64, 3)
    optimizer = make_optimizer(model, CONFIG)
    totals = []
    for epoch in range(epochs):
        generator = torch.Generator().manual_seed(epoch)
        batches = clips.batches(8, generator)
        totals.append(
            loop.train_epoch(
                model, batches, optimizer, crop_frames=64, first_crop=False, generator=generator, device=CPU
            )
        )
    return model, totals


def test_training_learns_the_genres(clips):
    model, totals = train(clips, epochs=12)
    assert totals[0].n == len(clips)
    assert totals[-1].loss < 0.3 * totals[0].loss
    scored = loop.score(model, clips.batches(8), crop_frames=64, n_crops=2, device=CPU)
    assert scored.n_correct / scored.n > 0.9


def test_the_same_seed_gives_the_same_losses(clips):
    assert train(clips, 2)[1] == train(clips, 2)[1]
    assert train(clips, 1, seed=1)[1] != train(clips, 1, seed=0)[1]


def test_a_prediction_averages_the_probabilities_of_even_crops():
    x = torch.zeros((1, 4, 12), dtype=torch.uint8)
    x[0, 0] = torch.arange(12) * 20
    clips = dataset.Clips(["a"], {"mel": x}, torch.tensor([12]), torch.tensor([0]))
    found = loop.predict(MeanModel(), clips, crop_frames=4, n_crops=3, device=CPU)
    expected = np.mean([1 / (1 + np.exp(-start * 20 / 100)) for start in (0, 4, 8)])
    assert found[0].tolist() == pytest.approx([expected, 1 - expected])


def test_temperature_divides_the_logits():
    x = torch.full((1, 4, 4), 200, dtype=torch.uint8)
    clips = dataset.Clips(["a"], {"mel": x}, torch.tensor([4]), torch.tensor([0]))
    found = loop.predict(MeanModel(), clips, crop_frames=4, n_crops=1, device=CPU, temperature=4.0)
    assert found[0, 0].item() == pytest.approx(1 / (1 + np.exp(-0.5)))


def test_scores_add_up_to_scikit_learns(clips):
    model, _ = train(clips)
    scored = loop.score(model, clips.batches(7), crop_frames=64, n_crops=2, device=CPU)
    probabilities = loop.predict(model, clips, crop_frames=64, n_crops=2, device=CPU).double().numpy()
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    labels = clips.labels.numpy()
    assert scored.loss / scored.n == pytest.approx(log_loss(labels, probabilities, labels=[0, 1, 2]), rel=1e-5)
    assert scored.n_correct == (probabilities.argmax(1) == labels).sum()


def test_the_first_crop_is_the_one_where_it_is_asked_for(clips):
    seen = []
    model = MeanModel()
    model.weight = nn.Parameter(torch.zeros(1))
    forward = model.forward
    model.forward = lambda inputs: seen.append(inputs["mel"]) or forward(inputs) + model.weight
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    few = dataset.Clips(
        clips.track_ids[:4], {"mel": clips.inputs["mel"][:4]}, clips.n_frames[:4], torch.zeros(4).long()
    )
    generator = torch.Generator().manual_seed(0)
    loop.train_epoch(model, [few], optimizer, crop_frames=64, first_crop=True, generator=generator, device=CPU)
    assert torch.equal(seen[0], few.inputs["mel"][:, :, :64])


@pytest.mark.parametrize("name", ["epochs", "batch_size", "crop_frames", "crops"])
def test_impossible_training_is_refused(name):
    with pytest.raises(UserError, match=f"{name.replace('_', ' ')} is 0"):
        TrainingConfig(**{name: 0})
