"""Training in plain torch, epoch by epoch: what a worker does between reading clips and handing on a checkpoint."""

import contextlib
import dataclasses
import functools
import math
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn

from genreray import checkpoint, dataset, loop, moments, resume
from genreray.checkpoint import Settings
from genreray.loop import Step, Totals
from genreray.models.base import GenreModel, make_optimizer
from genreray.models.fitted import Fitted
from genreray.models.standardise import Standardise
from genreray.moments import Moments
from genreray.recipe import TrainingConfig
from genreray.selection import SCORE
from genreray.source import Source
from genreray.validation import validate

_LOOKED_AT = 256  # clips at a time where their moments are summed


class Trainer:
    """A network, its clips and its recipe; one of several alike where torch.distributed runs, each with its share."""

    def __init__(
        self,
        settings: Settings,
        config: TrainingConfig,
        training: Callable[[Sequence[str]], Source],
        validation: Callable[[Sequence[str]], Source],
        *,
        counts: Sequence[int],
        device: torch.device,
        rank: int = 0,
        world: int = 1,
        parallel: Callable[[nn.Module], nn.Module] = lambda network: network,
    ) -> None:
        """Build the network on `device`.

        training, validation: open this worker's share of the clips with the inputs that the network reads. counts:
        training clips of each genre over all workers, in class order. parallel: what makes several workers' networks
        one, DistributedDataParallel.
        """
        torch.manual_seed(config.seed)
        self.history: resume.History = []
        self.network: GenreModel = settings.build()
        self.network.to(device)
        self.settings = settings
        self._hierarchy = settings.hierarchy()
        self._config = config
        self._device = device
        self._rank = rank
        self._training, self._validation = training(self.network.inputs), validation(self.network.inputs)
        self._batch_size = math.ceil(config.batch_size / world)
        self._optimizer: torch.optim.Optimizer | None = None
        self._step: Step | None = None
        if not isinstance(self.network, Fitted):
            for source in (self._training, self._validation):
                source.keep_on(device)
            self._optimizer = make_optimizer(self.network, settings.model_config)
            self._step = Step(
                parallel(self.network),
                self._optimizer,
                config,
                settings.features,
                counts=torch.tensor(counts),
                hierarchy=settings.hierarchy(),
                steps_per_epoch=self._training.n_batches(self._batch_size),
                device=device,
            )

    @property
    def finished(self) -> bool:
        """Whether no epoch is left to train: all are done, the last ones were no better, or the loss is no number."""
        done = len(self.history)
        if done and (isinstance(self.network, Fitted) or self.history[-1].get("diverged")):
            return True
        if self._config.patience and done:
            best = min(self.history, key=lambda epoch: float(epoch[SCORE]))
            if done - int(best["epoch"]) >= self._config.patience:
                return True
        return done >= self._config.epochs

    def epoch(self) -> dict[str, Any]:
        """Train for one more epoch, score it on validation, and return its entry in the history.

        Raises UserError where the clips do not allow what the recipe asks for.
        """
        number = len(self.history) + 1
        started = time.perf_counter()
        seed = _seed(self._config.seed, number, self._rank)
        torch.manual_seed(seed)  # dropout draws from it
        trained = self._train(number, torch.Generator().manual_seed(seed))
        entry = {"epoch": number, **self._entry(_add(trained, self._device)), "seconds": time.perf_counter() - started}
        if not all(math.isfinite(value) for value in entry.values()):
            entry = {"epoch": number, "diverged": True}
        self.history = [*self.history, entry]
        return entry

    @contextlib.contextmanager
    def scored_weights(self) -> Iterator[None]:
        """Give the network, inside a `with`, the weights that are scored and kept: averaged ones, if there are any."""
        with self._step.average.applied(self.network) if self._step else contextlib.nullcontext():
            yield

    def save(self, folder: str) -> None:
        """Write the weights that were scored as a checkpoint, and what training needs to go on, into `folder`."""
        metrics = {name: float(value) for name, value in self.history[-1].items()}
        settings = dataclasses.replace(self.settings, metrics=metrics, temperature=metrics.get("temperature", 1.0))
        if self._step is None or self._optimizer is None:
            checkpoint.save(folder, self.network, settings)
            resume.save(folder, None, {}, self.history)
            return
        state = self._step.average.state_dict(self.network)
        with self.scored_weights():
            checkpoint.save(folder, self.network, settings)
        resume.save(folder, self._optimizer, state, self.history)

    def load(self, folder: str) -> None:
        """Go on from what `save` wrote."""
        self.network.load_state_dict(checkpoint.load(folder, self.settings.model).model.state_dict())
        self.history, state = resume.load(folder, self._optimizer)
        if self._step is not None:
            self._step.average.load_state_dict(state, self.network)

    def standardise(self) -> None:
        """Fit the network's standardisation to the training clips, before the first epoch."""
        fitted = getattr(self.network, "standardise", None)
        if not fitted or isinstance(self.network, Fitted):
            return
        names = list(fitted)
        parts = [{name: moments.of(clips, name) for name in names} for clips in self._training.batches(_LOOKED_AT)]
        for name in names:
            total = _sum(functools.reduce(Moments.__add__, [part[name] for part in parts]), self._device)
            module = fitted[name]
            assert isinstance(module, Standardise)
            module.fit(total.mean, total.std)

    def _train(self, number: int, generator: torch.Generator) -> Totals:
        if isinstance(self.network, Fitted):
            clips = self._training.whole()
            self.network.fit(clips.inputs, clips.labels, self._config.seed)
            return loop.score(
                self.network,
                clips.batches(self._config.batch_size),
                crop_frames=self._config.crop_frames,
                n_crops=1,
                device=self._device,
            )
        if number == 1:
            self.standardise()
        assert self._step is not None
        draw = self._training.balanced_batches if self._config.sampling == "balanced" else self._training.batches
        return loop.train_epoch(self._step, draw(self._batch_size, generator), epoch=number, generator=generator)

    def _entry(self, trained: Totals) -> dict[str, float]:
        with self.scored_weights():
            _same_buffers(self.network)
            logits, labels = self._validation_logits()
        validated = validate(logits, labels, self._hierarchy)
        entry = {"training_loss": trained.loss / trained.n}
        if validated.thresholds is None:
            entry["training_accuracy"] = trained.n_correct / trained.n
        else:
            thresholds = dict(zip(self.settings.genres, validated.thresholds.tolist(), strict=True))
            self.settings = dataclasses.replace(self.settings, thresholds=thresholds)
        return entry | validated.entry

    def _validation_logits(self) -> tuple[Tensor, Tensor]:
        """Return crop logits [n, crops, n_genres] and labels of all workers' labelled validation clips."""
        logits, labels = [], []
        for clips in self._validation.batches(self._config.batch_size):
            known = clips.labelled()
            if len(known):
                found = loop.crop_logits(
                    self.network,
                    known,
                    crop_frames=self._config.crop_frames,
                    n_crops=self._config.crops,
                    device=self._device,
                    precision=self._config.precision,
                )
                logits.append(found.cpu())
                labels.append(known.labels)
        n_genres = len(self.settings.genres)
        mine = (
            torch.cat([torch.zeros(0, self._config.crops, n_genres), *logits]),
            torch.cat([dataset.no_labels(0, None if self._hierarchy is None else n_genres), *labels]),
        )
        if not _several():
            return mine
        everyone: list[Any] = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(everyone, mine)
        return torch.cat([each[0] for each in everyone]), torch.cat([each[1] for each in everyone])


def _seed(*numbers: int) -> int:
    """Mix a run's seed, epoch and rank, so that an epoch is the same whether or not the run was interrupted."""
    return zlib.crc32(" ".join(map(str, numbers)).encode())


def _several() -> bool:
    """Return whether there are other workers; Ray Train sets up a group for one alone, too."""
    return torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1


def _same_buffers(network: nn.Module) -> None:
    """Give every worker the buffers of the first: each has batch-norm statistics of its own last batch."""
    if _several():
        for buffer in network.buffers():
            torch.distributed.broadcast(buffer, 0)


def _add(totals: Totals, device: torch.device) -> Totals:
    """Return the sums over all workers."""
    return Totals(*_reduced(torch.tensor(totals, dtype=torch.float64, device=device)).tolist())


def _sum(found: Moments, device: torch.device) -> Moments:
    return Moments(*(_reduced(x.to(device)) for x in (found.count, found.sum, found.sum_of_squares)))


def _reduced(x: Tensor) -> Tensor:
    if _several():
        torch.distributed.all_reduce(x)
    return x
