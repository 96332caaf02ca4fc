import copy
import math

import numpy as np
import pytest
import torch
from making import GENRES, SMALL, feature_rows
from sklearn.metrics import log_loss
from torch import nn
from torch.nn import functional as F

from genreray import dataset, loading, loop, models, schedule, tables
from genreray.models.base import make_optimizer
from genreray.models.mel_cnn import MelCnnConfig
from genreray.recipe import TrainingConfig

CPU = torch.device("cpu")
CONFIG = MelCnnConfig(filters=(4, 8), learning_rate=3e-3)


@pytest.fixture(scope="module")
def clips():
    import pyarrow as pa

    rows = [row for row in feature_rows() if row["status"] == "ok"]
    return loading.from_table(pa.Table.from_pylist(rows, schema=tables.FEATURES), ["mel"], SMALL, GENRES)


class MeanModel(nn.Module):
    """Logits of a crop: its first frame's grey value, for the first genre."""

    def forward(self, inputs):
        first = inputs["mel"][:, 0, 0].float() / 100
        return torch.stack([first, torch.zeros_like(first)], 1)


def make_step(model, config, clips, optimizer=None, model_config=CONFIG):
    return loop.Step(
        model,
        optimizer or make_optimizer(model, model_config),
        config,
        SMALL,
        counts=torch.bincount(clips.labels, minlength=3),
        steps_per_epoch=math.ceil(len(clips) / config.batch_size),
        device=CPU,
    )


def run_epoch(step, clips, epoch, seed=0):
    torch.manual_seed(1000 * seed + epoch)  # dropout
    generator = torch.Generator().manual_seed(epoch)
    return loop.train_epoch(step, clips.batches(8, generator), epoch=epoch, generator=generator)


def build(seed=0, model_config=CONFIG):
    torch.manual_seed(seed)
    return models.build("mel_cnn", model_config, SMALL, 64, 3)


def train(clips, epochs=1, seed=0, **settings):
    model = build(seed)
    step = make_step(model, TrainingConfig(epochs=epochs, batch_size=8, crop_frames=64, **settings), clips)
    return model, [run_epoch(step, clips, epoch, seed) for epoch in range(1, epochs + 1)], step


def accuracy(model, clips):
    scored = loop.score(model, clips.batches(8), crop_frames=64, n_crops=2, device=CPU)
    return scored.n_correct / scored.n


def test_training_learns_the_genres(clips):
    model, totals, _ = train(clips, epochs=12)
    assert totals[0].n == len(clips)
    assert totals[-1].loss < 0.3 * totals[0].loss
    assert accuracy(model, clips) > 0.9


def test_the_same_seed_gives_the_same_losses(clips):
    assert train(clips, 2)[1] == train(clips, 2)[1]
    assert train(clips, 1, seed=1)[1] != train(clips, 1, seed=0)[1]


