"""Random numbers that torch does not draw from a generator of one's own."""

import numpy as np
import torch
from torch import Tensor


def beta(n: int, alpha: float, generator: torch.Generator) -> Tensor:
    """Draw n numbers from Beta(alpha, alpha), float32 [n]: by numpy, seeded from the generator."""
    seed = int(torch.randint(2**62, (), generator=generator))
    return torch.from_numpy(np.random.default_rng(seed).beta(alpha, alpha, n)).float()
