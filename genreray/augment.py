"""Augmentation of whole batches of crops on the device they are on: all that a recipe asks for, one after another.

What is random is drawn on the CPU, in tensors of a few numbers a clip, so that a run repeats itself on any device.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from genreray import channel, warp
from genreray.device import send
from genreray.draws import beta
from genreray.features import FeatureConfig
from genreray.recipe import TrainingConfig

_WITH_FRAMES = ("mel", "mfcc")


class Mix(NamedTuple):
    """Which clip of the batch is mixed into each, and how much of its own is left."""

    partner: Tensor  # int64 [n]
    share: Tensor  # float32 [n], at least a half

    def of(self, x: Tensor) -> Tensor:
        """Return share x + (1 - share) x[partner], of inputs or of targets: float [n, ...]."""
        return x[self.partner].lerp_(x, self.share.view(-1, *[1] * (x.ndim - 1)))


class Augmentation:
    """What a recipe does to crops before a network sees them; nothing, without a copy, where it has none."""

    def __init__(self, config: TrainingConfig, features: FeatureConfig) -> None:
        self._config = config
        self._features = features
        self._warped = config.freq_shift > 0 or config.time_stretch > 0
        self._masked = config.freq_masks > 0 or config.time_masks > 0
        # Frames that crops must have when they come: more than the network sees, where they may be made faster.
        self.n_frames = warp.frames_for(config.crop_frames, config.time_stretch)

    def __call__(self, inputs: dict[str, Tensor], generator: torch.Generator) -> tuple[dict[str, Tensor], Mix | None]:
        """Return the inputs augmented, and how clips were mixed, for their labels to be mixed too.

        inputs: crops as stored, {"mel": uint8 [n, n_mels, n_frames], "mfcc": float16 [n, n_mfcc, n_frames],
        "mfcc_stats": float32 [n, 7, n_mfcc]}; they come back as float32 in the same units (mel: 0..255), and with
        crop_frames frames, once anything is done.
        """
        config = self._config
        channels = config.gain or config.equalise or config.mix_styles
        if not (self._warped or channels or self._masked or config.mixup):
            return inputs, None
        inputs = {name: x.float() for name, x in inputs.items()}
        some = next(iter(inputs.values()))
        n, device = len(some), some.device
        if self._warped:
            inputs = self._warp(inputs, n, device, generator)
        if channels:
            inputs = self._other_channel(inputs, n, device, generator)
        if self._masked:
            inputs = self._mask(inputs, n, generator)
        if not config.mixup:
            return inputs, None
        mix = draw_mix(n, config.mixup, generator, device)
        return {name: mix.of(x) for name, x in inputs.items()}, mix

    def _warp(
        self, inputs: dict[str, Tensor], n: int, device: torch.device, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return the inputs shifted and stretched; MFCC, which do not tell what a shift makes of them, stretched."""
        config = self._config
        warped = dict(inputs)
        if config.freq_shift and "mel" in inputs:
            warped["mel"] = warp.shift(inputs["mel"], send(warp.draw_shifts(n, config.freq_shift, generator), device))
        if config.time_stretch:
            speeds = send(warp.draw_speeds(n, config.time_stretch, generator), device)
            places = send(torch.rand(n, generator=generator), device)
            for name in _WITH_FRAMES:
                if name in inputs:
                    warped[name] = warp.stretch(warped[name], speeds, places, config.crop_frames)
        return warped

    def _other_channel(
        self, inputs: dict[str, Tensor], n: int, device: torch.device, generator: torch.Generator
    ) -> dict[str, Tensor]:
        config, n_mels = self._config, self._features.n_mels
        if config.gain or config.equalise:
            decibels = torch.zeros(n, n_mels)
            if config.gain:
                decibels += (2 * torch.rand((n, 1), generator=generator) - 1) * config.gain
            if config.equalise:
                decibels += channel.draw_curves(n, config.equalise, n_mels, generator)
            inputs = channel.equalise(inputs, send(decibels, device), self._features)
        if config.mix_styles:
            partner, share = channel.draw_styles(n, config.mix_styles, generator)
            inputs = channel.mix_styles(inputs, send(partner, device), send(share, device))
        return inputs

    def _mask(self, inputs: dict[str, Tensor], n: int, generator: torch.Generator) -> dict[str, Tensor]:
        config = self._config
        with_frames = [x for name, x in inputs.items() if name in _WITH_FRAMES]
        if not with_frames:
            return inputs
        device, n_frames, n_mels = with_frames[0].device, with_frames[0].shape[2], self._features.n_mels
        bands = draw_spans(n, config.freq_masks, config.freq_mask_bins, n_mels, generator)
        stretches = draw_spans(n, config.time_masks, config.time_mask_frames, n_frames, generator)
        return mask(inputs, send(bands, device), send(stretches, device))


def mask(inputs: dict[str, Tensor], bands: Tensor, stretches: Tensor) -> dict[str, Tensor]:
    """Return float32 inputs with bands, bool [n, n_mels], and stretches of frames, bool [n, frames], hidden.

    SpecAugment (Park et al. 2019) without time warping: in the log-mel what is hidden takes the mean of its crop. In
    the MFCC the same frames are hidden, each coefficient by its own mean as they differ in scale; a band is no row of
    them, so bands stay. mfcc_stats, which have neither, are left alone.
    """
    hidden = dict(inputs)
    if "mel" in inputs:
        mel = inputs["mel"]
        hidden["mel"] = torch.where(bands[:, :, None] | stretches[:, None, :], mel.mean((1, 2), keepdim=True), mel)
    if "mfcc" in inputs:
        mfcc = inputs["mfcc"]
        hidden["mfcc"] = torch.where(stretches[:, None, :], mfcc.mean(2, keepdim=True), mfcc)
    return hidden


def draw_spans(n: int, count: int, longest: int, length: int, generator: torch.Generator) -> Tensor:
    """Draw `count` spans for each clip and return what lies in one: bool [n, length].

    Each span's width is uniform from 0 to `longest` (at most `length`), and its place among those where it fits.
    """
    widths = torch.randint(min(longest, length) + 1, (n, count), generator=generator)
    starts = (torch.rand((n, count), generator=generator, dtype=torch.float64) * (length - widths + 1)).long()
    places = torch.arange(length)
    return ((places >= starts[..., None]) & (places < (starts + widths)[..., None])).any(1)


def draw_mix(n: int, alpha: float, generator: torch.Generator, device: torch.device) -> Mix:
    """Draw a partner for each of n clips, by a permutation, and its share from Beta(alpha, alpha) (Zhang et al. 2018).

    Each clip has a share of its own: one for the batch, as in the paper's code, makes whole steps easy or hard. The
    larger part is the clip's own, max(share, 1 - share), so that its label is what the mixture mostly is; as partners
    are drawn at random, the mixtures are the same.
    """
    partner = torch.randperm(n, generator=generator)
    share = beta(n, alpha, generator)
    return Mix(send(partner, device), send(torch.maximum(share, 1 - share), device))
