"""What a training run needs to go on after an epoch, beside the weights that were scored; no pickle.

The optimiser's state, the history, and where weights are averaged, the averages and the weights they are of.
"""

from typing import Any

import safetensors.torch
import torch

from genreray import storage

_OPTIMIZER = "optimizer.safetensors"
_AVERAGE = "average.safetensors"
HISTORY = "history.json"

History = list[dict[str, Any]]  # one entry an epoch: epoch, losses, accuracies, seconds


def save(
    folder: str, optimizer: torch.optim.Optimizer | None, average: dict[str, torch.Tensor], history: History
) -> None:
    """Write the state of an optimiser, what `Average.state_dict` gave and the epochs so far into `folder`."""
    if optimizer is not None:
        _write(folder, _OPTIMIZER, _flat(optimizer))
    if average:
        _write(folder, _AVERAGE, {name: value.cpu().contiguous() for name, value in average.items()})
    write_history(folder, history)


def _flat(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    return {
        f"{parameter}/{name}": value.detach().cpu().contiguous()
        for parameter, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
        if isinstance(value, torch.Tensor)
    }


def load(folder: str, optimizer: torch.optim.Optimizer | None) -> tuple[History, dict[str, torch.Tensor]]:
    """Put the state that `save` wrote into `optimizer`, made of the same configuration; return history and averages."""
    if optimizer is not None:
        state: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in _read(folder, _OPTIMIZER).items():
            parameter, name = key.split("/")
            state.setdefault(int(parameter), {})[name] = value
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
        weights: torch.Tensor
        held: dict[str, torch.Tensor]
        for weights, held in optimizer.state.items():
            for what, moment in held.items():
                # In the order of memory that the weights have: a fused step goes through all of them as they lie there.
                if moment.shape == weights.shape:
                    held[what] = torch.empty_like(weights, requires_grad=False).copy_(moment)
    has_average = storage.exists(storage.join(folder, _AVERAGE))
    return read_history(folder), _read(folder, _AVERAGE) if has_average else {}


def _write(folder: str, name: str, tensors: dict[str, torch.Tensor]) -> None:
    storage.write_bytes(storage.join(folder, name), safetensors.torch.save(tensors))


def _read(folder: str, name: str) -> dict[str, torch.Tensor]:
    with storage.open_file(storage.join(folder, name)) as file:
        tensors: dict[str, torch.Tensor] = safetensors.torch.load(file.read())
    return tensors


def write_history(folder: str, history: History) -> None:
    """Write the history of a run where people (and the driver) look for it."""
    storage.write_json(storage.join(folder, HISTORY), history)


def read_history(folder: str) -> History:
    """Return the epochs done so far; none where there is no history yet."""
    uri = storage.join(folder, HISTORY)
    if not storage.exists(uri):
        return []
    history: History = storage.read_json(uri)
    return history
