"""What benchmarks/gpu.py trains: features made up where they are used, networks, and the rates to put beside them."""

import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Iterable, Sequence

import torch
from torch.autograd import DeviceType
from torch.utils.flop_counter import FlopCounterMode

from genreray import dataset, loop, models, moments, warp
from genreray.dataset import Clips
from genreray.features import FeatureConfig
from genreray.loop import Step
from genreray.models import GenreModel
from genreray.models.base import make_optimizer
from genreray.recipe import Precision

N_GENRES = 16  # FMA's top ones
_COUNTED = 2  # clips that operations are counted on
_MADE = 1024  # clips at a time: noise is float32 at first, and shall not take four times the memory of all
_LOOKED_AT = 256  # clips whose moments the networks are given
_DTYPES = {"mel": torch.uint8, "mfcc": torch.float16, "mfcc_stats": torch.float32}


def make_clips(n: int, names: Sequence[str], features: FeatureConfig, device: torch.device) -> Clips:
    """Return `n` clips of noise with these inputs, in the types and about the range they are stored in, on `device`."""
    inputs = {
        name: torch.empty((n, *dataset.shape(name, features)), dtype=_DTYPES[name], device=device) for name in names
    }
    for name, x in inputs.items():
        for part in x.split(_MADE):
            part.random_(0, 256) if name == "mel" else part.copy_(torch.randn(part.shape, device=device) * 50 - 20)
    ids = [f"{i:06d}" for i in range(n)]
    return Clips(ids, inputs, torch.full((n,), features.max_frames), torch.arange(n) % N_GENRES)


@dataclasses.dataclass(frozen=True)
class Setting:
    """One way to train an architecture."""

    model: str
    batch_size: int
    crop_frames: int
    precision: Precision = "bf16"
    compiled: str = ""  # the mode of torch.compile; none where it is empty


class Training:
    """A network in training, as `genreray train` does it on one GPU, on clips in memory."""

    def __init__(self, setting: Setting, clips: Clips, features: FeatureConfig, device: torch.device) -> None:
        torch.manual_seed(0)
        family = models.family(setting.model)
        config = family.config()
        self.recipe = dataclasses.replace(
            family.training,
            batch_size=setting.batch_size,
            crop_frames=setting.crop_frames,
            precision=setting.precision,
        )
        self.network = build(setting, features)
        self.network.to(device)
        standardise(self.network, clips)
        if setting.compiled:
            self.network.compile(mode=setting.compiled)
        self._device = device
        self.setting = setting
        self.clips = clips
        self.n_steps = math.ceil(len(clips) / setting.batch_size)
        counts = torch.bincount(clips.labels, minlength=N_GENRES)
        self._step = Step(
            self.network,
            make_optimizer(self.network, config),
            self.recipe,
            features,
            counts=counts,
            steps_per_epoch=self.n_steps,
            device=device,
        )
        self._generator = torch.Generator().manual_seed(0)
        self._fixed = self._ready()

    def fed(self, n_steps: int) -> float:
        """Return the seconds of a pass over the clips (or of so many steps of it), shuffled and cropped."""
        return self._pass(self.clips.batches(self.setting.batch_size, self._generator), n_steps)

    def fixed(self, n_steps: int) -> float:
        """Return the seconds of as many steps on one batch of crops that lie ready where they are used."""
        return self._pass(itertools.repeat(self._fixed), n_steps)

    def _ready(self) -> Clips:
        first = next(iter(self.clips.batches(self.setting.batch_size)))
        frames = warp.frames_for(self.recipe.crop_frames, self.recipe.time_stretch)
        crops = dataset.crop(first, torch.zeros(len(first), dtype=torch.int64), frames)
        inputs = {name: x.to(self._device) for name, x in crops.items()}
        return Clips(first.track_ids, inputs, torch.full((len(first),), frames), first.labels.to(self._device))

    def _pass(self, batches: Iterable[Clips], n_steps: int) -> float:
        synchronise(self._device)
        started = time.perf_counter()
        some = itertools.islice(batches, n_steps)
        totals = loop.train_epoch(self._step, some, epoch=1, generator=self._generator)
        synchronise(self._device)
        seconds = time.perf_counter() - started
        if not math.isfinite(totals.loss):
            raise RuntimeError("the loss left the finite numbers")
        return seconds


class Answering:
    """A network that is asked for genres as `genreray tag` asks an actor's on its GPU."""

    def __init__(self, setting: Setting, clips: Clips, features: FeatureConfig, device: torch.device) -> None:
        torch.manual_seed(0)
        self.n_crops = models.family(setting.model).training.crops
        self._network = build(setting, features).to(device)
        standardise(self._network, clips)
        self._setting = setting
        self._clips = clips
        self._device = device

    def all(self) -> float:
        """Return the seconds until the probabilities of all clips are in the host's memory."""
        started = time.perf_counter()
        for batch in self._clips.batches(self._setting.batch_size):
            frames, n_crops = self._setting.crop_frames, self.n_crops
            loop.predict(self._network, batch, crop_frames=frames, n_crops=n_crops, device=self._device).cpu()
        return time.perf_counter() - started


def build(setting: Setting, features: FeatureConfig) -> GenreModel:
    """Return a fresh network on the CPU, kernels in the order of memory that checkpoint.Settings gives them."""
    config = models.family(setting.model).config()
    network = models.build(setting.model, config, features, setting.crop_frames, N_GENRES)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def standardise(network: GenreModel, clips: Clips) -> None:
    """Give the network moments of some of the clips."""
    some = clips.view(torch.arange(min(len(clips), _LOOKED_AT)))
    for name, module in getattr(network, "standardise", {}).items():
        found = moments.of(some, name)
        module.fit(found.mean, found.std)


def operations(setting: Setting, features: FeatureConfig, clips: Clips) -> float:
    """Return the floating-point operations of a clip's forward and backward pass: of products and convolutions."""
    network = build(setting, features).train()
    some = clips.view(torch.arange(_COUNTED))
    few = {name: x.cpu() for name, x in dataset.crop(some, torch.zeros(_COUNTED).long(), setting.crop_frames).items()}
    with FlopCounterMode(display=False) as counter:
        torch.stack([logits.sum() for logits in loop.heads(network(few))]).sum().backward()
    return counter.get_total_flops() / _COUNTED


def product_rate(device: torch.device, dtype: torch.dtype, size: int) -> float:
    """Return the operations per second of a product of two square matrices of noise."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return 2 * size**3 / _seconds(lambda: a @ b, device)


def copy_rate(device: torch.device, n_bytes: int) -> float:
    """Return the bytes per second, read and written, of a copy within the device's memory."""
    x = torch.randint(256, (n_bytes,), dtype=torch.uint8, device=device)
    y = torch.empty_like(x)
    return 2 * n_bytes / _seconds(lambda: y.copy_(x), device)


def _seconds(work: Callable[[], object], device: torch.device, repeats: int = 10) -> float:
    """Return the seconds of one of many calls in a row, after some that are not counted."""
    for _ in range(3):
        work()
    synchronise(device)
    started = time.perf_counter()
    for _ in range(repeats):
        work()
    synchronise(device)
    return (time.perf_counter() - started) / repeats


def synchronise(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def busy(training: Training, n_steps: int) -> float:
    """Return the seconds of a fed step in which the GPU runs a kernel or copies."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        training.fed(n_steps)
    events = (event for event in profile.events() if event.device_type == DeviceType.CUDA)
    kernels = (event for event in events if not getattr(event, "is_user_annotation", False))
    return sum(event.time_range.elapsed_us() for event in kernels) / 1e6 / n_steps
