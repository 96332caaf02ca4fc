"""One run of benchmarks/gpu.py: its parts, one after another, each of which may fail without the others."""

import dataclasses
import functools
import gc
import itertools
import statistics
import sys
import time
from collections.abc import Callable

import torch

from benchmarks import gpu_side, measure, page
from benchmarks.gpu_side import Answering, Setting, Training
from benchmarks.results import Line
from genreray import dataset, models
from genreray.dataset import Clips
from genreray.device import fits
from genreray.features import FeatureConfig
from genreray.models.fitted import Fitted

MAIN = ("mel_cnn", "short_chunk_resnet")
ALL = (*MAIN, *(n for n, f in models.MODELS.items() if n not in MAIN and not issubclass(f.module, Fitted)))
_WARM_UP, _PROBED = 5, 20  # steps before a pass, and those that its length is reckoned from
_LARGE_BATCH = 256
_ON_HOST = 4096  # clips of the pass that cuts crops in the host's memory
_PRODUCT = {"cuda": 8192, "cpu": 512}  # rows of the plain product's matrices
_COPIED = {"cuda": 2**32, "cpu": 2**24}  # bytes
_UNITS = {"plain product": "TFLOP/s", "features": "GB"}
_TAGGING = "answers of tag"


@dataclasses.dataclass(frozen=True, kw_only=True)
class GpuOptions:
    """Sizes; the standard ones are FMA-medium's training split."""

    clips: int = 19_922
    seconds: float = 30.0
    batch_size: int = 32
    crop_frames: int = 385
    rounds: int = 3
    most: float = 6.0  # seconds of a pass
    minutes: float = 6.5  # after which nothing more is begun
    decoding: float = 40.0  # ms of a CPU that a track takes before a network sees it, as docs/performance.md has it
    architectures: tuple[str, ...] = ALL
    compiled: tuple[str, ...] = ("default", "reduce-overhead")  # modes of torch.compile; the latter has CUDA graphs


