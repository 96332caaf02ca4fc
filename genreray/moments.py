"""Mean and standard deviation of every bin over the training clips, as sums that workers and batches can add."""

import dataclasses

import torch
from torch import Tensor

from genreray.dataset import Clips

_CHUNK = 32  # clips taken to float64 at a time: those of a whole split would be eight times its size
_WITHOUT_FRAMES = "mfcc_stats"  # [n, 7, n_mfcc]


@dataclasses.dataclass(frozen=True)
class Moments:
    """Sums over frames (or over clips, where an input has no frames), all float64."""

    count: Tensor  # [], of frames (or clips)
    sum: Tensor  # [bins], or [7, n_mfcc]
    sum_of_squares: Tensor  # as sum

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(self.count + other.count, self.sum + other.sum, self.sum_of_squares + other.sum_of_squares)

    @property
    def mean(self) -> Tensor:
        """Mean of each bin; 0 where nothing was counted."""
        return self.sum / self.count.clamp(min=1)

    @property
    def std(self) -> Tensor:
        """Standard deviation of each bin (of the population); 1 for one that never varies, so that it can divide."""
        mean_square = self.sum_of_squares / self.count.clamp(min=1)
        variance = mean_square - self.mean.square()
        varies = variance > 1e-12 * mean_square  # what is less is the rounding of two equal numbers
        return torch.where(varies, variance, 1.0).sqrt()


def of(clips: Clips, name: str) -> Moments:
    """Return the moments of the input `name`: of each bin over the frames that the clips have, none after the last.

    Those of mfcc_stats, float32 [n, 7, n_mfcc], are of each number over the clips.
    """
    x = clips.inputs[name]
    if name == _WITHOUT_FRAMES:
        exact = x.double()
        return Moments(torch.tensor(float(len(x)), dtype=torch.float64), exact.sum(0), exact.square().sum(0))
    total = torch.zeros(x.shape[1], dtype=torch.float64, device=x.device)
    squares = torch.zeros_like(total)
    frames = torch.arange(x.shape[2], device=x.device)
    for chunk, n_frames in zip(x.split(_CHUNK), clips.n_frames.to(x.device).split(_CHUNK), strict=True):
        beyond = frames >= n_frames[:, None]  # [n, frames]
        exact = chunk.double().masked_fill_(beyond[:, None], 0)
        total += exact.sum((0, 2))
        squares += exact.square_().sum((0, 2))
    return Moments(clips.n_frames.sum().double(), total, squares)
