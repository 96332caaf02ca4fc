"""Residual blocks on spectrograms."""

import math

from torch import Tensor, nn
from torch.nn import functional as F

from genreray.models.base import check_crop


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut, at half the size (He et al. 2016).

    The shortcut averages 2 x 2 before its 1 x 1 convolution, which would else see a quarter of the values (He et al.
    2019, "Bag of tricks", ResNet-D).
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(n_in, n_out, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(),
            nn.Conv2d(n_out, n_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
        )
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2, ceil_mode=True),
            nn.Conv2d(n_in, n_out, 1, bias=False),
            nn.BatchNorm2d(n_out),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Map [n, n_in, bins, frames] to [n, n_out, ceil(bins / 2), ceil(frames / 2)]."""
        return F.relu(self.convolutions(maps) + self.shortcut(maps))


class ResidualTrunk(nn.Sequential):
    """A convolution at half the size, residual blocks each at half the size again, and a convolution over all bins.

    The last has a kernel as high as the maps, so that where in frequency something is stays known: a mean over the
    bins loses it.
    """

    def __init__(self, stem: int, filters: tuple[int, ...], shape: tuple[int, int]) -> None:
        """Make the layers for images of `shape`; raises UserError where there is too little of them."""
        shrink = 2 ** (1 + len(filters))
        check_crop(shape, (shrink, 2 * shrink))  # two frames are left, as norms need more than one value
        blocks = [ResidualBlock(n_in, n_out) for n_in, n_out in zip((stem, *filters), filters, strict=False)]
        n_out, n_bins = filters[-1], math.ceil(shape[0] / shrink)
        super().__init__(
            nn.Conv2d(1, stem, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(stem),
            nn.ReLU(),
            *blocks,
            nn.Conv2d(n_out, n_out, (n_bins, 1), bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(),
            nn.Flatten(2),  # [n, filters[-1], 1, frames] -> [n, filters[-1], frames]
        )
