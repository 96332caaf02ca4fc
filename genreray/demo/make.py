"""Making the demo catalog: the mp3s, good and broken, and their metadata, as files below one folder."""

import io
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np
import soundfile as sf

from genreray import storage
from genreray.demo.metadata import genres_csv, readme, tracks_csv
from genreray.demo.plan import LEAST_TRACKS, Track, plan
from genreray.errors import UserError
from genreray.synthesis.styles import habits, play

_COMPRESSION = 0.8  # about 110 kbit/s: the fastest that keeps what lies below 11 kHz, where features end
_MARK = "demo.json"
_HTML = b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body>Not Found</body></html>\n"


@dataclass(frozen=True)
class DemoCatalog:
    """Where a demo catalog is (URIs), how many rows its tracks.csv has, and which files are broken in which way.

    `broken` maps track ids (six digits) to one of `BROKEN`.
    """

    folder: str
    audio: str
    fma_metadata: str
    tracks: int
    broken: dict[str, str]


def make_catalog(
    folder: str,
    *,
    tracks: int = 160,
    seconds: float = 12.0,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> DemoCatalog:
    """Make `tracks` playable tracks of `seconds` each, and six broken ones, in FMA's layout below `folder`.

    What is there already is left, so that a second call makes only what is missing; tracks.csv comes last and
    marks the catalog as complete. `progress` gets (files there, files in all) after each file.

    Raises UserError where the folder holds anything else, or for too few tracks or seconds.
    """
    if tracks < LEAST_TRACKS:
        raise UserError(
            f"a demo catalog of {tracks} tracks has not one per genre and split: give {LEAST_TRACKS} or more"
        )
    if not seconds >= 1.0:
        raise UserError(f"demo tracks of {seconds:g} s are too short to be music: give 1 s or more")
    if seed < 0:
        raise UserError(f"seed is {seed}: give 0 or more")
    folder = storage.absolute(folder)
    catalog = plan(tracks, seed)
    _claim(folder, {"made_by": "genreray demo", "tracks": tracks, "seconds": seconds, "seed": seed})
    audio, metadata = storage.join(folder, "fma_medium"), storage.join(folder, "fma_metadata")
    _write_audio(audio, catalog, seconds, seed, progress)
    _write_texts(folder, metadata, catalog, seconds, seed)
    broken = {f"{track.track_id:06d}": track.broken for track in catalog if track.broken is not None}
    return DemoCatalog(folder, audio, metadata, len(catalog), broken)


def _claim(folder: str, settings: dict[str, object]) -> None:
    """Mark `folder` as ours, or raise UserError where it is another's or was made with other settings."""
    mark = storage.join(folder, _MARK)
    if storage.is_file(folder):
        raise UserError(f"{folder} is a file: give a folder for the demo catalog")
    if storage.exists(mark):
        found = storage.read_json(mark)
        if found != settings:
            raise UserError(
                f"{folder} holds something made with other settings ({_MARK} says {found}): give another folder"
            )
    elif next(storage.list_files(folder), None) is not None:
        raise UserError(f"{folder} holds other things: give a new or an empty folder for the demo catalog")
    else:
        storage.write_json(mark, settings)


def _write_audio(
    audio: str, catalog: list[Track], seconds: float, seed: int, progress: Callable[[int, int], None] | None
) -> None:
    """Make the files that are not there, on all cores: numpy and the encoder work outside of Python's lock."""
    there = {path for path, _ in storage.list_files(audio)} if storage.exists(audio) else set()
    todo = [track for track in catalog if _path(track) not in there and track.broken != "missing"]
    done = len(catalog) - len(todo)
    if progress:
        progress(done, len(catalog))

    def make(track: Track) -> None:
        storage.write_bytes(storage.join(audio, _path(track)), content(track, seconds, seed))

    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        for future in as_completed([pool.submit(make, track) for track in todo]):
            future.result()
            done += 1
            if progress:
                progress(done, len(catalog))
    finally:
        pool.shutdown(cancel_futures=True)


def _path(track: Track) -> str:
    return f"{track.name[:3]}/{track.name}.mp3"


def content(track: Track, seconds: float, seed: int) -> bytes:
    """Return the bytes of a track's file, which depend on nothing but these arguments; an mp3 if not broken."""
    if track.broken == "empty":
        return b""
    if track.broken == "text":
        return _HTML
    length = 0.5 if track.broken == "short" else seconds
    if track.broken == "silent":
        y = np.zeros((2, round(seconds * track.sr)), dtype=np.float32)
    else:
        artist = habits(np.random.default_rng([seed, 1, track.artist]))
        rng = np.random.default_rng([seed, 2, track.track_id])
        y = play(track.genre, track.variant, artist, length, track.sr, rng)
    file = io.BytesIO()
    samples = y.T if track.channels == 2 else y.mean(axis=0)
    sf.write(file, samples, track.sr, format="MP3", bitrate_mode="VARIABLE", compression_level=_COMPRESSION)
    return file.getvalue()[:300] if track.broken == "cut off" else file.getvalue()


def _write_texts(folder: str, metadata: str, catalog: list[Track], seconds: float, seed: int) -> None:
    """Write README.txt and the metadata where they are not there, tracks.csv last."""
    for uri, text in (
        (storage.join(folder, "README.txt"), readme(catalog, seconds, seed)),
        (storage.join(metadata, "genres.csv"), genres_csv(catalog)),
        (storage.join(metadata, "tracks.csv"), tracks_csv(catalog, seconds)),
    ):
        if not storage.exists(uri):
            storage.write_text(uri, text)
