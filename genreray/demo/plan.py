"""Which tracks the demo catalog holds: genres, artists, albums, splits, file formats, and what is broken."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from genreray.synthesis.styles import STYLES

BROKEN = ("empty", "cut off", "text", "silent", "short", "missing")


class Genre(NamedTuple):
    """How much there is of a genre, and what FMA calls it."""

    tracks: int  # among 160
    artists: int
    ids: dict[str, int]  # FMA's own, of the genre and of its subgenres


GENRES = {
    "Rock": Genre(34, 6, {"Rock": 12, "Punk": 25, "Indie-Rock": 66}),
    "Electronic": Genre(28, 6, {"Electronic": 15, "House": 182, "Techno": 181}),
    "Experimental": Genre(24, 5, {"Experimental": 38, "Noise": 32, "Drone": 47}),
    "Hip-Hop": Genre(20, 5, {"Hip-Hop": 21, "Hip-Hop Beats": 811, "Rap": 539}),
    "Folk": Genre(18, 5, {"Folk": 17, "Singer-Songwriter": 103, "Psych-Folk": 33}),
    "Classical": Genre(14, 4, {"Classical": 5, "Chamber Music": 442, "Symphony": 444}),
    "Jazz": Genre(12, 4, {"Jazz": 4, "Modern Jazz": 906, "Big Band/Swing": 179}),
    "Old-Time / Historic": Genre(10, 4, {"Old-Time / Historic": 8}),
}
LEAST_TRACKS = 3 * len(GENRES)  # one for each split of each genre
_VALIDATION, _TEST = 0.14, 0.16  # shares; the test split is large for so few tracks, or its score says little
_ALBUM = 5  # tracks at most

# (sample rate, channels) and the share of such files
_FORMATS = {(44100, 2): 0.62, (44100, 1): 0.23, (22050, 1): 0.10, (48000, 2): 0.05}

_TITLES = ("Study", "Étude", "Übung", "Этюд", "練習曲", "Σπουδή", "Estudio", "Çalışma")


@dataclass(frozen=True)
class Track:
    """One row of tracks.csv, and how its file is made; ids of track, album and artist are numbers as in FMA."""

    track_id: int
    album: int
    title: str
    genre: str
    variant: int
    subgenre: str | None
    artist: int
    split: str
    subset: str
    sr: int
    channels: int
    broken: str | None

    @property
    def name(self) -> str:
        """The id as six digits."""
        return f"{self.track_id:06d}"


def plan(tracks: int, seed: int) -> list[Track]:
    """Return all tracks, playable and broken, in the order of their ids: albums one after another, as in FMA."""
    rng = np.random.default_rng([seed, 0])
    albums: list[list[Track]] = []
    artist = 0
    for index, (genre, size) in enumerate(zip(GENRES, _genre_sizes(tracks), strict=True)):
        for i, (split, count) in enumerate(_artist_sizes(size, GENRES[genre].artists)):
            artist += 1
            broken = [BROKEN[index]] if i == 0 and index < len(BROKEN) else []
            made = [_draw(genre, artist, i % 2, split, kind, rng) for kind in [None] * count + broken]
            for start in range(0, len(made), _ALBUM):
                albums.append(made[start : start + _ALBUM])
    ordered = [(number, track) for number in rng.permutation(len(albums)) for track in albums[number]]
    spread = max(2, 2400 // len(ordered))  # so that ids begin with 000, 001 and 002
    return [
        replace(track, track_id=2 + i * spread + int(rng.integers(spread)), album=int(number) + 1)
        for i, (number, track) in enumerate(ordered)
    ]


def _draw(genre: str, artist: int, variant: int, split: str, broken: str | None, rng: np.random.Generator) -> Track:
    """Return one track of an artist, who plays the other variant of the genre at times."""
    if rng.random() < 0.25:
        variant = 1 - variant
    sr, channels = list(_FORMATS)[int(rng.choice(len(_FORMATS), p=list(_FORMATS.values())))]
    return Track(
        track_id=0,
        album=0,
        title=f"{rng.choice(_TITLES)} {rng.integers(1, 1000)} (generated)",
        genre=genre,
        variant=variant,
        subgenre=STYLES[genre].variants[variant].title if rng.random() < 0.6 else None,
        artist=artist,
        split=split,
        subset="small" if rng.random() < 0.4 else "medium",
        sr=sr,
        channels=channels,
        broken=broken,
    )


def _genre_sizes(tracks: int) -> list[int]:
    """Return how many tracks each genre gets: three, and of the others its share (largest remainder)."""
    shares = np.array([genre.tracks - 3 for genre in GENRES.values()], dtype=float)
    exact = (tracks - LEAST_TRACKS) * shares / shares.sum()
    sizes = np.floor(exact + 1e-9).astype(int)
    order = np.argsort(sizes - exact, kind="stable")
    sizes[order[: tracks - LEAST_TRACKS - int(sizes.sum())]] += 1
    return [3 + int(size) for size in sizes]


def _artist_sizes(size: int, artists: int) -> list[tuple[str, int]]:
    """Return the (split, tracks) of each artist of a genre: the last two make up validation and test."""
    test, validation = max(1, round(_TEST * size)), max(1, round(_VALIDATION * size))
    each = [len(part) for part in np.array_split(np.arange(size - test - validation), artists - 2)]
    return [*(("training", n) for n in each if n), ("validation", validation), ("test", test)]
