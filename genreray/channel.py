"""What differs between recordings of the same music, put on whole batches: levels, equalisers, other clips' spectra."""

import functools

import torch
from torch import Tensor
from torch.nn import functional as F

from genreray.draws import beta
from genreray.features import FeatureConfig, dct_basis
from genreray.mfcc_stats import STATISTICS

_POINTS = 6  # of an equaliser's curve, the two ends among them
_STYLE_ALPHA = 0.4  # of the Beta distribution of mixed statistics, as in Schmid et al.
_LEVELS = [STATISTICS.index(name) for name in ("max", "mean", "median", "min")]  # the rows that move with a level


def draw_curves(n: int, most: float, n_mels: int, generator: torch.Generator) -> Tensor:
    """Draw an equaliser's curve for each of n clips: decibels from -most to most, float32 [n, n_mels].

    Uniform at a few points evenly spaced in mel, and straight lines between them (after FilterAugment, Nam et al.
    2022, whose points are uneven).
    """
    points = (2 * torch.rand((n, 1, _POINTS), generator=generator) - 1) * most
    return F.interpolate(points, n_mels, mode="linear", align_corners=True)[:, 0]


def equalise(inputs: dict[str, Tensor], decibels: Tensor, features: FeatureConfig) -> dict[str, Tensor]:
    """Return float32 inputs as if each clip's mel bins were louder by `decibels`, float32 [n, n_mels].

    mel: a grey level moves by decibels * 255 / top_db and stays within 0..255. MFCC: their orthonormal DCT is linear,
    so that the curve's own is added to every frame. mfcc_stats: it is added to the max, mean, median and min; the other
    rows do not depend on a level.
    """
    changed = {name: x.clone() for name, x in inputs.items()}
    if "mel" in changed:
        changed["mel"].add_((decibels * 255 / features.top_db)[:, :, None]).clamp_(0, 255)
    if changed.keys() <= {"mel"}:
        return changed
    curve = decibels @ _dct(features, decibels.device)
    if "mfcc" in changed:
        changed["mfcc"].add_(curve[:, :, None])
    if "mfcc_stats" in changed:
        changed["mfcc_stats"][:, _LEVELS] += curve[:, None, :]
    return changed


def mix_styles(inputs: dict[str, Tensor], partner: Tensor, share: Tensor) -> dict[str, Tensor]:
    """Return float32 inputs with each bin's mean and deviation over time mixed with those of another clip of the batch.

    partner: int64 [n]; share: float32 [n], the part of a clip's own mean and deviation that is left. Freq-MixStyle (Kim
    et al. 2022; Schmid et al. 2022), before the network's standardisation, with which it commutes; grey levels stay
    within 0..255. MFCC, coefficient by coefficient, alike; mfcc_stats, which have no frames, are left alone.
    """
    styled = dict(inputs)
    weight = share[:, None, None]
    for name in ("mel", "mfcc"):
        if name not in inputs:
            continue
        x = inputs[name]
        std, mean = torch.std_mean(x, 2, correction=0, keepdim=True)
        other_mean, other_std = mean[partner].lerp(mean, weight), std[partner].lerp(std, weight)
        x = (x - mean) * (other_std / std.clamp_min(1e-6)) + other_mean
        styled[name] = x.clamp_(0, 255) if name == "mel" else x
    return styled


def draw_styles(n: int, probability: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw a partner for each of n clips, by a permutation, and the share that is its own: int64 [n], float32 [n].

    The share is 1 but for `probability` of the clips, whose is from Beta(0.4, 0.4).
    """
    partner = torch.randperm(n, generator=generator)
    mixed = torch.rand(n, generator=generator) < probability
    return partner, torch.where(mixed, beta(n, _STYLE_ALPHA, generator), torch.ones(n))


@functools.lru_cache(maxsize=4)
def _dct(features: FeatureConfig, device: torch.device) -> Tensor:
    """Return the matrix that takes log-mel frames to MFCC, float32 [n_mels, n_mfcc], as librosa's."""
    return torch.from_numpy(dct_basis(features.n_mfcc, features.n_mels)).T.to(device)
