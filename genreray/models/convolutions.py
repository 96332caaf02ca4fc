"""The trunk of the report's networks on images: convolution, max pool and ReLU, as often as there are filters."""

import dataclasses

from torch import Tensor, nn

from genreray.models.base import ModelConfig, check_crop, check_layers, check_odd, check_share
from genreray.models.max_pool import MaxPool


@dataclasses.dataclass(frozen=True)
class ConvolutionsConfig(ModelConfig):
    """Layers of a trunk and of the linear layer after it."""

    filters: tuple[int, ...] = (8, 16)
    """Filters of each convolution, first to last."""
    kernel_size: int = 3
    """Height and width of the convolutions' kernels, odd."""
    pool_size: int = 2
    """Height and width of the max pool after each convolution; 1 is none."""
    dropout: float = 0.0
    """Share of the values before the linear layer that are dropped in training."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_layers(self, "filters", "kernel_size", "pool_size")
        check_odd(self, "kernel_size")
        check_share(self, "dropout")


class Convolutions(nn.Sequential):
    """Maps of one image, [n, 1, bins, frames]: each convolution keeps their size, each pool divides it."""

    def __init__(self, config: ConvolutionsConfig, shape: tuple[int, int]) -> None:
        """Make the layers for images of `shape`; raises UserError where the pools leave nothing of them."""
        shrink = config.pool_size ** len(config.filters)
        check_crop(shape, (shrink, shrink))
        channels = (1, *config.filters)
        layers: list[nn.Module] = []
        for n_in, n_out in zip(channels, config.filters, strict=False):
            layers += [
                nn.Conv2d(n_in, n_out, config.kernel_size, padding=config.kernel_size // 2),
                MaxPool(config.pool_size),
                nn.ReLU(),  # the same as before the pool, on a quarter of the values
            ]
        super().__init__(*layers)
        self.n_values = config.filters[-1] * (shape[0] // shrink) * (shape[1] // shrink)

    def forward(self, image: Tensor) -> Tensor:
        """Map images, float [n, 1, bins, frames], to what the last pool leaves of them, [n, n_values]."""
        for layer in self:
            image = layer(image)
        return image.flatten(1)
