"""fusion_cnn: two branches for the log-mel and one for the MFCC, each with an embedding of its own, joined late."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from genreray.dimensions import Choice, Space, Uniform
from genreray.errors import UserError
from genreray.features import FeatureConfig
from genreray.models.base import Family, check_crop, check_image, check_layers, check_odd, check_share
from genreray.models.pooled import RECIPE, SEARCHED, Pooled, PooledConfig, mean_and_max
from genreray.models.recurrent import RecurrentTrunk
from genreray.models.residual import ResidualTrunk
from genreray.models.standardise import Standardise


@dataclasses.dataclass(frozen=True)
class FusionCnnConfig(PooledConfig):
    """Layers and training of fusion_cnn."""

    stem: int = 32
    """Filters of the first convolution of the residual branch."""
    filters: tuple[int, ...] = (64, 128, 256)
    """Filters of each residual block of the residual branch, first to last."""
    recurrent_filters: tuple[int, ...] = (16, 32, 64, 128)
    """Filters of each convolution of the recurrent branch, first to last."""
    recurrent: int = 64
    """Units of the recurrent branch's GRU in each direction."""
    recurrent_dropout: float = 0.3
    """Share of the values before the recurrent layer, and of its pooled states, that are dropped in training."""
    mfcc_filters: tuple[int, ...] = (64, 128)
    """Filters of each convolution of the MFCC branch, first to last."""
    mfcc_kernel_size: int = 5
    """Frames of the MFCC branch's kernels, odd."""
    mfcc_weight: float = 0.5
    """Weight of the MFCC branch's logits in the answer, beside 1 for each of the two others."""
    dropout: float = 0.3
    """Share of the pooled values of the two convolutional branches that are dropped in training."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_layers(self, "stem", "filters", "recurrent_filters", "recurrent", "mfcc_filters", "mfcc_kernel_size")
        check_odd(self, "mfcc_kernel_size")
        check_share(self, "recurrent_dropout")
        if not 0 <= self.mfcc_weight < float("inf"):
            raise UserError(f"mfcc weight is {self.mfcc_weight}: give 0 or more")


class LateFusion(nn.Module):
    """A linear layer for each branch, as if it were alone; the answer is the weighted mean of their logits.

    In training every branch has a loss of its own, and the answer's moves nothing: branches that learn from one loss
    overfit sooner than each by itself, and are then no better than the better one (Wang et al. 2020, "What makes
    training multi-modal classification networks hard?"). Nor are the weights learnt: training clips favour the branch
    that knows them by heart. Log probabilities in the place of logits would be the same answer, and temperatures of the
    branches other weights.
    """

    weights: Tensor

    def __init__(
        self, sizes: Sequence[int], dropouts: Sequence[float], weights: Sequence[float], n_genres: int
    ) -> None:
        """Make the layers of branches, each with the size of its embedding, its dropout and its weight."""
        super().__init__()
        self.sizes = tuple(sizes)
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Dropout(dropout), nn.Linear(size, n_genres))
            for size, dropout in zip(sizes, dropouts, strict=True)
        )
        self.register_buffer("weights", torch.tensor(weights) / sum(weights), persistent=False)

    def own(self, embedding: Tensor) -> Tensor:
        """Map embeddings of the branches side by side, [n, sum(sizes)], to logits [n, branches, n_genres]."""
        parts = embedding.split(self.sizes, dim=1)
        return torch.stack([branch(part) for branch, part in zip(self.branches, parts, strict=True)], dim=1).float()

    def forward(self, embedding: Tensor) -> Tensor:
        """Map embeddings of the branches side by side, [n, sum(sizes)], to logits, [n, n_genres].

        In training: those and each branch's, [n, 1 + branches, n_genres].
        """
        own = self.own(embedding)
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
    """Residual blocks, and a recurrent layer, on the log-mel; convolutions over time on the MFCC; pools; linear.

    Of mel 128 x 385, MFCC 20 x 385 and for 16 genres:

        residual.0                  32 x 64 x 193          800
        residual.1                  32 x 64 x 193           64
        residual.3                  64 x 32 x 97        57,728
        residual.4                  128 x 16 x 49      230,144
        residual.5                  256 x 8 x 25       919,040
        residual.6                  256 x 1 x 25       524,288
        residual.7                  256 x 1 x 25           512
        recurrent.convolutions.0    16 x 128 x 385         144
        recurrent.convolutions.1    16 x 64 x 192            0
        recurrent.convolutions.2    16 x 64 x 192           32
        recurrent.convolutions.4    32 x 64 x 192        4,608
        recurrent.convolutions.5    32 x 32 x 96             0
        recurrent.convolutions.6    32 x 32 x 96            64
        recurrent.convolutions.8    64 x 32 x 96        18,432
        recurrent.convolutions.9    64 x 16 x 48             0
        recurrent.convolutions.10   64 x 16 x 48           128
        recurrent.convolutions.12   128 x 16 x 48       73,728
        recurrent.convolutions.13   128 x 8 x 24             0
        recurrent.convolutions.14   128 x 8 x 24           256
        recurrent.recurrent         24 x 128           418,560
        mfcc.0                      64 x 385             6,400
        mfcc.1                      64 x 192                 0
        mfcc.2                      64 x 192               128
        mfcc.4                      128 x 192           40,960
        mfcc.5                      128 x 96                 0
        mfcc.6                      128 x 96               256
        head                        16                  16,432
        in all                                       2,312,704

    The residual branch is short_chunk_resnet's, the recurrent one crnn's. Neighbouring MFCC are no more alike than
    distant ones, so that the third branch's kernels span them all. Each embedding is mean and maximum over time.
    """

    inputs = ("mel", "mfcc")
    branches: ClassVar[tuple[str, ...]] = ("residual", "recurrent", "mfcc")  # in the head's order
    head: LateFusion

    def __init__(self, config: FusionCnnConfig, features: FeatureConfig, crop_frames: int, n_genres: int) -> None:
        super().__init__()
        self.shapes = {"mel": (features.n_mels, crop_frames), "mfcc": (features.n_mfcc, crop_frames)}
        self.standardise = nn.ModuleDict({name: Standardise(shape[0]) for name, shape in self.shapes.items()})
        self.residual = ResidualTrunk(config.stem, config.filters, self.shapes["mel"])
        self.recurrent = RecurrentTrunk(
            config.recurrent_filters, config.recurrent, self.shapes["mel"], dropout=config.recurrent_dropout
        )
        self.mfcc = MfccTrunk(config.mfcc_filters, config.mfcc_kernel_size, self.shapes["mfcc"])
        sizes = (2 * config.filters[-1], 2 * 2 * config.recurrent, 2 * config.mfcc_filters[-1])
        dropouts = (config.dropout, config.recurrent_dropout, config.dropout)
        self.embedding_size = sum(sizes)
        self.head = LateFusion(sizes, dropouts, (1.0, 1.0, config.mfcc_weight), n_genres)

    def embed(self, inputs: dict[str, Tensor]) -> Tensor:
        """Map {"mel": uint8 [n, n_mels, frames], "mfcc": float16 [n, n_mfcc, frames]} to all embeddings side by side.

        float32 [n, 2 * filters[-1] + 4 * recurrent + 2 * mfcc_filters[-1]].
        """
        for name, shape in self.shapes.items():
            check_image(inputs[name], shape)
        mel = self.standardise["mel"](inputs["mel"]).unsqueeze(1)
        mfcc = self.standardise["mfcc"](inputs["mfcc"])
        maps = (self.residual(mel), self.recurrent(mel), self.mfcc(mfcc))  # each [n, channels, its frames]
        return torch.cat([mean_and_max(each) for each in maps], dim=1)


SPACE: Space = {
    "stem": Choice((16, 32)),
    "filters": Choice(((32, 64, 128), (64, 128, 256), (32, 64, 128, 256))),
    "recurrent_filters": Choice(((16, 32, 64), (16, 32, 64, 128), (32, 64, 128, 128))),
    "recurrent": Choice((32, 64, 128)),
    "recurrent_dropout": Uniform(0.0, 0.6),
    "mfcc_filters": Choice(((32, 64), (64, 128), (64, 128, 128))),
    "mfcc_kernel_size": Choice((3, 5, 7)),
    "mfcc_weight": Uniform(0.0, 1.0),
    **SEARCHED,
}
FAMILY = Family("fusion_cnn", FusionCnnConfig, FusionCnn, RECIPE, SPACE)
