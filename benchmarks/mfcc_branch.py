"""fusion_cnn's branch for the MFCC by itself, for what fusion adds to it: `--models benchmarks.mfcc_branch`.

The other branches by themselves are short_chunk_resnet and crnn.
"""

from torch import Tensor, nn

from genreray.features import FeatureConfig
from genreray.models import Family, fusion_cnn
from genreray.models.base import check_image
from genreray.models.fusion_cnn import FusionCnnConfig, MfccTrunk
from genreray.models.pooled import Pooled, mean_and_max
from genreray.models.standardise import Standardise


class MfccBranch(Pooled):
    """Standardised MFCC; convolutions over time; mean and maximum over time; one linear layer."""

    inputs = ("mfcc",)

    def __init__(self, config: FusionCnnConfig, features: FeatureConfig, crop_frames: int, n_genres: int) -> None:
        super().__init__()
        self.image_shape = (features.n_mfcc, crop_frames)
        self.standardise = nn.ModuleDict({"mfcc": Standardise(features.n_mfcc)})
        self.trunk = MfccTrunk(config.mfcc_filters, config.mfcc_kernel_size, self.image_shape)
        self.embedding_size = 2 * config.mfcc_filters[-1]
        self.head = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(self.embedding_size, n_genres))

    def embed(self, inputs: dict[str, Tensor]) -> Tensor:
        """Map {"mfcc": float16 [n, n_mfcc, crop_frames]} to the pooled maps, [n, 2 * mfcc_filters[-1]]."""
        check_image(inputs["mfcc"], self.image_shape)
        return mean_and_max(self.trunk(self.standardise["mfcc"](inputs["mfcc"])))


FAMILY = Family("mfcc_branch", FusionCnnConfig, MfccBranch, fusion_cnn.FAMILY.training)
