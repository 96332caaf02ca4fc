"""One thread, the bytes of one clip -> mel and MFCC: beside merely decoding the same bytes, librosa and Essentia."""

import dataclasses
import itertools
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np

from benchmarks import baselines, command, machine, material, measure, peers
from benchmarks.command import Options
from benchmarks.results import Claim, Line, Section
from genreray import audio, fft
from genreray.audio.source import Source
from genreray.features import FeatureConfig, Features

_METHOD = """\
One process with one thread turns the bytes of a clip, in memory, into mel and MFCC: {clips}. Mere decoding is
`soundfile.read` of the same bytes to float32. librosa is `load` at 22,050 Hz, `feature.melspectrogram`, `power_to_db`
and `feature.mfcc(y)`, as its documentation has them; "one spectrogram" gives `feature.mfcc` the log-mel that is there
already. Of genreray there are two more, which do one thing in another way: libsndfile reads through Python, by the
callbacks that soundfile has for files in memory, and scipy transforms the frames. The report's input is the middle
{report:g} s of the clip, by the same kernel; librosa has to do the whole file for its own. Essentia's chain is
MonoLoader, Windowing, PowerSpectrum and MFCC, which gives the mel bands as well, frame by frame in Python, and reads
the clip from a file in memory. In each round each side does the clip {calls} times in a row, after once that is not
counted, as in a long run of the same work. The time is the CPU's, of all threads, which a busy machine disturbs least.
Before anything is timed, the results of both are compared."""

_CALLS = 3
_DECODE = "soundfile merely decoding"
_GENRERAY = "genreray"
_PYTHON = "genreray, reading through Python"
_SCIPY = "genreray, scipy's transform"
_LIBROSA = "librosa"
_SHARED = "librosa, one spectrogram"
_REPORT = "genreray, the report's input"
_ESSENTIA = "Essentia"
_REPORT_SECONDS = 9.0
_WANTED = (
    (_GENRERAY, _DECODE, 0.75),
    (_GENRERAY, _DECODE, 0.8),
    (_GENRERAY, _LIBROSA, 2.0),
    (_GENRERAY, _ESSENTIA, 6.0),
    (_REPORT, _LIBROSA, 5.0),
)
_MEMORY = Path("/dev/shm")


@dataclasses.dataclass(frozen=True, kw_only=True)
class KernelOptions(Options):
    """Time the kernel of `genreray extract` beside decoding alone and beside librosa."""

    repeats: int = 24
    """Rounds."""
    clips: int = 4
    """Different generated clips, taken in turn."""
    seconds: float = 30.0
    """Length of each, in s."""
    audio: Path | None = None
    """An audio file to measure as well, such as a clip of FMA."""
    extra: Path | None = None
    """Folder with Essentia, made by `pip install --pre --no-deps --target`; where there is none it is left out."""


STANDARD = KernelOptions()
QUICK = KernelOptions(repeats=5, clips=1)


def run(options: KernelOptions) -> Section:
    """Return the times of a clip on each side, and how genreray compares."""
    config = FeatureConfig()
    generated = material.clips(options.clips, options.seconds)
    if options.extra is not None:
        sys.path.append(str(options.extra))
    lines, claims = _compare(generated, options.repeats, config, "")
    about = (
        f"generated music ({options.clips} x {options.seconds:g} s, taken in turn, 44.1 kHz, joint stereo, "
        f"{_rate(generated, options.seconds)})"
    )
    if options.audio is not None:
        more = _compare([options.audio.read_bytes()], options.repeats, config, f" on {options.audio.name}")
        lines, claims = lines + more[0], claims + more[1]
        about += f" and the file {options.audio.name}"
    return Section(
        "kernel", "The kernel", _METHOD.format(clips=about, calls=_CALLS, report=_REPORT_SECONDS), lines, claims
    )


