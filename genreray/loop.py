"""The training step and the scoring pass in plain torch: no Ray, so that they can be tested and profiled alone."""

import contextlib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from genreray import compiling, dataset
from genreray.augment import Augmentation
from genreray.averaging import Average
from genreray.dataset import Clips
from genreray.device import send
from genreray.features import FeatureConfig
from genreray.hierarchy import Hierarchy, probabilities
from genreray.models.base import GenreModel
from genreray.objective import Objective, SeveralGenres
from genreray.recipe import Precision, TrainingConfig
from genreray.schedule import LearningRate


class Totals(NamedTuple):
    """Sums over clips, so that those of several workers can be added."""

    loss: float
    n_correct: float
    n: float


class Step:
    """One optimisation step on a batch of whole clips, with all that the recipe puts around it."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        config: TrainingConfig,
        features: FeatureConfig,
        *,
        steps_per_epoch: int,
        device: torch.device,
        counts: Tensor | None = None,
        hierarchy: Hierarchy | None = None,
    ) -> None:
        """Make the step of `model` (a network, or DistributedDataParallel around it), which is on `device`.

        counts: training clips of each genre, over all workers, [n_genres], needed where imbalance is corrected in the
        loss. hierarchy: that of the genres, where clips have several. The optimiser has its base learning rate.
        """
        self.model = model
        self.network: nn.Module = model.module if isinstance(model, DistributedDataParallel) else model
        self.average = Average(config)
        self.device = device
        self._optimizer = optimizer
        self._config = config
        self._augment = Augmentation(config, features)
        self._objective: Objective | SeveralGenres = (
            Objective.of(config, counts, device)
            if hierarchy is None
            else SeveralGenres(hierarchy.to(device), config.label_smoothing)
        )
        self._learning_rate = LearningRate(optimizer, config, steps_per_epoch)
        self._forward = compiling.for_steps(model, config.compile, config.epochs * steps_per_epoch, device)

    def __call__(self, batch: Clips, epoch: int, step: int, generator: torch.Generator) -> Tensor:
        """Take step `step` (from 0) of `epoch` (from 1), on one crop of each clip; return the batch's Totals, [3]."""
        labels = send(batch.labels, self.device)
        crops = {name: send(x, self.device) for name, x in self._crops(batch, generator).items()}
        inputs, mix = self._augment(crops, generator)
        with autocast(self.device, self._config.precision):
            answers = heads(self._forward(inputs))
        losses = torch.stack([self._objective(logits.float(), labels, mix) for logits in answers])
        self._optimizer.zero_grad(set_to_none=True)
        losses.sum().backward()
        if self._config.clip_norm:
            nn.utils.clip_grad_norm_(self.network.parameters(), self._config.clip_norm)
        self._learning_rate.set(epoch, step)
        self._optimizer.step()
        self.average.after_step(self.network)
        return _sums(losses[0].detach() * len(labels), answers[0].detach(), labels)

    def _crops(self, clips: Clips, generator: torch.Generator) -> dict[str, Tensor]:
        frames = self._augment.n_frames
        if self._config.first_crop:
            return dataset.crop(clips, torch.zeros_like(clips.n_frames), frames)
        return dataset.crop(clips, dataset.random_starts(clips.n_frames, frames, generator), frames)


def heads(logits: Tensor) -> tuple[Tensor, ...]:
    """Return the logits of each head, [n, n_genres], of what a network gives in training: see `GenreModel.forward`."""
    return logits.unbind(1) if logits.ndim == 3 else (logits,)


def train_epoch(step: Step, batches: Iterable[Clips], *, epoch: int, generator: torch.Generator) -> Totals:
    """Take one optimisation step for each batch of whole clips, in epoch `epoch` (from 1).

    Crops and augmentation are drawn from `generator`, a CPU's. Returns the sums over all clips as they were trained
    on: the loss with all that the recipe adds to it, and the clips whose own label the logits got right, of mixtures
    the label of the larger part; where clips have several labels, any of them.
    """
    step.model.train()
    sums = torch.zeros(3, dtype=torch.float64, device=step.device)
    for i, batch in enumerate(batches):
        sums += step(batch, epoch, i, generator)
    step.average.after_epoch(step.network, epoch)
    return Totals(*sums.tolist())


