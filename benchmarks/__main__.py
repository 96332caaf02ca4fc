"""`make bench`: every script, or those named, each in a process of its own; then the pages with their numbers."""

import dataclasses
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import tyro

from benchmarks import page, results
from benchmarks.results import Section

NAMES = (
    "kernel",
    "stages",
    "shares",
    "extract",
    "s3",
    "tag",
    "tag_peers",
    "feed",
    "loaders",
    "train",
    "loop",
    "workers",
    "gpu",
    "tune",
    "search",
    "scale",
    "growth",
    "growth_train",
)
_DOCS = Path(__file__).parents[1] / "docs"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bench:
    """Run the benchmarks and write their page; sections of benchmarks that are not run now stay as they are."""

    names: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="[NAME ...]")] = ()
    """Which of kernel, stages, shares, extract, s3, tag, tag_peers, feed, loaders, train, loop, workers, gpu, tune,
    search, scale, growth, growth_train; all by default."""
    quick: bool = False
    """Take sizes that end in seconds: to see that all runs. The page is then left as it is, unless --docs is given."""
    audio: Path | None = None
    """An audio file for the kernel's benchmark to measure as well, such as a clip of FMA."""
    extra: Path | None = None
    """Folder with the other tools that tagging is measured beside; see `python -m benchmarks.tag_peers --help`."""
    add: Path | None = None
    """Results that a script wrote on another machine (--json), to be put on the page; only NAMEs given are run then."""
    spectrograms: Path | None = None
    """A table of spectrograms for the search's benchmark to search on as well, as benchmarks.quality takes it."""
    docs: Path | None = None
    """Folder of benchmarks.md and benchmarks.json; by default docs."""


def main(bench: Bench) -> int:
    """Run what is asked for and return the exit code."""
    unknown = [name for name in bench.names if name not in NAMES]
    if unknown:
        print(f"there is no benchmark {unknown[0]!r}: choose among {', '.join(NAMES)}", file=sys.stderr)
        return 2
    docs = bench.docs or (None if bench.quick else _DOCS)
    failed = 0
    if bench.add is not None:
        update(docs or _DOCS, results.read(bench.add))
    for name in bench.names or (() if bench.add else NAMES):
        section = _run(name, bench)
        failed += section is None
        if section is not None and docs is not None:
            update(docs, [section])
            print(f"written to {docs / 'benchmarks.md'}\n")
    return int(failed > 0)


def _run(name: str, bench: Bench) -> Section | None:
    """Return what the script `name` found; None where it failed, which it has said by then."""
    print(f"--- {name}", flush=True)
    flags = ["--quick"] if bench.quick else []
    if name == "kernel" and bench.audio is not None:
        flags += ["--audio", str(bench.audio)]
    if name in ("kernel", "tag_peers") and bench.extra is not None:
        flags += ["--extra", str(bench.extra)]
    if name == "search" and bench.spectrograms is not None:
        flags += ["--spectrograms", str(bench.spectrograms)]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "results.json"
        done = subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *flags, "--json", str(output)])
        if done.returncode:
            return None
        (section,) = results.read(output)
    return section


def update(docs: Path, found: list[Section]) -> None:
    """Put the sections in the place of earlier ones of the same benchmarks, and write the pages anew.

    What could not be run here takes nothing away that was measured elsewhere.
    """
    where = docs / "benchmarks.json"
    sections = {section.name: section for section in results.read(where)}
    measured = {name for name, section in sections.items() if section.was_run}
    sections |= {section.name: section for section in found if section.was_run or section.name not in measured}
    order = [*NAMES, *sorted(set(sections) - set(NAMES))]
    kept = [sections[name] for name in order if name in sections]
    results.write(where, kept)
    (docs / "benchmarks.md").write_text(page.render(kept))
    if (performance := docs / "performance.md").exists():
        performance.write_text(page.renewed(performance.read_text(), kept))


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Bench, prog="python -m benchmarks", config=(tyro.conf.HelptextFromCommentsOff,))))
