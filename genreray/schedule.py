"""The learning rate over a run, computed from the number of the step alone: nothing to store, nothing to restore."""

import math

import torch

from genreray.recipe import TrainingConfig

# As torch.optim.lr_scheduler.OneCycleLR's defaults: where the cycle begins, ends, and how long it rises.
_CYCLE_START = 1 / 25
_CYCLE_END = _CYCLE_START / 1e4
_CYCLE_RISE = 0.3


def factor(step: int, total_steps: int, config: TrainingConfig) -> float:
    """Return what the base learning rate is multiplied by in `step`, from 0 to total_steps - 1.

    constant and cosine first rise on a line over the share `warmup` of all steps; cosine then falls to 0 where a
    next step would be (Loshchilov & Hutter 2017, without restarts). one_cycle (Smith & Topin 2018) rises from 1/25 to
    1 over the same share (over 0.3 where it is 0) and falls to 4e-6, both on half cosines; the momentum stays.
    """
    step = min(step, total_steps - 1)
    if config.schedule == "one_cycle":
        return _one_cycle(step, total_steps, config.warmup or _CYCLE_RISE)
    rise = round(config.warmup * total_steps)
    if step < rise:
        return (step + 1) / (rise + 1)
    if config.schedule == "cosine":
        return _half_cosine(1, 0, (step - rise) / (total_steps - rise))
    return 1.0


def _one_cycle(step: int, total_steps: int, rise: float) -> float:
    peak = max(rise * total_steps - 1, 0)
    if step <= peak:
        return _half_cosine(_CYCLE_START, 1, step / peak if peak else 1)
    return _half_cosine(1, _CYCLE_END, (step - peak) / (total_steps - 1 - peak))


def _half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


class LearningRate:
    """The learning rate of an optimiser, set before each step; its value when this is made is the base."""

    def __init__(self, optimizer: torch.optim.Optimizer, config: TrainingConfig, steps_per_epoch: int) -> None:
        self._optimizer = optimizer
        self._config = config
        self._steps_per_epoch = steps_per_epoch
        self._base = [group["lr"] for group in optimizer.param_groups]

    def set(self, epoch: int, step: int) -> None:
        """Set the rate of `step` (from 0) of `epoch` (from 1).

        Steps beyond `steps_per_epoch` keep the rate of the epoch's last, so that every epoch begins where it should.
        """
        done = (epoch - 1) * self._steps_per_epoch + min(step, self._steps_per_epoch - 1)
        now = factor(done, self._config.epochs * self._steps_per_epoch, self._config)
        for group, base in zip(self._optimizer.param_groups, self._base, strict=True):
            group["lr"] = base * now
