"""fusion_cnn: a branch for the log-mel and one for the MFCC, each with an embedding of its own, joined late."""

import dataclasses

import torch
from torch import Tensor, nn

from genreray.dimensions import Choice, Space
from genreray.features import FeatureConfig
from genreray.models.base import Family, check_crop, check_image, check_layers, check_odd
from genreray.models.pooled import RECIPE, SEARCHED, Pooled, PooledConfig, mean_and_max
from genreray.models.residual import ResidualTrunk
from genreray.models.standardise import Standardise


@dataclasses.dataclass(frozen=True)
class FusionCnnConfig(PooledConfig):
    """Layers and training of fusion_cnn."""

    stem: int = 32
    """Filters of the first convolution of the mel branch."""
    filters: tuple[int, ...] = (64, 128, 256)
    """Filters of each residual block of the mel branch, first to last."""
    mfcc_filters: tuple[int, ...] = (64, 128)
    """Filters of each convolution of the MFCC branch, first to last."""
    mfcc_kernel_size: int = 5
    """Frames of the MFCC branch's kernels, odd."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_layers(self, "stem", "filters", "mfcc_filters", "mfcc_kernel_size")
        check_odd(self, "mfcc_kernel_size")


class LateFusion(nn.Module):
    """A linear layer for each branch, and their logits, each with a weight, added up.

    In training every branch has a loss of its own, as if it were alone, and the loss of the sum moves the weights
    alone: branches that learn from one loss overfit sooner than each by itself, and are then no better than the better
    one (Wang et al. 2020, "What makes training multi-modal classification networks hard?"). The weights begin as those
    of the mean, and need not add up to 1.
    """

    def __init__(self, sizes: tuple[int, ...], dropout: float, n_genres: int) -> None:
        super().__init__()
        self.sizes = sizes
        self.dropout = nn.Dropout(dropout)
        self.branches = nn.ModuleList(nn.Linear(size, n_genres) for size in sizes)
        self.weights = nn.Parameter(torch.full((len(sizes),), 1 / len(sizes)))

    def forward(self, embedding: Tensor) -> Tensor:
        """Map embeddings of the branches side by side, [n, sum(sizes)], to logits, [n, n_genres].

        In training: those and each branch's, [n, 1 + branches, n_genres].
        """
        parts = self.dropout(embedding).split(self.sizes, dim=1)
        own = torch.stack([branch(part) for branch, part in zip(self.branches, parts, strict=True)], dim=1).float()
        joint = (self.weights[:, None] * own.detach()).sum(1)
        return torch.cat([joint[:, None], own], dim=1) if self.training else joint


class MfccTrunk(nn.Sequential):
    """Convolutions over time whose kernels span all coefficients, each with a max pool by 2, a norm and ReLU."""

    def __init__(self, filters: tuple[int, ...], kernel_size: int, shape: tuple[int, int]) -> None:
        """Make the layers for MFCC of `shape`; raises UserError where there are too few frames."""
        check_crop(shape, (1, 2 * 2 ** len(filters)))
        layers: list[nn.Module] = []
        for n_in, n_out in zip((shape[0], *filters), filters, strict=False):
            layers += [
                nn.Conv1d(n_in, n_out, kernel_size, padding=kernel_size // 2, bias=False),
                nn.MaxPool1d(2),
                nn.BatchNorm1d(n_out),
                nn.ReLU(),
            ]
        super().__init__(*layers)


class FusionCnn(Pooled):
    """Residual blocks on the log-mel, convolutions over time on the MFCC, both standardised; pools; one linear layer.

    Of mel 128 x 385, MFCC 20 x 385 and for 16 genres:

        mel.0             32 x 64 x 193        800
        mel.1             32 x 64 x 193         64
        mel.3             64 x 32 x 97      57,728
        mel.4             128 x 16 x 49    230,144
        mel.5             256 x 8 x 25     919,040
        mel.6             256 x 1 x 25     524,288
        mel.7             256 x 1 x 25         512
        mfcc.0            64 x 385           6,400
        mfcc.1            64 x 192               0
        mfcc.2            64 x 192             128
        mfcc.4            128 x 192         40,960
        mfcc.5            128 x 96               0
        mfcc.6            128 x 96             256
        head              16                12,322
        in all                           1,792,642

    The mel branch is short_chunk_resnet's. Neighbouring MFCC are no more alike than distant ones, so that the other
    branch's kernels span them all. Each embedding is mean and maximum over time.
    """

    inputs = ("mel", "mfcc")

    def __init__(self, config: FusionCnnConfig, features: FeatureConfig, crop_frames: int, n_genres: int) -> None:
        super().__init__()
        self.shapes = {"mel": (features.n_mels, crop_frames), "mfcc": (features.n_mfcc, crop_frames)}
        self.standardise = nn.ModuleDict({name: Standardise(shape[0]) for name, shape in self.shapes.items()})
        self.mel = ResidualTrunk(config.stem, config.filters, self.shapes["mel"])
        self.mfcc = MfccTrunk(config.mfcc_filters, config.mfcc_kernel_size, self.shapes["mfcc"])
        sizes = (2 * config.filters[-1], 2 * config.mfcc_filters[-1])
        self.embedding_size = sum(sizes)
        self.head = LateFusion(sizes, config.dropout, n_genres)

    def embed(self, inputs: dict[str, Tensor]) -> Tensor:
        """Map {"mel": uint8 [n, n_mels, frames], "mfcc": float16 [n, n_mfcc, frames]} to both embeddings side by side.

        float32 [n, 2 * filters[-1] + 2 * mfcc_filters[-1]].
        """
        for name, shape in self.shapes.items():
            check_image(inputs[name], shape)
        mel = self.mel(self.standardise["mel"](inputs["mel"]).unsqueeze(1))  # [n, filters[-1], frames / 16]
        mfcc = self.mfcc(self.standardise["mfcc"](inputs["mfcc"]))  # [n, mfcc_filters[-1], frames / 4]
        return torch.cat([mean_and_max(mel), mean_and_max(mfcc)], dim=1)


SPACE: Space = {
    "stem": Choice((16, 32)),
    "filters": Choice(((32, 64, 128), (64, 128, 256), (32, 64, 128, 256))),
    "mfcc_filters": Choice(((32, 64), (64, 128), (64, 128, 128))),
    "mfcc_kernel_size": Choice((3, 5, 7)),
    **SEARCHED,
}
FAMILY = Family("fusion_cnn", FusionCnnConfig, FusionCnn, RECIPE, SPACE)
