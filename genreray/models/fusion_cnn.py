"""fusion_cnn: a branch for the log-mel and one for the MFCC, each with an embedding of its own, joined late."""

import dataclasses

import torch
from torch import Tensor, nn

from genreray.dimensions import Choice, Space, Uniform
from genreray.features import FeatureConfig
from genreray.models.base import Family, check_crop, check_image, check_layers, check_odd, check_share
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
    branch_dropout: float = 0.5
    """Share of the clips that are trained on one branch alone, either of them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_layers(self, "stem", "filters", "mfcc_filters", "mfcc_kernel_size")
        check_odd(self, "mfcc_kernel_size")
        check_share(self, "branch_dropout")


class BranchDropout(nn.Module):
    """In training, hide one of two branches from a share of the clips, either one equally often.

    The loss of those clips is that of an auxiliary head on the branch that is left, whose weights are its part of the
    joint layer: each branch learns to do without the other, and the quicker one does not keep the slower from learning
    (ModDrop, Neverova et al. 2016).
    """

    def __init__(self, sizes: tuple[int, int], share: float) -> None:
        super().__init__()
        self.sizes = sizes
        self.share = share

    def forward(self, embedding: Tensor) -> Tensor:
        """Map embeddings of both branches side by side, [n, sum(sizes)], to the same with zeros."""
        if not self.training or self.share == 0:
            return embedding
        draw = torch.rand(len(embedding), 1, device=embedding.device)
        first, second = embedding.split(self.sizes, dim=1)
        return torch.cat([first * (draw >= self.share / 2), second * (draw < 1 - self.share / 2)], dim=1)


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
        head              16                12,304
        in all                           1,792,624

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
        self.head = nn.Sequential(
            BranchDropout(sizes, config.branch_dropout),
            nn.Dropout(config.dropout),
            nn.Linear(self.embedding_size, n_genres),
        )

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
    "branch_dropout": Uniform(0.0, 0.8),
    **SEARCHED,
}
FAMILY = Family("fusion_cnn", FusionCnnConfig, FusionCnn, RECIPE, SPACE)