def test_a_step_without_options_is_the_plain_one(clips):
    """Written out here as it would be by hand."""
    plain = build()
    optimizer = torch.optim.Adam(plain.parameters(), lr=CONFIG.learning_rate)
    plain.train()
    total = 0.0
    torch.manual_seed(1)
    generator = torch.Generator().manual_seed(1)
    for batch in clips.batches(8, generator):
        starts = dataset.random_starts(batch.n_frames, 64, generator)
        loss = F.cross_entropy(plain(dataset.crop(batch, starts, 64)), batch.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(batch)
    model, totals, _ = train(clips)
    assert totals[0].loss == pytest.approx(total, rel=1e-6)
    # Not bit for bit: torch's fused optimiser rounds in another order.
    assert all(torch.allclose(x, plain.state_dict()[name], atol=1e-6) for name, x in model.state_dict().items())


class TwoHeads(nn.Module):
    """The logits of a network, and in training half of them as those of a second head."""

    def __init__(self):
        super().__init__()
        self.network = build()

    def forward(self, inputs):
        logits = self.network(inputs)
        return torch.stack([logits, logits / 2], 1) if self.training else logits


def test_every_head_has_a_loss_and_the_first_is_the_answer(clips):
    model = TwoHeads()
    by_hand = copy.deepcopy(model.network).train()
    batch = next(iter(clips.batches(8)))
    starts = dataset.random_starts(batch.n_frames, 64, torch.Generator().manual_seed(0))
    torch.manual_seed(0)  # dropout
    logits = by_hand(dataset.crop(batch, starts, 64))
    answer = F.cross_entropy(logits, batch.labels)
    (answer + F.cross_entropy(logits / 2, batch.labels)).backward()
    step = make_step(model, TrainingConfig(crop_frames=64), clips, torch.optim.SGD(model.parameters(), lr=0.1))
    torch.manual_seed(0)
    totals = loop.train_epoch(step, [batch], epoch=1, generator=torch.Generator().manual_seed(0))
    assert totals.loss == pytest.approx(answer.item() * len(batch))
    assert totals.n_correct == (logits.argmax(1) == batch.labels).sum()
    for ours, theirs in zip(model.network.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs - 0.1 * theirs.grad)


EVERYTHING = {
    "schedule": "one_cycle",
    "clip_norm": 1.0,
    "label_smoothing": 0.05,
    "mixup": 0.3,
    "freq_masks": 1,
    "freq_mask_bins": 4,
    "time_masks": 1,
    "time_mask_frames": 10,
    "gain": 2.0,
    "equalise": 2.0,
    "mix_styles": 0.5,
    "freq_shift": 1,
    "time_stretch": 0.1,
    "class_weights": "sqrt",
}


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("float32", torch.float32), ("auto", None)])
def test_convolutions_compute_in_the_precision_that_is_asked_for(clips, precision, dtype):
    seen = set()
    model = build()
    model.convolutions[0].register_forward_hook(lambda _, __, output: seen.add(output.dtype))
    step = make_step(model, TrainingConfig(batch_size=8, crop_frames=64, precision=precision), clips)
    half = run_epoch(step, clips, 1)
    loop.crop_logits(model, clips, crop_frames=64, n_crops=1, device=CPU, precision=precision)
    assert seen == {dtype or torch.float32}
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    assert half.loss == pytest.approx(train(clips)[1][0].loss, rel=0.02)


@pytest.mark.parametrize("averaging", [{"averaging": "ema", "ema_decay": 0.9}, {"averaging": "swa"}])
def test_training_with_everything_on_learns_the_genres(clips, averaging):
    model, _, step = train(clips, epochs=16, **EVERYTHING, **averaging)
    assert accuracy(model, clips) > 0.9
    with step.average.applied(model):
        assert accuracy(model, clips) > 0.9


@pytest.mark.parametrize(("averaging", "count"), [("none", 0), ("ema", 4 * 4), ("swa", 2)])
def test_the_average_is_over_every_step_or_the_ends_of_late_epochs(clips, averaging, count):
    few = clips.select(torch.arange(29))  # four batches of eight
    model, _, step = train(few, epochs=4, averaging=averaging, swa_start=0.5)
    assert step.average.state_dict(model).get("count", 0) == count


def test_an_interrupted_run_with_everything_on_ends_as_if_it_had_not_been(clips):
    config = TrainingConfig(
        epochs=4, batch_size=8, crop_frames=64, averaging="ema", ema_decay=0.9, **EVERYTHING, seed=0
    )
    whole, totals, expected = train(clips, epochs=4, averaging="ema", ema_decay=0.9, **EVERYTHING)
    first = build()
    before = make_step(first, config, clips, optimizer := make_optimizer(first, CONFIG))
    for epoch in (1, 2):
        run_epoch(before, clips, epoch)
    second = build(seed=5)
    fresh = make_optimizer(second, CONFIG)
    # Only the optimiser's tensors are stored: its learning rate is the configuration's again.
    fresh.load_state_dict({**fresh.state_dict(), "state": copy.deepcopy(optimizer.state_dict()["state"])})
    after = make_step(second, config, clips, fresh)
    after.average.load_state_dict(before.average.state_dict(first), second)
    assert [run_epoch(after, clips, epoch) for epoch in (3, 4)] == totals[2:]
    found = after.average.state_dict(second)
    assert all(torch.equal(value, found[name]) for name, value in expected.average.state_dict(whole).items())


