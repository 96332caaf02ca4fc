import pytest
import torch
from torch.optim import lr_scheduler

from genreray.recipe import TrainingConfig
from genreray.schedule import LearningRate, factor


def factors(total, **settings):
    config = TrainingConfig(**settings)
    return [factor(step, total, config) for step in range(total)]


def torchs(total, make, base=1.0):
    """The rates that a scheduler of torch gives an optimiser, step by step."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=base)
    scheduler = make(optimizer)
    rates = []
    for _ in range(total):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_by_default_the_rate_is_constant():
    assert factors(50) == [1.0] * 50


def test_cosine_is_torchs():
    expected = torchs(40, lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, T_max=40))
    assert factors(40, schedule="cosine") == pytest.approx(expected)


def test_warm_up_then_cosine_is_torchs():
    def make(optimizer):
        rise = lr_scheduler.LinearLR(optimizer, start_factor=1 / 11, total_iters=10)
        fall = lr_scheduler.CosineAnnealingLR(optimizer, T_max=40)
        return lr_scheduler.SequentialLR(optimizer, [rise, fall], milestones=[10])

    assert factors(50, schedule="cosine", warmup=0.2) == pytest.approx(torchs(50, make))


def test_a_constant_rate_can_be_warmed_up_too():
    assert factors(8, warmup=0.5) == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1])


@pytest.mark.parametrize(("total", "warmup"), [(100, 0.0), (100, 0.1), (37, 0.5), (4, 0.0)])
def test_one_cycle_is_torchs(total, warmup):
    def make(optimizer):
        share = warmup or 0.3
        return lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=total, pct_start=share, cycle_momentum=False)

    found = factors(total, schedule="one_cycle", warmup=warmup)
    assert found == pytest.approx(torchs(total, make))


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle"])
@pytest.mark.parametrize("warmup", [0.0, 0.3, 0.99])
@pytest.mark.parametrize("total", [1, 2, 3, 7])
def test_even_the_shortest_run_has_a_rate_at_every_step(schedule, warmup, total):
    found = factors(total, schedule=schedule, warmup=warmup)
    assert all(0 < value <= 1 for value in found)
    assert max(found) > 0.5 or total < 3


def make(base=0.1, **settings):
    optimizer = torch.optim.SGD(
        [{"params": [torch.zeros(1)], "lr": base}, {"params": [torch.zeros(1)], "lr": base / 2}]
    )
    return optimizer, LearningRate(optimizer, TrainingConfig(**settings), steps_per_epoch=5)


def test_the_rate_follows_from_the_number_of_epoch_and_step():
    optimizer, rate = make(epochs=4, schedule="cosine")
    config = TrainingConfig(epochs=4, schedule="cosine")
    for epoch in (1, 4, 2):  # in any order: nothing is remembered
        for step in range(5):
            rate.set(epoch, step)
            expected = factor((epoch - 1) * 5 + step, 20, config)
            assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1 * expected, 0.05 * expected])


def test_steps_beyond_the_epochs_keep_its_last_rate():
    optimizer, rate = make(epochs=3, schedule="one_cycle")
    for epoch in (1, 3):
        rate.set(epoch, 4)
        last = optimizer.param_groups[0]["lr"]
        rate.set(epoch, 9)
        assert optimizer.param_groups[0]["lr"] == last


def test_an_unscheduled_rate_is_left_to_the_last_bit():
    optimizer, rate = make(base=1e-4)
    rate.set(7, 3)
    assert optimizer.param_groups[0]["lr"] == 1e-4