class Run:
    """One run on one device: parts one after another, each of which may fail without the others."""

    def __init__(self, options: GpuOptions, device: torch.device) -> None:
        self.lines: list[Line] = []
        self._options = options
        self._device = device
        self._features = FeatureConfig(duration=options.seconds)
        self._ends = time.monotonic() + 60 * options.minutes
        self._clips: Clips | None = None
        self._product: dict[str, float] = {}  # operations per second, by precision
        self.epochs: dict[str, list[float]] = {}  # seconds, by architecture
        self.waiting: dict[str, list[float]] = {}  # as many times as long as on the fixed batch

    def all(self) -> None:
        """Measure all that there is time for, the most wanted first."""
        for name, part in parts(self, self._options):
            if time.monotonic() > self._ends:
                self._note(name, f"left out: {self._options.minutes:g} minutes were over")
                continue
            try:
                found = part()
            except Exception as error:  # what does not fit, or torch cannot compile, is a line and not the end
                first = (str(error).splitlines() or [""])[0]
                self._note(name, f"failed: {type(error).__name__}: {first[:160]}")
            else:
                self._add(found)
            self._tidy()

    @property
    def where(self) -> str:
        """Where the features are."""
        return "on the device" if self._clips is not None and self._clips.device.type == "cuda" else "in memory"

    def _note(self, name: str, why: str) -> None:
        self._add([Line(name, [], unit(name), why)])

    def _add(self, lines: list[Line]) -> None:
        self.lines += lines
        for line in lines:
            print(f"{line.name}: {page.figure(line.values, line.unit)} {line.note}", file=sys.stderr, flush=True)

    def _tidy(self) -> None:
        gc.collect()  # an error's frames hold tensors
        if self._device.type == "cuda":
            torch._dynamo.reset()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def rates(self) -> list[Line]:
        """Measure what the device can do at best."""
        kind = self._device.type
        found = {}
        for name, dtype in (("bf16", torch.bfloat16), ("float32", torch.float32)):
            found[name] = [gpu_side.product_rate(self._device, dtype, _PRODUCT[kind]) for _ in range(3)]
            self._product[name] = statistics.median(found[name])
        lines = [Line(f"plain product, {name}", [rate / 1e12 for rate in of], "TFLOP/s") for name, of in found.items()]
        copied = [gpu_side.copy_rate(self._device, _COPIED[kind]) / 1e9 for _ in range(3)]
        return [*lines, Line("plain copy, read and written", copied, "GB/s")]

    def make(self) -> list[Line]:
        """Make the features, on the device where they fit as `genreray train` would keep them there."""
        names = self._inputs(self._options.architectures)
        size = self._options.clips * dataset.clip_bytes(names, self._features)
        where = self._device if fits(size, self._device) else torch.device("cpu")
        self._clips = gpu_side.make_clips(self._options.clips, names, self._features, where)
        return [Line(f"features: {' and '.join(names)}", [size / 1e9], "GB", f"kept on: {where.type}")]

    def _inputs(self, architectures: tuple[str, ...]) -> list[str]:
        wanted = {name for model in architectures for name in models.family(model).module.inputs}
        return [name for name in ("mel", "mfcc", "mfcc_stats") if name in wanted]

    def _n_on_host(self) -> int:
        return min(_ON_HOST, self._options.clips)

    def architecture(self, name: str) -> list[Line]:
        """Compare a pass with the same steps on a fixed batch, and with those in float32."""
        half, full = self._training(name), self._training(name, precision="float32")
        n, n_full = self._steps(half), self._steps(full)
        half.fixed(_WARM_UP)
        contenders = {
            "fed": functools.partial(half.fed, n),
            "fixed": functools.partial(half.fixed, n),
            "full": functools.partial(full.fed, n_full),
        }
        seconds = measure.interleave(contenders, self._options.rounds)
        self.epochs[name] = [value * half.n_steps / n for value in seconds["fed"]]
        self.waiting[name] = measure.paired_ratios(seconds["fed"], seconds["fixed"])
        fed, fixed = self._rate(n, seconds["fed"]), self._rate(n, seconds["fixed"])
        waits = statistics.median(1 - 1 / ratio for ratio in self.waiting[name])
        operations = gpu_side.operations(half.setting, self._features, half.clips)
        return [
            Line(
                f"{name}: an epoch, bf16",
                fed,
                "clips/s",
                f"{statistics.median(self.epochs[name]):.2f} s an epoch; {waits:.1%} of it waiting for data; "
                + self._reached(operations * statistics.median(fed), "bf16")
                + self._seen(half, n, statistics.median(seconds["fed"]) / n),
            ),
            Line(f"{name}: the same on one fixed batch", fixed, "clips/s"),
            Line(
                f"{name}: an epoch, float32",
                (rates := self._rate(n_full, seconds["full"])),
                "clips/s",
                self._reached(operations * statistics.median(rates), "float32"),
            ),
        ]

    def compiled(self, name: str, mode: str) -> list[Line]:
        """Compare whole batches through the network compiled with those through it as it is."""
        plain, made = self._training(name), self._training(name, compiled=mode)
        whole = len(plain.clips) // self._options.batch_size
        started = time.perf_counter()
        made.fed(_WARM_UP)
        took = time.perf_counter() - started
        n = min(self._steps(plain), whole)
        contenders = {"plain": functools.partial(plain.fed, n), "made": functools.partial(made.fed, n)}
        seconds = measure.interleave(contenders, self._options.rounds)
        gain = statistics.median(measure.paired_ratios(seconds["plain"], seconds["made"]))
        note = f"{gain:.2f} times as fast as not compiled; {took:.0f} s to compile"
        return [Line(f"{name}: compiled ({mode})", self._rate(n, seconds["made"]), "clips/s", note)]

    def large(self, name: str) -> list[Line]:
        """Measure large batches, of which a GPU makes more."""
        training = self._training(name, batch_size=_LARGE_BATCH)
        n = self._steps(training)
        training.fixed(_WARM_UP)
        contenders = {"fed": functools.partial(training.fed, n), "fixed": functools.partial(training.fixed, n)}
        seconds = measure.interleave(contenders, self._options.rounds)
        beside = statistics.median(measure.paired_ratios(seconds["fed"], seconds["fixed"]))
        note = f"{beside:.2f} times as long as on one fixed batch"
        return [Line(_large(name), self._rate(n, seconds["fed"], _LARGE_BATCH), "clips/s", note)]

    def host(self, name: str) -> list[Line]:
        """Measure crops that are cut in the host's memory, as where clips do not fit on the GPU."""
        n = self._n_on_host()
        clips = gpu_side.make_clips(n, self._inputs((name,)), self._features, torch.device("cpu"))
        training = self._training(name, clips)
        n_steps = self._steps(training)
        passes = {"fed": functools.partial(training.fed, n_steps)}
        seconds = measure.interleave(passes, self._options.rounds)
        return [Line(_host(name), self._rate(n_steps, seconds["fed"]), "clips/s", f"{n:,} clips")]

    def tagging(self, name: str) -> list[Line]:
        """Measure answers for clips that come from the host's memory, all crops of each, and how many CPUs that is."""
        clips = gpu_side.make_clips(self._n_on_host(), self._inputs((name,)), self._features, torch.device("cpu"))
        setting = Setting(name, self._options.batch_size, self._options.crop_frames)
        answering = Answering(setting, clips, self._features, self._device)
        seconds = measure.interleave({name: answering.all}, self._options.rounds, warm_up=1)[name]
        rates = [len(clips) / value for value in seconds]
        cores = statistics.median(rates) * self._options.decoding / 1000
        note = (
            f"{answering.n_crops} crops; as many as {cores:.3g} CPU cores decode, {self._options.decoding:g} ms a track"
        )
        return [Line(_tagging(name), rates, "tracks/s", note)]

    def _training(self, name: str, clips: Clips | None = None, **changes: object) -> Training:
        options = self._options
        setting = Setting(name, options.batch_size, options.crop_frames)
        setting = dataclasses.replace(setting, **changes)  # type: ignore[arg-type]
        held = clips or self._clips
        assert held is not None, "no features were made"
        inputs = {key: held.inputs[key] for key in models.family(name).module.inputs}
        shown = Clips(held.track_ids, inputs, held.n_frames, held.labels)
        return Training(setting, shown, self._features, self._device)

    def _steps(self, training: Training) -> int:
        """Return how many steps a pass has: all, or those that fit in its time."""
        training.fed(_WARM_UP)
        probed = min(_PROBED, training.n_steps)
        return max(1, min(training.n_steps, int(self._options.most / (training.fed(probed) / probed))))

    def _rate(self, n_steps: int, seconds: list[float], batch_size: int | None = None) -> list[float]:
        n = min(n_steps * (batch_size or self._options.batch_size), self._options.clips)
        return [n / value for value in seconds]

    def _reached(self, operations: float, precision: str) -> str:
        beside = f", {operations / self._product[precision]:.1%} of the plain product" if self._product else ""
        return f"{operations / 1e12:.3g} TFLOP/s{beside}"

    def _seen(self, training: Training, n_steps: int, step: float) -> str:
        """Say how busy the GPU was, and what was taken of its memory, beside the features."""
        if self._device.type != "cuda":
            return ""
        busy = gpu_side.busy(training, min(n_steps, 100)) / step
        return f"; busy {busy:.0%}; {torch.cuda.max_memory_allocated() / 1e9:.1f} GB at most"