def _rate(contents: Sequence[bytes], seconds: float) -> str:
    return f"{statistics.mean(map(len, contents)) * 8 / seconds / 1000:.0f} kbit/s"


def _compare(
    contents: Sequence[bytes], repeats: int, config: FeatureConfig, suffix: str
) -> tuple[list[Line], list[Claim]]:
    for content in contents:
        _check_same(content, config)
    report = dataclasses.replace(config, duration=_REPORT_SECONDS)
    sides: dict[str, Callable[[bytes], object]] = {
        _DECODE: baselines.decode,
        "genreray, its decoding alone": lambda content: audio.decode(content, config.sr, config.duration),
        _GENRERAY: lambda content: baselines.genreray_kernel(content, config),
        _PYTHON: lambda content: _reading_through_python(content, config),
        _SCIPY: lambda content: _transformed_by_scipy(content, config),
        _LIBROSA: lambda content: baselines.librosa_kernel(content, config),
        _SHARED: lambda content: baselines.librosa_shared_kernel(content, config),
        _REPORT: lambda content: baselines.genreray_kernel(content, report),
    }
    left_out = peers.missing(peers.ESSENTIA, None)
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=_MEMORY if _MEMORY.is_dir() else None) as name:
        if not left_out:
            sides[_ESSENTIA] = _from_file(peers.ESSENTIA.make(), contents, Path(name))
        contenders = {name: _in_turn(side, contents) for name, side in sides.items()}
        seconds = measure.interleave(contenders, repeats, warm_up=1)
    lines = [Line(name + suffix, [1000 * s for s in values], "ms") for name, values in seconds.items()]
    if left_out:
        lines.append(Line(_ESSENTIA + suffix, [], "ms", left_out))
    claims = [
        Claim(
            f"kernel{suffix}: speed {_of(ours)}beside {name}",
            wanted,
            measure.paired_ratios(seconds[name], seconds[ours]),
        )
        for ours, name, wanted in _WANTED
        if name in seconds
    ]
    return lines, claims


def _reading_through_python(content: bytes, config: FeatureConfig) -> Features:
    with mock.patch.object(Source, "content", return_value=None):  # as of files that are not read whole
        return baselines.genreray_kernel(content, config)


def _transformed_by_scipy(content: bytes, config: FeatureConfig) -> Features:
    with mock.patch.object(fft, "power_spectra", fft._any_size):
        return baselines.genreray_kernel(content, config)


def _of(ours: str) -> str:
    return "" if ours == _GENRERAY else f"of {ours}, "


def _from_file(label: peers.Label, contents: Sequence[bytes], folder: Path) -> Callable[[bytes], object]:
    """Return what calls `label` with a file of those bytes."""
    files = {content: folder / f"{i}.mp3" for i, content in enumerate(contents)}
    for content, file in files.items():
        file.write_bytes(content)
    return lambda content: label(files[content])


def _in_turn(side: Callable[[bytes], object], contents: Sequence[bytes]) -> Callable[[], float]:
    turn = itertools.cycle(contents)
    return lambda: measure.cpu_time(partial(side, next(turn)), calls=_CALLS, warm_up=1)()


def _check_same(content: bytes, config: FeatureConfig) -> None:
    """Raise RuntimeError where genreray and librosa do not give the same features: nothing is to be compared then."""
    ours, theirs = (kernel(content, config) for kernel in (baselines.genreray_kernel, baselines.librosa_kernel))
    grey = np.abs(ours.mel.astype(int) - theirs.mel.astype(int)).max()
    if grey > 1 or not np.allclose(ours.mfcc, theirs.mfcc, rtol=2e-3, atol=0.1):
        raise RuntimeError("genreray and librosa give different features of the same clip")


if __name__ == "__main__":
    if not machine.one_thread_each():  # too late for the libraries that are loaded: begin again
        os.execv(sys.executable, sys.orig_argv)
    command.main("kernel", run, STANDARD, QUICK)
