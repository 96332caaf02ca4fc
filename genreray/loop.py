"""The training step and the scoring pass in plain torch: no Ray, so that they can be tested and profiled alone."""

import contextlib
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genreray import dataset
from genreray.dataset import Clips


class Totals(NamedTuple):
    """Sums over clips, so that those of several workers can be added."""

    loss: float
    n_correct: float
    n: float


def train_epoch(
    model: nn.Module,
    batches: Iterable[Clips],
    optimizer: torch.optim.Optimizer,
    *,
    crop_frames: int,
    first_crop: bool,
    generator: torch.Generator,
    device: torch.device,
) -> Totals:
    """Take one optimisation step for each batch of whole clips, on one crop of each clip.

    The crop is drawn at random, or is the clip's first (the report's) where `first_crop` is set. The loss is the
    cross entropy. Returns the sums over all clips as they were trained on.
    """
    model.train()
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    for batch in batches:
        clips = batch.to(device)
        starts = (
            torch.zeros_like(clips.n_frames)
            if first_crop
            else dataset.random_starts(clips.n_frames, crop_frames, generator)
        )
        with autocast(device):
            logits = model(dataset.crop(clips, starts, crop_frames))
        loss = F.cross_entropy(logits.float(), clips.labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        sums += _sums(loss.detach() * len(clips), logits.detach(), clips.labels)
    return Totals(*sums.tolist())


@torch.inference_mode()
def score(
    model: nn.Module, batches: Iterable[Clips], *, crop_frames: int, n_crops: int, device: torch.device
) -> Totals:
    """Return the sums of log loss and correct labels over labelled clips, crops averaged."""
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    for batch in batches:
        probabilities = predict(model, batch, crop_frames=crop_frames, n_crops=n_crops, device=device)
        labels = batch.labels.to(device)
        log_loss = F.nll_loss(probabilities.clamp_min(1e-12).log(), labels, reduction="sum")
        sums += _sums(log_loss, probabilities, labels)
    return Totals(*sums.tolist())


@torch.inference_mode()
def predict(
    model: nn.Module, batch: Clips, *, crop_frames: int, n_crops: int, device: torch.device, temperature: float = 1.0
) -> Tensor:
    """Return the probabilities of each clip, float32 [n, n_genres]: the mean over evenly spaced crops.

    Logits are divided by `temperature` before the softmax (Guo et al. 2017).
    """
    model.eval()
    clips = batch.to(device)
    starts = dataset.even_starts(clips.n_frames, crop_frames, n_crops)
    total: Tensor | float = 0.0
    for place in starts.unbind(1):
        with autocast(device):
            logits = model(dataset.crop(clips, place, crop_frames))
        total = total + (logits.float() / temperature).softmax(1)
    assert isinstance(total, Tensor)
    return total / n_crops


def autocast(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Return the context in which a forward pass computes in bf16 on a GPU, and in float32 elsewhere."""
    return torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else contextlib.nullcontext()


def _sums(loss: Tensor, scores: Tensor, labels: Tensor) -> Tensor:
    n_correct = (scores.argmax(1) == labels).sum()
    return torch.stack([loss.double(), n_correct.double(), torch.tensor(float(len(labels)), device=loss.device)])
