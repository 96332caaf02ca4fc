"""(x - mean) / std of every bin: how networks scale inputs whose bins differ in level and range."""

import torch
from torch import Tensor, nn


class Standardise(nn.Module):
    """Subtract a mean and divide by a standard deviation, one of each for every bin, the same at all frames.

    Both are buffers of `shape`, so that a checkpoint carries them: 0 and 1 until training, before its first epoch,
    puts in those of the training clips (`genreray.moments`).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("std", torch.ones(shape))

    def fit(self, mean: Tensor, std: Tensor) -> None:
        """Take over the mean and standard deviation, of the shape given at first; the latter above 0."""
        self.mean.copy_(mean)
        self.std.copy_(std)

    def forward(self, x: Tensor) -> Tensor:
        """Scale x, of any type and [n, *shape] or [n, *shape, frames], to float32 of the same shape."""
        with_frames = self.mean.shape + (1,) * (x.ndim - 1 - self.mean.ndim)
        return (x.float() - self.mean.view(with_frames)) / self.std.view(with_frames)
