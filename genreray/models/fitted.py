"""Models that are fitted to the statistics of all training clips at once, not trained in steps."""

import dataclasses
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from genreray.dataset import NO_LABEL
from genreray.errors import UserError
from genreray.features import FeatureConfig
from genreray.mfcc_stats import STATISTICS
from genreray.models.base import GenreModel, ModelConfig, check_image
from genreray.models.standardise import Standardise
from genreray.moments import Moments
from genreray.recipe import TrainingConfig

ABSENT = -100.0  # the logit of a genre without training clips: no other comes near it, and log losses stay finite
ClassWeight = Literal["none", "balanced"]


@dataclasses.dataclass(frozen=True)
class FittedConfig(ModelConfig):
    """A configuration in which the settings of training in steps have no meaning."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in dataclasses.fields(ModelConfig):
            if getattr(self, field.name) != field.default:
                raise UserError(
                    f"{field.name.replace('_', ' ')} is {getattr(self, field.name)}, but this model is not trained"
                    " in steps: leave it out"
                )


_OF_SCORING = ("epochs", "batch_size", "crop_frames", "crops", "seed")  # what a recipe says to these models, too


def check_recipe(config: TrainingConfig) -> None:
    """Raise UserError where a recipe changes how networks are trained, of which these models take no notice."""
    for field in dataclasses.fields(TrainingConfig):
        value = getattr(config, field.name)
        if field.name not in _OF_SCORING and value != field.default:
            raise UserError(
                f"{field.name.replace('_', ' ')} is {value}, but this model is not trained in steps: leave it out"
            )


class Fitted(GenreModel):
    """A model on mfcc_stats that `fit` fits; all that it learns lies in buffers, which a checkpoint carries.

    Its embedding, as there is no layer before its own, is what it sees: the standardised statistics. A subclass
    declares what it learns with `declare`, learns in `learn`, and maps statistics to logits in `forward`.
    """

    inputs = ("mfcc_stats",)

    def __init__(self, features: FeatureConfig, n_genres: int) -> None:
        super().__init__()
        self.n_genres = n_genres
        self.image_shape = (len(STATISTICS), features.n_mfcc)
        self.embedding_size = self.image_shape[0] * self.image_shape[1]
        self.standardise = nn.ModuleDict({"mfcc_stats": Standardise(*self.image_shape)})
        self._shapes: dict[str, tuple[int | None, ...]] = {}

    def fit(self, inputs: dict[str, Tensor], labels: Tensor, seed: int) -> None:
        """Fit to {"mfcc_stats": float32 [n, 7, n_mfcc]} and labels, int64 [n]; what is random follows from `seed`.

        Clips without a label are left out; the standardisation is fitted too. Raises UserError where there are too
        few genres.
        """
        known = labels != NO_LABEL
        stats = self.statistics(inputs)[known]
        if not len(stats):
            raise UserError("no training clip has a genre: give tracks with genres")
        x = stats.double()
        moments = Moments(torch.tensor(len(x), device=x.device), x.sum(0), x.square().sum(0))
        standardise = self.standardise["mfcc_stats"]
        assert isinstance(standardise, Standardise)
        standardise.fit(moments.mean, moments.std)
        self.learn(stats, labels[known].cpu().numpy(), seed)

    def learn(self, stats: Tensor, labels: NDArray[np.int64], seed: int) -> None:
        """Fit to statistics, float32 [n, 7, n_mfcc], and their labels, [n], of which none is unknown."""
        raise NotImplementedError

    def embed(self, inputs: dict[str, Tensor]) -> Tensor:
        """Map {"mfcc_stats": float32 [n, 7, n_mfcc]} to the same, standardised: float32 [n, 7 * n_mfcc]."""
        standardised: Tensor = self.standardise["mfcc_stats"](self.statistics(inputs))
        return standardised.flatten(1)

    def answer(self, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the logits and the standardised statistics, from which they are not computed by one last layer."""
        return self.forward(inputs), self.embed(inputs)

    def statistics(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return the mfcc_stats, float32 [n, 7, n_mfcc]; raises ValueError where they are of another shape."""
        check_image(inputs["mfcc_stats"], self.image_shape)
        return inputs["mfcc_stats"].float()

    def declare(self, name: str, dtype: torch.dtype, *shape: int | None) -> None:
        """Add a buffer for something that will be learnt; None is a size that only fitting tells."""
        self._shapes[name] = shape
        self.register_buffer(name, torch.zeros([size or 0 for size in shape], dtype=dtype))

    def keep(self, **learnt: ArrayLike | Tensor) -> None:
        """Put what was learnt into the buffers of these names."""
        for name, value in learnt.items():
            buffer = self.get_buffer(name)
            setattr(self, name, torch.as_tensor(value, dtype=buffer.dtype, device=buffer.device).contiguous())

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        """Make room for buffers of the sizes that are found, where they may be of any, before torch fills them."""
        for name, shape in self._shapes.items():
            found = state_dict.get(prefix + name)
            if found is not None and _fits(found, shape):
                buffer = self.get_buffer(name)
                setattr(self, name, buffer.new_zeros(found.shape))
        super()._load_from_state_dict(state_dict, prefix, *args)


def _fits(found: Tensor, shape: tuple[int | None, ...]) -> bool:
    return found.ndim == len(shape) and all(size in (None, n) for n, size in zip(found.shape, shape, strict=True))