@torch.inference_mode()
def score(
    model: nn.Module, batches: Iterable[Clips], *, crop_frames: int, n_crops: int, device: torch.device
) -> Totals:
    """Return the sums of log loss and correct labels over labelled clips, crops averaged."""
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    for batch in batches:
        found = predict(model, batch, crop_frames=crop_frames, n_crops=n_crops, device=device)
        labels = batch.labels.to(device)
        log_loss = F.nll_loss(found.clamp_min(1e-12).log(), labels, reduction="sum")
        sums += _sums(log_loss, found, labels)
    return Totals(*sums.tolist())


@torch.inference_mode()
def predict(
    model: nn.Module,
    batch: Clips,
    *,
    crop_frames: int,
    n_crops: int,
    device: torch.device,
    temperature: float = 1.0,
    hierarchy: Hierarchy | None = None,
) -> Tensor:
    """Return the probabilities of each clip, float32 [n, n_genres], over evenly spaced crops: see `probabilities`."""
    logits = crop_logits(model, batch, crop_frames=crop_frames, n_crops=n_crops, device=device)
    return probabilities(logits, hierarchy, temperature)


@torch.inference_mode()
def predict_and_embed(
    model: GenreModel,
    batch: Clips,
    *,
    crop_frames: int,
    n_crops: int,
    device: torch.device,
    temperature: float = 1.0,
    hierarchy: Hierarchy | None = None,
) -> tuple[Tensor, Tensor]:
    """Return what `predict` does, and each clip's embedding, float32 [n, embedding_size]: the mean over its crops."""
    answers = _over_crops(model.answer, model, batch, crop_frames, n_crops, device)
    logits, embeddings = (torch.stack([part.float() for part in parts], 1) for parts in zip(*answers, strict=True))
    return probabilities(logits, hierarchy, temperature), embeddings.mean(1)


@torch.inference_mode()
def crop_logits(
    model: nn.Module,
    batch: Clips,
    *,
    crop_frames: int,
    n_crops: int,
    device: torch.device,
    precision: Precision = "auto",
) -> Tensor:
    """Return the logits of evenly spaced crops of each clip: float32 [n, n_crops, n_genres]."""
    found = _over_crops(model, model, batch, crop_frames, n_crops, device, precision)
    return torch.stack([logits.float() for logits in found], 1)


def _over_crops(
    call: Callable[[dict[str, Tensor]], Any],
    model: nn.Module,
    batch: Clips,
    crop_frames: int,
    n_crops: int,
    device: torch.device,
    precision: Precision = "auto",
) -> list[Any]:
    """Return what `call`, of `model`, gives for each of the evenly spaced crops of the batch."""
    model.eval()
    clips = batch if batch.device.type == device.type else batch.to(device)
    starts = dataset.even_starts(clips.n_frames, crop_frames, n_crops)
    found = []
    for place in starts.unbind(1):
        crops = dataset.crop(clips, place, crop_frames)  # not under autocast, which on a CPU takes no float16
        with autocast(device, precision):
            found.append(call(crops))
    return found


def autocast(device: torch.device, precision: Precision = "auto") -> contextlib.AbstractContextManager[object]:
    """Return the context in which a forward pass computes as asked; auto: in bf16 on a GPU, in float32 elsewhere."""
    half = precision == "bf16" or (precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, torch.bfloat16) if half else contextlib.nullcontext()


def _sums(loss: Tensor, scores: Tensor, labels: Tensor) -> Tensor:
    best = scores.argmax(1)
    n_correct = (best == labels).sum() if labels.ndim == 1 else labels.gather(1, best[:, None]).sum()
    n = torch.full((), float(len(labels)), dtype=torch.float64, device=loss.device)  # filled there, not copied
    return torch.stack([loss.double(), n_correct.double(), n])
