"""Means of a network's weights over training, which are scored and kept instead of the last ones: EMA and SWA."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from genreray.recipe import TrainingConfig

_COUNT = "count"
_MEAN = "mean/"
_OWN = "own/"


class Average:
    """The mean of a network's weights: over steps (ema), over the ends of the last epochs (swa), or none.

    ema: mean <- d mean + (1 - d) weights after every step, d = min(ema_decay, (1 + t) / (10 + t)) where t steps have
    been taken in, so that the first weights, which are far off, are soon forgotten. swa (Izmailov et al. 2018): the
    plain mean.

    Buffers of floating point are averaged as parameters are: the statistics of batch norm belong to the weights they
    were measured with, and those of the last step with averaged weights would be wrong; constants stay as they are.
    Whole numbers (batch norm's count of batches) are copied.
    """

    def __init__(self, config: TrainingConfig) -> None:
        self._config = config
        self._count = 0  # weights taken in
        self._mean: dict[str, Tensor] = {}

    def after_step(self, network: nn.Module) -> None:
        """Take in the weights after an optimisation step."""
        if self._config.averaging == "ema":
            decay = min(self._config.ema_decay, (1 + self._count) / (10 + self._count))
            self._take(network, 1 - decay)

    def after_epoch(self, network: nn.Module, epoch: int) -> None:
        """Take in the weights at the end of `epoch`, from 1."""
        if self._config.averaging == "swa" and epoch > self._config.swa_start * self._config.epochs:
            self._take(network, 1 / (self._count + 1))

    @contextlib.contextmanager
    def applied(self, network: nn.Module) -> Iterator[None]:
        """Give `network` the averaged weights inside a `with`; before there is an average it keeps its own."""
        if not self._mean:
            yield
            return
        own = {name: value.detach().clone() for name, value in network.state_dict().items()}
        network.load_state_dict(self._mean)
        try:
            yield
        finally:
            network.load_state_dict(own)

    def state_dict(self, network: nn.Module) -> dict[str, Tensor]:
        """Return what `load_state_dict` goes on from, tensors alone: the averages and the network's own weights.

        Call it outside of `applied`. It is empty where nothing has been averaged: the network says all then.
        """
        if not self._mean:
            return {}
        averages = {f"{_MEAN}{name}": value.clone() for name, value in self._mean.items()}
        own = {f"{_OWN}{name}": value.detach().clone() for name, value in network.state_dict().items()}
        return {_COUNT: torch.tensor(self._count), **averages, **own}

    def load_state_dict(self, state: dict[str, Tensor], network: nn.Module) -> None:
        """Go on from what `state_dict` gave: `network`, which may hold the averages, gets its own weights back."""
        if not state:
            return
        self._count = int(state[_COUNT])
        network.load_state_dict(_under(_OWN, state))
        here = network.state_dict()
        self._mean = {name: value.to(here[name].device, copy=True) for name, value in _under(_MEAN, state).items()}

    @torch.no_grad()
    def _take(self, network: nn.Module, share: float) -> None:
        """Move the mean by `share` of the way to the network's weights; the first are the mean."""
        weights = network.state_dict()
        if not self._mean:
            self._mean = {name: value.detach().clone() for name, value in weights.items()}
        averaged = [name for name, mean in self._mean.items() if mean.is_floating_point()]
        # All at once, as torch's own EMA has it: a GPU is given a few kernels instead of one for each tensor.
        torch._foreach_lerp_([self._mean[name] for name in averaged], [weights[name] for name in averaged], share)
        for name in self._mean.keys() - set(averaged):
            self._mean[name].copy_(weights[name])
        self._count += 1


def _under(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
