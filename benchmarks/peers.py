"""What people label music with today: Essentia's chain in Python, and an audio transformer by Hugging Face's pipeline.

Neither is a dependency of the project: they are looked for, also in a folder of their own, and left out where they
are not there.
"""

import dataclasses
import json
import multiprocessing
import os
import sys
import time
import warnings
from collections.abc import Callable
from importlib.machinery import PathFinder
from pathlib import Path

from benchmarks import baselines, machine
from genreray.features import FeatureConfig

Label = Callable[[Path], object]  # what is said of a file

_AST_RATE = 16_000  # Hz, what the transformer is made for
_label: Label | None = None  # of a process of the pool


@dataclasses.dataclass(frozen=True)
class Peer:
    """One way to label a file."""

    name: str
    package: str  # that it needs
    make: Callable[[], Label]  # called once a process


def missing(peer: Peer, extra: Path | None) -> str | None:
    """Return why a peer cannot be run; None where its package is there, or in the folder `extra`."""
    found = PathFinder.find_spec(peer.package, [*sys.path, *([str(extra)] if extra else [])])
    return None if found else f"left out: there is no package {peer.package}, see --extra"


def run(peer: Peer, extra: Path | None, folder: Path, told: Path, cpus: int) -> None:
    """Label every file in `folder` by a pool of as many processes, each of one thread; leave when each was done.

    The processes are as those of the other pools: held to the same CPUs, at the priority of Ray's workers.
    """
    machine.hold_to(cpus)
    machine.one_thread_each()
    with multiprocessing.get_context("spawn").Pool(cpus, _begin, (peer, extra)) as pool:
        ends = [time.time() for _ in pool.imap_unordered(_one, sorted(folder.iterdir()))]
    told.write_text(json.dumps(ends))


def _begin(peer: Peer, extra: Path | None) -> None:
    global _label
    os.nice(baselines.RAY_NICENESS)
    if extra is not None:
        sys.path.append(str(extra))  # at the end: what the project has itself is not to be another
    _label = peer.make()


def _one(path: Path) -> None:
    assert _label is not None
    _label(path)


def _essentia() -> Label:
    """Return the log-mel and MFCC of a file, as in Essentia's tutorial for Python; there is no model behind them."""
    import essentia

    essentia.log.infoActive = essentia.log.warningActive = False
    import essentia.standard as es

    config = FeatureConfig()
    n_bins = config.n_fft // 2 + 1
    window = es.Windowing(type="hann", size=config.n_fft)
    spectrum = es.PowerSpectrum(size=config.n_fft)
    mfcc = es.MFCC(  # gives the mel bands too: MelBands beside it would compute them once more
        inputSize=n_bins,
        sampleRate=config.sr,
        numberBands=config.n_mels,
        numberCoefficients=config.n_mfcc,
        highFrequencyBound=config.sr / 2,
    )

    def label(path: Path) -> object:
        y = es.MonoLoader(filename=str(path), sampleRate=config.sr)()
        frames = es.FrameGenerator(y, frameSize=config.n_fft, hopSize=config.hop_length)
        made = [mfcc(spectrum(window(frame))) for frame in frames]
        if not made:
            raise RuntimeError(f"Essentia makes nothing of {path.name}")
        return made

    return label


def _transformer() -> Label:
    """Return the likeliest labels of a file by an Audio Spectrogram Transformer of the usual size.

    Its weights are random, which time does not depend on: nothing is downloaded.
    """
    import librosa
    import transformers

    warnings.simplefilter("ignore")  # its own mel filters have empty bands, it says each time
    transformers.logging.set_verbosity_error()
    model = transformers.ASTForAudioClassification(transformers.ASTConfig(num_labels=16))
    classify = transformers.pipeline(
        "audio-classification", model=model, feature_extractor=transformers.ASTFeatureExtractor(), device="cpu"
    )

    def label(path: Path) -> object:
        y, _ = librosa.load(path, sr=_AST_RATE)
        found = classify({"raw": y, "sampling_rate": _AST_RATE}, top_k=3)
        if len(found) != 3:
            raise RuntimeError(f"the transformer makes nothing of {path.name}")
        return found

    return label


ESSENTIA = Peer("pool, Essentia's features alone", "essentia", _essentia)
TRANSFORMER = Peer("pool, transformer of Hugging Face", "transformers", _transformer)
