"""What there is to be learnt in FEATURES: which genres, from which tracks, and what to know of that before."""

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa

from genreray.errors import UserError
from genreray.featureset import FeatureSet, Labels
from genreray.genres import all_of, class_order
from genreray.recipe import TrainingConfig

LEAST_TRACKS = 5  # training tracks of a genre that is learnt where tracks have several: fewer teach next to nothing
_LEARNT_FROM = ("training", "validation")
_NAMED = 8  # genres that a line names


@dataclasses.dataclass(frozen=True)
class Learnable:
    """Genres, and the tracks of the training and validation split that have one of them."""

    genres: list[str]  # class order
    counts: list[int]  # training tracks of each
    tracks: dict[str, pa.Table]  # rows of FeatureSet.index, by split
    doubts: list[str]  # what a person should know before trusting what is trained on it, a line each
    tree: dict[str, str] | None = None  # parent of each genre by child where tracks have several, else None


def learnable(features: FeatureSet, labels: Labels) -> Learnable:
    """Return what FEATURES let one learn: of each track its one genre, or all its `genres`.

    Raises UserError where that is nothing.
    """
    return _one_genre(features) if labels == "genre" else _several_genres(features)


def check_recipe(config: TrainingConfig) -> None:
    """Raise UserError where a recipe corrects for imbalance, which supposes one genre a track."""
    flags = {
        "--class-weights": config.class_weights != "none",
        "--logit-adjustment": config.logit_adjustment > 0,
        "--sampling": config.sampling != "natural",
    }
    if given := [flag for flag, on in flags.items() if on]:
        raise UserError(f"{given[0]} is for one genre a track: leave it out with --labels genres")


def all_genres(rows: pa.Table, tree: Mapping[str, str]) -> list[list[str] | None]:
    """Return all genres of each row of FEATURES, with those above them, in class order; None where none is known."""
    columns = (rows.column(name).to_pylist() for name in ("genre", "genres"))
    return [class_order(all_of(genre, genres, tree)) or None for genre, genres in zip(*columns, strict=True)]


def _one_genre(features: FeatureSet) -> Learnable:
    tracks = {split: features.usable(split) for split in _LEARNT_FROM}
    counts = collections.Counter(tracks["training"].column("genre").to_pylist())
    genres = class_order(counts)
    there = set(tracks["validation"].column("genre").to_pylist())
    _check_validation(features, genres, there)
    if len(genres) < 2:
        raise UserError(f"every training track of {features.uri} is {genres[0]}: give tracks of two genres or more")
    doubts = []
    if missing := [genre for genre in genres if genre not in there]:
        doubts.append(f"no validation track is {', '.join(missing)}: how well these are learnt will not be seen")
    if unknown := sorted(there - set(genres)):
        doubts.append(f"no training track is {', '.join(unknown)}: validation tracks of these are left out")
    return Learnable(genres, [counts[genre] for genre in genres], tracks, doubts)


def _several_genres(features: FeatureSet) -> Learnable:
    tree = dict(features.genre_parents)
    tracks = {split: features.usable(split, "genres") for split in _LEARNT_FROM}
    if tracks["training"].column("genres").null_count == len(tracks["training"]):
        raise UserError(
            f"no training track of {features.uri} has a list of genres: extract from a manifest with a column genres, "
            "or with --fma-metadata; or train with --labels genre"
        )
    sets = {split: all_genres(rows, tree) for split, rows in tracks.items()}
    counts, there = (collections.Counter(g for names in sets[split] for g in names or ()) for split in _LEARNT_FROM)
    genres = class_order(genre for genre, n in counts.items() if n >= LEAST_TRACKS)
    if len(genres) < 2:
        raise UserError(
            f"fewer than two genres have {LEAST_TRACKS} training tracks or more in {features.uri}: give more tracks"
        )
    _check_validation(features, genres, there)
    known = {split: _with_any(rows, sets[split], genres) for split, rows in tracks.items()}
    doubts = []
    if rare := class_order({*counts, *there} - set(genres)):
        left = sum(len(tracks[split]) - len(known[split]) for split in _LEARNT_FROM)
        also = f", and so are {left:,} tracks that have no other" if left else ""
        doubts.append(f"fewer than {LEAST_TRACKS} training tracks are {_names(rare)}: these are left out{also}")
    if missing := [genre for genre in genres if genre not in there]:
        doubts.append(f"no validation track is {_names(missing)}: how well these are learnt will not be seen")
    return Learnable(genres, [counts[genre] for genre in genres], known, doubts, tree)


def _with_any(rows: pa.Table, sets: Sequence[list[str] | None], genres: Iterable[str]) -> pa.Table:
    wanted = set(genres)
    return rows.filter(pa.array([bool(wanted.intersection(names or ())) for names in sets]))


def _check_validation(features: FeatureSet, genres: Iterable[str], there: Iterable[str]) -> None:
    if not set(genres) & set(there):
        raise UserError(f"no validation track of {features.uri} is of a genre that the training tracks have")


def _names(genres: Sequence[str]) -> str:
    more = f" and {len(genres) - _NAMED} more" if len(genres) > _NAMED else ""
    return ", ".join(genres[:_NAMED]) + more
