"""How a network is trained, whatever its architecture: the settings of the training step."""

import dataclasses

from genreray.errors import UserError


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """How long and on what a network is trained; each family of the registry gives its own defaults."""

    epochs: int = 30
    """Passes over the training split."""
    batch_size: int = 32
    """Clips in one optimisation step, over all workers."""
    crop_frames: int = 385
    """Frames a network sees at once; the report's 385 are 8.9 s."""
    crops: int = 3
    """Evenly spaced crops whose probabilities are averaged when a clip is scored."""
    first_crop: bool = False
    """Train on the first crop of each clip, as the report does, instead of a random one each time."""
    seed: int = 0
    """Seed of initial weights, shuffling and crops."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "crop_frames", "crops"):
            if getattr(self, name) < 1:
                raise UserError(f"{name.replace('_', ' ')} is {getattr(self, name)}: give 1 or more")
