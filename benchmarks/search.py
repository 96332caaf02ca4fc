"""`genreray tune`: what a search with a small budget finds beside the defaults, and how few epochs it takes."""

import contextlib
import dataclasses
import tempfile
from pathlib import Path

from rich.console import Console

from benchmarks import command, machine, quality, ray_side
from benchmarks.command import Options
from benchmarks.results import Claim, Line, Section
from genreray import cli, demo
from genreray.cluster import Cluster
from genreray.progress import Progress
from genreray.search_plan import SearchPlan
from genreray.search_report import SearchReport
from genreray.trials import Trial
from genreray.tune import Searched, tune

_METHOD = """\
`genreray tune --model mel_cnn` with {trials} trials of at most {epochs} epochs, as many at once as there are CPUs, over
the space of mel_cnn with crops of 192 frames and without its larger networks, which keeps trials short: {over}. The
first trial has the model's defaults and runs to its end; the others are proposed by TPE and stopped by ASHA, as the
command does by default. A trial's loss is the calibrated one of its best epoch on validation, by which the winner is
chosen; the median is that of all trials, stopped ones included. A round is a search with another seed."""
_DEMO, _SPECTROGRAMS = "demo", "spectrograms"
_OVER = {
    _DEMO: "the tracks that `genreray demo` makes (demo)",
    _SPECTROGRAMS: "a table of spectrograms of real music, read as benchmarks.quality does (spectrograms)",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchOptions(Options):
    """Search mel_cnn, and compare what is found with its defaults."""

    spectrograms: Path | None = None
    """Table of spectrograms, as benchmarks.quality takes it, to search on as well."""
    trials: int = 20
    """Trials of each search."""
    epochs: int = 6
    """Epochs of a trial that is not stopped."""
    repeats: int = 1
    """Searches of each, with a seed of its own."""
    folder: Path | None = None
    """Folder for features and searches, kept: a run that was interrupted goes on there. Else a temporary one."""


STANDARD = SearchOptions()
QUICK = SearchOptions(trials=4, epochs=2)
_SPACE = """\
filters: {choice: [[8, 16, 64], [8, 16, 64, 128], [16, 32, 64, 128]]}
learning_rate: {log_uniform: [3e-5, 3e-3]}
dropout: {uniform: [0, 0.6]}
l2: {choice: [0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2]}
batch_size: {choice: [16, 32, 64]}
label_smoothing: {uniform: [0, 0.2]}
mixup: {uniform: [0, 0.5]}
equalise: {uniform: [0, 9]}
freq_masks: {integer: [0, 3]}
time_masks: {integer: [0, 3]}
crop_frames: 192
"""


def run(options: SearchOptions) -> Section:
    """Return what the searches found."""
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "space.yaml").write_text(_SPACE)
        ray_side.start(machine.n_cpus())
        features = {_DEMO: _of_demo(folder / _DEMO)}
        if options.spectrograms is not None:
            features[_SPECTROGRAMS] = quality.write_features(options.spectrograms, folder / _SPECTROGRAMS).uri
        found = {
            source: [_search(uri, folder / f"run-{source}-{seed}", seed, options) for seed in range(options.repeats)]
            for source, uri in features.items()
        }
    over = " and ".join(_OVER[source] for source in found)
    method = _METHOD.format(trials=options.trials, epochs=options.epochs, over=over)
    reports = {source: [search.found for search in searches] for source, searches in found.items()}
    lines = [line for source, searches in found.items() for line in lines_of(source, searches)]
    return Section("search", "Searching", method, lines, [c for s, r in reports.items() for c in claims_of(s, r)])


def _of_demo(folder: Path) -> str:
    catalog = demo.make_catalog(str(folder / "catalog"))
    features = str(folder / "features")
    argv = ["extract", catalog.audio, features, "--fma-metadata", catalog.fma_metadata]
    if code := cli.run(argv, Console(stderr=True)):
        raise RuntimeError(f"genreray extract ended with exit code {code}")
    return features


def _search(features: str, folder: Path, seed: int, options: SearchOptions) -> Searched:
    space = str(folder.parent / "space.yaml")
    plan = SearchPlan(trials=options.trials, epochs=options.epochs, space=space, seed=seed, gpu="no")
    progress = Progress(Console(stderr=True), "search")
    return tune(features, str(folder), "mel_cnn", plan, cluster=Cluster(), progress=progress)


def lines_of(source: str, searches: list[Searched]) -> list[Line]:
    """Return what the searches of one source came to."""
    found = [search.found for search in searches]
    failed = [search.counts.get("failed", 0) for search in found]
    note = f"{max(failed)} trials failed" if any(failed) else ""
    return [
        Line(f"{source}: loss of the defaults", [_loss(s, s.default) for s in found], "nats"),
        Line(f"{source}: loss of the median trial", [s.median or 0.0 for s in found], "nats"),
        Line(f"{source}: loss of the winner", [_loss(s, s.winner) for s in found], "nats"),
        Line(f"{source}: accuracy of the defaults", [_accuracy(s.default) for s in found], "%"),
        Line(f"{source}: accuracy of the winner", [_accuracy(s.winner) for s in found], "%"),
        Line(f"{source}: epochs of all trials", [float(s.n_epochs) for s in found], "epochs", note),
        Line(f"{source}: time of all trials, added up", [s.seconds / 60 for s in found], "min"),
    ]


def claims_of(source: str, found: list[SearchReport]) -> list[Claim]:
    """Return whether the winner is as good as the defaults, better than the median trial, and ASHA's share."""
    beside = {
        "the defaults": [_loss(s, s.default) for s in found],
        "the median trial": [s.median or 0.0 for s in found],
    }
    claims = [
        Claim(
            f"search, {source}: loss of the winner beside {name}",
            1.0 if name == "the defaults" else 0.999,  # better, not as good
            [_loss(search, search.winner) / other for search, other in zip(found, others, strict=True)],
            at_least=False,
        )
        for name, others in beside.items()
    ]
    ratios = [1 - (search.saved or 0.0) for search in found]
    return [*claims, Claim(f"search, {source}: epochs beside all trials run out", 0.6, ratios, at_least=False)]


def _loss(search: SearchReport, trial: Trial | None) -> float:
    return _of(trial, search.metric)


def _accuracy(trial: Trial | None) -> float:
    return 100 * _of(trial, "validation_accuracy")


def _of(trial: Trial | None, name: str) -> float:
    value = None if trial is None else trial.value(name)
    if value is None:
        raise RuntimeError("the search has no winner, or its defaults failed")
    return value


if __name__ == "__main__":
    command.main("search", run, STANDARD, QUICK)
