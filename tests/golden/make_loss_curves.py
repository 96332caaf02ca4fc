"""Writes loss_curves.txt, each network's losses in five steps: `cd tests && python -m golden.make_loss_curves`.

Another curve is another network, or another way to train it: the commit that changes one says why.
"""

from pathlib import Path

import torch
from networks import NETWORKS, inputs_of, loss_of, network, without_dropout

from genreray.models.base import make_optimizer

CURVES = Path(__file__).parent / "loss_curves.txt"
N_STEPS = 5


def curve(name: str) -> list[float]:
    """The losses of a network at its family's learning rate, on eight clips of noise."""
    config = without_dropout(name)
    model = network(name, config).train()
    optimizer = make_optimizer(model, config)
    inputs, labels = inputs_of(model), torch.arange(8) % 4
    losses = []
    for _ in range(N_STEPS):
        loss = loss_of(model, inputs, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def read() -> dict[str, list[float]]:
    """The curves as they were written."""
    lines = (line.split() for line in CURVES.read_text().splitlines())
    return {name: [float(loss) for loss in losses] for name, *losses in lines}


if __name__ == "__main__":
    lines = [" ".join([name, *(f"{loss:.5f}" for loss in curve(name))]) for name in NETWORKS]
    CURVES.write_text("\n".join(lines) + "\n")
