"""What a training run needs to go on after an epoch, beside the weights: optimiser state and history, no pickle."""

from typing import Any

import safetensors.torch
import torch

from genreray import storage

_OPTIMIZER = "optimizer.safetensors"
_HISTORY = "history.json"

History = list[dict[str, Any]]  # one entry an epoch: epoch, losses, accuracies, seconds


def save(folder: str, optimizer: torch.optim.Optimizer, history: History) -> None:
    """Write the optimiser's state and the epochs so far into `folder`."""
    tensors = {
        f"{parameter}/{name}": value.detach().cpu().contiguous()
        for parameter, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
        if isinstance(value, torch.Tensor)
    }
    storage.write_bytes(storage.join(folder, _OPTIMIZER), safetensors.torch.save(tensors))
    write_history(folder, history)


def load(folder: str, optimizer: torch.optim.Optimizer) -> History:
    """Put the state that `save` wrote into `optimizer`, made of the same configuration, and return the history."""
    with storage.open_file(storage.join(folder, _OPTIMIZER)) as file:
        tensors = safetensors.torch.load(file.read())
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        parameter, name = key.split("/")
        state.setdefault(int(parameter), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return read_history(folder)


def write_history(folder: str, history: History) -> None:
    """Write the history of a run where people (and the driver) look for it."""
    storage.write_json(storage.join(folder, _HISTORY), history)


def read_history(folder: str) -> History:
    """Return the epochs done so far; none where there is no history yet."""
    uri = storage.join(folder, _HISTORY)
    if not storage.exists(uri):
        return []
    history: History = storage.read_json(uri)
    return history
