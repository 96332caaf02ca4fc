"""`genreray tag` beside what people label music with today: Essentia's chain in Python, and a transformer."""

import dataclasses
import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks import command, extract, material, measure, peers, tag, watch
from benchmarks.command import Options
from benchmarks.extract import Apart, Run
from benchmarks.peers import Peer
from benchmarks.results import Claim, Line, Section
from benchmarks.tag import TAG

_METHOD = """\
`genreray tag` with an untrained {model} on {n:,} mp3 files of {seconds:g} s (hard links to {distinct} generated clips)
with {cpus} CPUs, everything of Ray's included, against {cpus} processes of Python's multiprocessing with one thread
each, held to the same CPUs and run at the priority that Ray gives to its workers, on some of the same files
({essentia}; {transformer}). Essentia's chain is MonoLoader at 22,050 Hz and, frame by frame in Python, Windowing,
PowerSpectrum and MFCC, which gives the mel bands as well: the features alone, no model. The transformer is the Audio
Spectrogram Transformer in its usual size, with random weights, behind `pipeline("audio-classification")` and after
`librosa.load`; it hears the first 10.24 s. The steady rate of `tag` is taken as for extraction, that of the pools
likewise, of each process from the time at which its first file was done."""

_WANTED = {peers.ESSENTIA: 3.0, peers.TRANSFORMER: 50.0}  # times as fast


@dataclasses.dataclass(frozen=True, kw_only=True)
class PeersOptions(Options):
    """Time `genreray tag` beside other tools."""

    repeats: int = 3
    """Rounds."""
    model: str = "mel_cnn"
    """Name of an architecture that reads the log-mel."""
    files: int = 384
    """Files that genreray does."""
    essentia_files: int = 64
    """Files that the pool with Essentia does."""
    transformer_files: int = 6
    """Files that the pool with the transformer does."""
    clips: int = 8
    """Different generated clips that the files are links to."""
    seconds: float = 30.0
    """Length of each, in s."""
    cpus: int = 2
    """CPUs of Ray, and processes of the pools."""
    extra: Path | None = None
    """Folder with the packages of the other tools, which are no dependencies of genreray, where they are not installed:
    `pip install --target FOLDER -c constraints.txt essentia==2.1b6.dev1389 transformers` fills it. What is not there is
    left out."""
    folder: Path | None = None
    """Folder for the files and what is made of them (deleted at the end); else a temporary one."""


STANDARD = PeersOptions()
QUICK = PeersOptions(repeats=1, files=192, essentia_files=8, transformer_files=4, clips=2, seconds=10.0)


def run(options: PeersOptions, apart: Apart = watch.alone) -> Section:
    """Return the rates of all sides that can be run; `apart` runs one of them.

    Raises UserError for too few files.
    """
    extract.check_enough(options.files, options.cpus)
    numbers = {peers.ESSENTIA: options.essentia_files, peers.TRANSFORMER: options.transformer_files}
    why = {peer: peers.missing(peer, options.extra) for peer in numbers}
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="benchmark-") as name:
        folder = Path(name)
        contents = material.clips(options.clips, options.seconds)
        for n in {options.files, *numbers.values()}:
            material.fill_folder(folder / str(n), contents, n)
        material.write_checkpoint(folder / "checkpoint", options.model)
        sides: dict[str, Callable[[], Run]] = {TAG: partial(tag.tag, folder, options.files, options.cpus, apart)}
        sides |= {
            peer.name: partial(_pool, peer, folder, n, options, apart) for peer, n in numbers.items() if not why[peer]
        }
        runs = measure.interleave(sides, options.repeats)
    lines = tag.lines_of(runs) + [Line(peer.name, [], "files/s", reason) for peer, reason in why.items() if reason]
    rates = {side: [found.rate for found in runs[side]] for side in runs}
    claims = [
        Claim(f"tag: speed beside the {peer.name}", wanted, measure.paired_ratios(rates[TAG], rates[peer.name]))
        for peer, wanted in _WANTED.items()
        if peer.name in rates
    ]
    method = _METHOD.format(
        model=options.model,
        n=options.files,
        seconds=options.seconds,
        distinct=options.clips,
        cpus=options.cpus,
        essentia=options.essentia_files,
        transformer=options.transformer_files,
    )
    return Section("tag_peers", "Tagging, beside other tools", method, lines, claims)


def _pool(peer: Peer, folder: Path, n: int, options: PeersOptions, apart: Apart) -> Run:
    with tempfile.TemporaryDirectory(dir=folder) as name:
        told = Path(name) / "ends.json"
        started = time.time()
        watched = apart(peers.run, peer, options.extra, folder / str(n), told, options.cpus)
        ends = json.loads(told.read_text())
    return Run(measure.steady_rate(ends, [1] * n, options.cpus), ends[0] - started, watched)


if __name__ == "__main__":
    command.main("tag_peers", run, STANDARD, QUICK)