def test_the_rate_of_each_step_is_the_schedules(clips):
    config = TrainingConfig(epochs=2, batch_size=8, crop_frames=64, schedule="cosine", warmup=0.2)
    model = build()
    optimizer = make_optimizer(model, CONFIG)
    step = make_step(model, config, clips, optimizer)
    rates = []
    optimizer.register_step_post_hook(lambda o, *_: rates.append(o.param_groups[0]["lr"] / CONFIG.learning_rate))
    for epoch in (1, 2):
        run_epoch(step, clips, epoch)
    n = math.ceil(len(clips) / 8)
    assert rates == pytest.approx([schedule.factor(i, 2 * n, config) for i in range(2 * n)])


@pytest.mark.parametrize("clip_norm", [0.01, 0.0])
def test_the_gradient_is_no_longer_than_allowed(clips, clip_norm):
    config = TrainingConfig(batch_size=8, crop_frames=64, clip_norm=clip_norm)
    model = build()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    step = make_step(model, config, clips, torch.optim.SGD(model.parameters(), lr=1.0))
    few = clips.select(torch.arange(8))
    loop.train_epoch(step, [few], epoch=1, generator=torch.Generator().manual_seed(0))
    pairs = zip(model.parameters(), before, strict=True)
    length = torch.stack([(now - then).square().sum() for now, then in pairs]).sum().sqrt().item()
    if clip_norm:
        assert length == pytest.approx(clip_norm, rel=1e-3)
    else:
        assert length > 0.05


class Constant(nn.Module):
    """Says the second genre of every clip."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.tensor([0.0, 5.0, 0.0]))

    def forward(self, inputs):
        return self.bias.expand(len(inputs["mel"]), 3)


def test_a_mixture_is_counted_by_the_label_of_its_larger_part(clips):
    config = TrainingConfig(batch_size=8, crop_frames=64, mixup=1.0)
    model = Constant()
    step = make_step(model, config, clips, torch.optim.SGD(model.parameters(), lr=0.0))
    assert run_epoch(step, clips, 1).n_correct == (clips.labels == 1).sum()


def test_under_ddp_the_average_is_of_the_network_itself(clips, tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    try:
        network = build()
        model = nn.parallel.DistributedDataParallel(network)
        config = TrainingConfig(epochs=1, batch_size=8, crop_frames=64, averaging="ema")
        step = make_step(model, config, clips)
        totals = run_epoch(step, clips, 1)
    finally:
        torch.distributed.destroy_process_group()
    alone, expected, other = train(clips, averaging="ema")
    assert totals.loss == pytest.approx(expected[0].loss, rel=1e-5)
    assert step.average.state_dict(network).keys() == other.average.state_dict(alone).keys()
    with step.average.applied(network), other.average.applied(alone):
        assert all(torch.allclose(value, network.state_dict()[name]) for name, value in alone.state_dict().items())


def test_the_logits_of_crops_are_the_networks_own(clips):
    model = build().eval()
    few = clips.select(torch.arange(5))
    logits = loop.crop_logits(model, few, crop_frames=64, n_crops=3, device=CPU)
    assert logits.shape == (5, 3, 3)
    starts = dataset.even_starts(few.n_frames, 64, 3)
    for place in range(3):
        expected = model(dataset.crop(few, starts[:, place], 64))
        assert torch.allclose(logits[:, place], expected, atol=1e-6)


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
    model, _, _ = train(clips)
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
    few = dataset.Clips(
        clips.track_ids[:4], {"mel": clips.inputs["mel"][:4]}, clips.n_frames[:4], torch.zeros(4).long()
    )
    config = TrainingConfig(batch_size=4, crop_frames=64, first_crop=True)
    step = make_step(model, config, few, torch.optim.SGD(model.parameters(), lr=0.0))
    loop.train_epoch(step, [few], epoch=1, generator=torch.Generator().manual_seed(0))
    assert torch.equal(seen[0], few.inputs["mel"][:, :, :64])
