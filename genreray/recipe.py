"""How a network is trained, whatever its architecture: the settings of the training step."""

import dataclasses
from typing import Literal

from genreray.dimensions import Choice, Integer, Space, Uniform
from genreray.errors import UserError

Schedule = Literal["constant", "cosine", "one_cycle"]
Averaging = Literal["none", "ema", "swa"]
ClassWeights = Literal["none", "sqrt", "balanced"]
Sampling = Literal["natural", "balanced"]
Precision = Literal["auto", "float32", "bf16"]
Compile = Literal["off", "auto", "on"]
_OFF_AT_0 = (
    *("clip_norm", "mixup", "freq_masks", "time_masks", "gain", "equalise", "freq_shift"),
    *("patience", "logit_adjustment"),
)


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
    schedule: Schedule = "constant"
    """Course of the learning rate over all steps: constant, cosine to 0, or one_cycle (up, then down to almost 0)."""
    warmup: float = 0.0
    """Share of all steps, 0 to less than 1, in which the learning rate rises; 0 is none, for one_cycle 0.3."""
    clip_norm: float = 0.0
    """Largest norm of the gradient of all parameters, longer ones are scaled down to it; 0 is off."""
    label_smoothing: float = 0.0
    """Share of each label, 0 to less than 1, that is spread evenly over all genres; 0 is off."""
    mixup: float = 0.0
    """Alpha of the Beta distribution that says how much of a second clip is mixed into each; 0 is off."""
    freq_masks: int = 0
    """Bands of neighbouring mel bins hidden in each crop; 0 is off."""
    freq_mask_bins: int = 24
    """Mel bins of the widest such band; each band's width is drawn from 0 to this."""
    time_masks: int = 0
    """Stretches of neighbouring frames hidden in each crop; 0 is off."""
    time_mask_frames: int = 48
    """Frames of the longest such stretch; each one's length is drawn from 0 to this."""
    gain: float = 0.0
    """Decibels by which a crop is made louder or softer at most, drawn for each; 0 is off."""
    equalise: float = 0.0
    """Decibels by which a random curve over the mel bins makes them louder or softer at most; 0 is off."""
    mix_styles: float = 0.0
    """Share of the crops whose bins' mean and deviation are mixed with another clip's (Freq-MixStyle); 0 is off."""
    freq_shift: int = 0
    """Mel bins by which a crop is moved up or down at most, drawn for each; 0 is off."""
    time_stretch: float = 0.0
    """Share by which a crop is made faster or slower at most, 0.1 is from 1 / 1.1 to 1.1; 0 is off."""
    averaging: Averaging = "none"
    """Weights that are scored and kept: the last (none), or their mean over steps (ema) or over late epochs (swa)."""
    ema_decay: float = 0.999
    """Share of the mean, above 0 and less than 1, that ema keeps at each step; the first steps keep less."""
    swa_start: float = 0.75
    """Share of the epochs, 0 to less than 1, after which swa begins to average."""
    patience: int = 0
    """Epochs without a lower validation loss after which training stops; 0 is off."""
    class_weights: ClassWeights = "none"
    """Weight of a clip in the loss by its genre's count: 1 / count (balanced), 1 / its square root (sqrt), or none."""
    logit_adjustment: float = 0.0
    """Factor of the genres' log shares that training adds to the logits (Menon et al. 2021), 1 for all; 0 is off."""
    sampling: Sampling = "natural"
    """Draw every clip once an epoch (natural), or every genre equally often, with replacement (balanced)."""
    precision: Precision = "auto"
    """Numbers that forward passes of training compute in; auto is bf16 on a GPU and float32 on a CPU."""
    compile: Compile = "off"
    """Compile the network by torch.compile, which wants g++; auto does for one worker on a CPU from 1,000 steps on."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "crop_frames", "crops", "freq_mask_bins", "time_mask_frames"):
            if getattr(self, name) < 1:
                raise UserError(f"{_words(name)} is {getattr(self, name)}: give 1 or more")
        for name in _OFF_AT_0:
            if not 0 <= getattr(self, name) < float("inf"):
                raise UserError(f"{_words(name)} is {getattr(self, name)}: give 0 or more")
        for name in ("warmup", "label_smoothing", "swa_start", "mix_styles", "time_stretch"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"{_words(name)} is {getattr(self, name)}: give a share from 0 to less than 1")
        if not 0 < self.ema_decay < 1:
            raise UserError(f"ema decay is {self.ema_decay}: give a share above 0 and less than 1")
        corrections = {
            f"class weights {self.class_weights}": self.class_weights != "none",
            f"logit adjustment {self.logit_adjustment}": self.logit_adjustment > 0,
            f"sampling {self.sampling}": self.sampling != "natural",
        }
        chosen = [name for name, on in corrections.items() if on]
        if len(chosen) > 1:
            raise UserError(f"{' and '.join(chosen)} correct for the same imbalance: give one of them")


def _words(name: str) -> str:
    return name.replace("_", " ")


# What searches vary of it, whatever the architecture. Not the schedule: trials are compared and stopped by their first
# epochs, in which those whose rate rises late look bad.
SEARCHED: Space = {
    "batch_size": Choice((16, 32, 64)),
    "label_smoothing": Uniform(0.0, 0.2),
    "class_weights": Choice(("none", "sqrt")),
    "mixup": Uniform(0.0, 0.5),
    "equalise": Uniform(0.0, 9.0),
}
# Of networks that see crops, in which bands and stretches of time can be hidden:
SEARCHED_ON_CROPS: Space = {**SEARCHED, "freq_masks": Integer(0, 3), "time_masks": Integer(0, 3)}
