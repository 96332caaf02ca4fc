"""What goes to a GPU, and how: what fits may be kept there, and nothing that is sent there is waited for."""

import torch
from torch import Tensor

_SHARE = 0.5  # of the free memory that clips may take: the network, its gradients and maps want the rest


def send(x: Tensor, device: torch.device) -> Tensor:
    """Return x on `device`.

    From a CPU to a GPU it goes by way of pinned memory: a plain copy waits until the GPU has done all that it was
    given before, so that every step would begin with an idle one.
    """
    if device.type != "cuda" or x.device.type != "cpu":
        return x.to(device)
    return x.pin_memory().to(device, non_blocking=True)


def fits(n_bytes: int, device: torch.device) -> bool:
    """Return whether so much may be kept on a GPU beside what is there already; never on another device."""
    return device.type == "cuda" and n_bytes <= _SHARE * torch.cuda.mem_get_info(device)[0]