def _large(name: str) -> str:
    return f"{name}: batches of {_LARGE_BATCH}"


def _host(name: str) -> str:
    return f"{name}: crops cut in the host's memory"


def _tagging(name: str) -> str:
    return f"{name}: {_TAGGING}"


def parts(run: Run, options: GpuOptions) -> list[tuple[str, Callable[[], list[Line]]]]:
    """Return what is measured, in its order, each with the name of the line that stands for it where it is not."""
    of = options.architectures
    main = [name for name in of if name in MAIN]
    partial = functools.partial
    compiled = [(name, mode) for mode in options.compiled for name in main]
    compiled += list(itertools.product([name for name in of if name not in main], options.compiled[:1]))
    return [
        ("plain product", run.rates),
        ("features", run.make),
        *((f"{name}: an epoch, bf16", partial(run.architecture, name)) for name in of),
        *((_large(name), partial(run.large, name)) for name in main),
        *((_host(name), partial(run.host, name)) for name in main),
        *((_tagging(name), partial(run.tagging, name)) for name in of),
        *((f"{name}: compiled ({mode})", partial(run.compiled, name, mode)) for name, mode in compiled),
    ]


def unit(name: str) -> str:
    """Return what a part is measured in."""
    return "tracks/s" if name.endswith(_TAGGING) else _UNITS.get(name, "clips/s")
