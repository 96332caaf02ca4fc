"""Convolutions on spectrograms, and a recurrent layer over what they leave of time."""

from torch import Tensor, nn

from genreray.models.base import check_crop
from genreray.models.max_pool import MaxPool


class RecurrentTrunk(nn.Module):
    """Convolution, max pool, norm and ReLU for each of `filters`; dropout; GRU in both directions.

    After Choi et al. 2017, "Convolutional recurrent neural networks for music classification".
    """

    def __init__(
        self,
        filters: tuple[int, ...],
        recurrent: int,
        shape: tuple[int, int],
        *,
        kernel_size: int = 3,
        pool_size: int = 2,
        dropout: float = 0.0,
    ) -> None:
        """Make the layers for images of `shape`; raises UserError where there is too little of them."""
        super().__init__()
        shrink = pool_size ** len(filters)
        check_crop(shape, (shrink, 2 * shrink))  # two frames are left, as norms need more than one value
        layers: list[nn.Module] = []
        for n_in, n_out in zip((1, *filters), filters, strict=False):
            layers += [
                nn.Conv2d(n_in, n_out, kernel_size, padding=kernel_size // 2, bias=False),
                MaxPool(pool_size),  # before the norm, which on the whole maps takes as long as all else
                nn.BatchNorm2d(n_out),
                nn.ReLU(),
            ]
        self.convolutions = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        n_values = filters[-1] * (shape[0] // shrink)
        self.recurrent = nn.GRU(n_values, recurrent, batch_first=True, bidirectional=True)

    def forward(self, image: Tensor) -> Tensor:
        """Map [n, 1, bins, frames] to the states at each step, [n, 2 * recurrent, steps]."""
        maps = self.convolutions(image)  # [n, filters[-1], bins / 16, steps] of four pools by 2
        states, _ = self.recurrent(self.dropout(maps.flatten(1, 2).transpose(1, 2)))  # [n, steps, 2 * recurrent]
        found: Tensor = states.transpose(1, 2)
        return found
