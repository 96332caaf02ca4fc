"""Crops moved along frequency and stretched in time, whole batches at once, on the device they are on."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def frames_for(crop_frames: int, time_stretch: float) -> int:
    """Return how many frames a crop has to be cut from, for `crop_frames` to be left at the highest speed."""
    return math.ceil((crop_frames - 1) * (1 + time_stretch)) + 1


def draw_speeds(n: int, time_stretch: float, generator: torch.Generator) -> Tensor:
    """Draw a speed for each of n clips, float32 [n], its logarithm uniform from -log(1 + time_stretch) to that."""
    return torch.exp((2 * torch.rand(n, generator=generator) - 1) * math.log1p(time_stretch))


def warp(
    inputs: dict[str, Tensor], shifts: Tensor, speeds: Tensor, places: Tensor, crop_frames: int
) -> dict[str, Tensor]:
    """Return float32 crops of `crop_frames` frames, of longer ones, each by its own numbers, float32 [n].

    Bin b and frame t of a mel are its value at bin b - shift and frame start + speed * t, linearly interpolated; beyond
    the lowest and the highest bin are the same once more. places: where the start lies, from 0 (the first frame) to 1
    (the last that leaves room). In the log-mel above 1 kHz a shift is a change of pitch, as are the harmonics' below
    it nearly. MFCC are stretched alike, and not shifted: what a shift makes of them is not seen in them alone.
    mfcc_stats, which have no frames, are left alone.
    """
    warped = dict(inputs)
    for name in ("mel", "mfcc"):
        if name not in inputs:
            continue
        x = inputs[name].float()
        n, n_bins, n_frames = x.shape
        room = n_frames - 1 - speeds * (crop_frames - 1)
        frames = (places * room)[:, None] + speeds[:, None] * torch.arange(crop_frames, device=x.device)
        bins = torch.arange(n_bins, device=x.device) - (shifts if name == "mel" else torch.zeros_like(shifts))[:, None]
        grid = torch.stack(
            [
                _unit(frames, n_frames)[:, None, :].expand(n, n_bins, crop_frames),
                _unit(bins, n_bins)[:, :, None].expand(n, n_bins, crop_frames),
            ],
            dim=3,
        )
        warped[name] = F.grid_sample(x[:, None], grid, padding_mode="border", align_corners=True)[:, 0]
    return warped


def _unit(places: Tensor, length: int) -> Tensor:
    """Return places 0..length - 1 as grid_sample counts them, -1..1."""
    return places * (2 / max(length - 1, 1)) - 1
