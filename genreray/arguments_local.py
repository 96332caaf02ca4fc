"""The flags of the jobs that need no Ray, as dataclasses like those of arguments.py."""

import dataclasses
from typing import Annotated, ClassVar

import tyro

from genreray.errors import UserError
from genreray.fetch.archives import HOST
from genreray.isolation import DEFAULT_LIMITS, Limits

_UNSET = ""  # in place of "(default: None)": the text says what holds without the flag


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fetch:
    """Download ARCHIVE of FMA, check it and unpack it into DEST; needs no Ray."""

    output: ClassVar[str] = "dest"
    archive: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="ARCHIVE")]
    """fma-metadata (342 MiB), fma-small (7.2 GiB), fma-medium (22 GiB), fma-large (93 GiB) or fma-full (879 GiB)."""
    dest: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DEST")]
    """Folder or bucket; fma-small goes to DEST/fma_small. Run again, it goes on where it stopped."""
    base_url: Annotated[str, tyro.conf.arg(metavar="URL")] = HOST
    """Where the archives lie: this, or a mirror; their checksums are known."""
    cache: Annotated[str | None, tyro.conf.arg(metavar="DIR", help_behavior_hint=_UNSET)] = None
    """Local folder of the archive while it is needed; by default DEST, or ~/.cache/genreray where DEST is a bucket."""
    keep_archive: bool = False
    """Keep the archive when it is unpacked."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Untag:
    """Put files back, byte for byte, into which tag --write-tags wrote a genre; needs no Ray."""

    output: ClassVar[str] = "tags"
    tags: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="TAGS")]
    """Folder that tag wrote, with undo.jsonl. What something else changed since is left alone."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Review:
    """Write a page to hear the most doubtful tracks of TAGS and choose their genres, which train can learn; no Ray."""

    output: ClassVar[str] = "tags"
    tags: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="TAGS")]
    """Folder that tag wrote."""
    page: Annotated[str | None, tyro.conf.arg(name="output", metavar="PAGE", help_behavior_hint=_UNSET)] = None
    """The page; by default review.html in TAGS. It finds files on disk where they lie as seen from there."""
    tracks: int = 500
    """Tracks on the page, the least sure first."""
    map: Annotated[str | None, tyro.conf.arg(metavar="FILE", help_behavior_hint=_UNSET)] = None
    """CSV (genre,name) of other names for the genres, as tag takes it: they are shown, offered and saved."""
    min_confidence: float = 0.0
    """Probability, 0 to 1, of the best genre, below which a track has none; such tracks come first."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inspect:
    """Show what a model makes of one file: its genres, and how they change over time; needs no Ray."""

    output: ClassVar[str] = "picture"
    track: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="TRACK")]
    """An audio file, on disk, in a bucket or on the web."""
    checkpoint: Annotated[str, tyro.conf.arg(metavar="RUN")]
    """Folder that train wrote."""
    model: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint=_UNSET)] = None
    """The module that RUN was trained with (mypackage.mymodel), where it is none of genreray's: its code is run."""
    plot: Annotated[str | None, tyro.conf.arg(metavar="FILE", help_behavior_hint=_UNSET)] = None
    """PNG to write: the log-mel, and below it the probabilities over time."""
    coverage: int = 1
    """Clips spread evenly over the track, as tag --coverage takes them; 1 is the middle of the track alone."""
    crops: int = 24
    """Windows over time; the genres are those that tag gives, whatever this is."""
    timeout: float = DEFAULT_LIMITS.seconds
    """Seconds that the file may take, from the store to its features, before it is given up."""

    def __post_init__(self) -> None:
        if not 1 <= self.crops <= 1000:
            raise UserError(f"crops is {self.crops}: give 1 to 1000")
        Limits(self.timeout)  # refuses what makes no sense

    @property
    def picture(self) -> str | None:
        """What is written, if anything."""
        return self.plot
