"""torch.compile for the steps of training, where it pays for itself."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from genreray.errors import UserError
from genreray.recipe import Compile

_WORTH = 1_000  # steps whose saved tenths are worth the minute that compiling takes where nothing is cached


class Compiled:
    """A network's forward pass in training, and its gradient, compiled when it is first called.

    Batches of another size than the first, as the last of an epoch may be, go through the network as it is: each size
    would be compiled for.
    """

    def __init__(self, network: nn.Module, *, needed: bool) -> None:
        """Take a network; where it cannot be compiled, UserError is raised if that is needed, else it runs as it is."""
        self._network = network
        self._run: Callable[[dict[str, Tensor]], Tensor] | None = torch.compile(network)
        self._needed = needed
        self._size = 0

    def __call__(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return what the network does."""
        size = len(next(iter(inputs.values())))
        self._size = self._size or size
        if self._run is None or size != self._size:
            answer: Tensor = self._network(inputs)
            return answer
        try:
            answer = self._run(inputs)
        except Exception as error:
            from torch._dynamo.exc import TorchDynamoException  # which is there by now, and takes two seconds

            if not isinstance(error, TorchDynamoException):
                raise
            why = str(error).strip().splitlines()[0]
            if self._needed:
                raise UserError(
                    f"the network could not be compiled ({why}): install a C++ compiler, such as g++, on every node,"
                    " or leave --compile out"
                ) from None
            warnings.warn(f"the network runs as it is, as it could not be compiled: {why}", stacklevel=2)
            self._run = None
            answer = self._network(inputs)
        return answer


def for_steps(network: nn.Module, compiling: Compile, n_steps: int, device: torch.device) -> nn.Module | Compiled:
    """Return what takes the steps of a run: the network, compiled where the recipe says so.

    auto: by one worker on a CPU, in runs so long that it pays. What it is worth elsewhere was not measured.
    """
    alone_on_a_cpu = device.type == "cpu" and not isinstance(network, DistributedDataParallel)
    if compiling == "on" or (compiling == "auto" and alone_on_a_cpu and n_steps >= _WORTH):
        return Compiled(network, needed=compiling == "on")
    return network
