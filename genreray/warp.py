"""Crops moved along frequency and stretched in time, whole batches at once, on the device they are on.

Values are moved and none is interpolated: a mean of two neighbours is smoother than what a network is scored on.
"""

import math

import torch
from torch import Tensor


def frames_for(crop_frames: int, time_stretch: float) -> int:
    """Return how many frames a crop has to be cut from, for `crop_frames` to be left at the highest speed."""
    return math.ceil((crop_frames - 1) * (1 + time_stretch)) + 1


def draw_shifts(n: int, most: int, generator: torch.Generator) -> Tensor:
    """Draw how many bins each of n clips is moved up by, int64 [n], uniformly from -most to most."""
    return torch.randint(-most, most + 1, (n,), generator=generator)


def draw_speeds(n: int, time_stretch: float, generator: torch.Generator) -> Tensor:
    """Draw a speed for each of n clips, float32 [n], its logarithm uniform from -log(1 + time_stretch) to that."""
    return torch.exp((2 * torch.rand(n, generator=generator) - 1) * math.log1p(time_stretch))


def shift(mel: Tensor, shifts: Tensor) -> Tensor:
    """Return each log-mel, [n, n_mels, frames], moved up by its own number of bins, int64 [n].

    What comes in at the edge is the lowest or the highest bin once more. Above 1 kHz, where mel is a logarithm of
    frequency, this is a change of pitch.
    """
    bins = torch.arange(mel.shape[1], device=mel.device) - shifts[:, None]
    return mel.gather(1, bins.clamp_(0, mel.shape[1] - 1)[:, :, None].expand(mel.shape))


def stretch(x: Tensor, speeds: Tensor, places: Tensor, n_frames: int) -> Tensor:
    """Return `n_frames` frames of each of x, [n, bins, frames], at its own speed, float32 [n].

    Frame t is the one nearest to start + speed * t. places, float32 [n]: where start lies, from 0 (the first frame) to
    1 (the last that leaves room).
    """
    room = x.shape[2] - 1 - speeds * (n_frames - 1)
    frames = (places * room)[:, None] + speeds[:, None] * torch.arange(n_frames, device=x.device)
    nearest = frames.round().long().clamp_(0, x.shape[2] - 1)
    return x.gather(2, nearest[:, None, :].expand(-1, x.shape[1], -1))
