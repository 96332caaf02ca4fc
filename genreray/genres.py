"""Genres as names: the order of the classes, and FMA's tree of genres (parents and children)."""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from genreray.errors import UserError

_NO_PARENT = 0  # what genres.csv writes for a top-level genre
_COLUMNS = ("genre_id", "parent", "title")


def class_order(genres: Iterable[str | None]) -> list[str]:
    """Return the distinct genres in the order of a model's classes: by code point, so case-sensitive.

    The order depends on which genres there are, never on the order of the rows. None is no genre.
    """
    return sorted({genre for genre in genres if genre is not None})


def all_of(genre: str | None, genres: Iterable[str | None] | None, parents: Mapping[str, str]) -> set[str]:
    """Return every genre of a track: its `genre`, its `genres`, and what is above them in `parents` (by child)."""
    found: set[str] = set()
    for one in (genre, *(genres or ())):
        while one is not None and one not in found:
            found.add(one)
            one = parents.get(one)
    return found


def tree_order(genres: Iterable[str], parents: Mapping[str, str]) -> list[tuple[str, int]]:
    """Return the genres with their depths (0 at the top), each before those below it, in class order among siblings.

    A genre whose parent is not among `genres` is at the top.
    """
    there = class_order(genres)
    below: dict[str | None, list[str]] = {}
    for genre in there:
        parent = parents.get(genre)
        below.setdefault(parent if parent in there else None, []).append(genre)
    ordered: list[tuple[str, int]] = []

    def add(parent: str | None, depth: int) -> None:
        for genre in below.get(parent, ()):
            ordered.append((genre, depth))
            add(genre, depth + 1)

    add(None, 0)
    return ordered


@dataclass(frozen=True)
class GenreTree:
    """Genres by title, each under at most one parent, with the numbers FMA gives them."""

    titles: Mapping[int, str]  # title by genre_id
    parents: Mapping[str, str | None]  # title of the parent by title, None at the top

    @classmethod
    def from_csv(cls, content: str | bytes, name: str = "genres.csv") -> Self:
        """Return the tree in FMA's genres.csv (columns genre_id, parent, title); `name` is for the errors.

        Raises UserError where it is something else, where two genres share an id or a title (their tracks
        could not be told apart), where a parent is missing, and where genres are their own ancestors.
        """
        titles: dict[int, str] = {}
        parent_ids: dict[int, int] = {}
        for genre_id, parent_id, title in _rows(content, name):
            if genre_id in titles:
                raise UserError(f"{name}: genre_id {genre_id} is there twice")
            titles[genre_id], parent_ids[genre_id] = title, parent_id
        ids: dict[str, int] = {}
        for genre_id, title in titles.items():
            if title in ids:
                raise UserError(f"{name}: genres {ids[title]} and {genre_id} are both called {title!r}")
            ids[title] = genre_id
        parents: dict[str, str | None] = {}
        for genre_id, parent_id in parent_ids.items():
            if parent_id != _NO_PARENT and parent_id not in titles:
                raise UserError(f"{name}: {titles[genre_id]!r} has the parent {parent_id}, and there is no such genre")
            parents[titles[genre_id]] = titles[parent_id] if parent_id != _NO_PARENT else None
        _refuse_cycles(parents, name)
        return cls(titles, parents)

    def parent(self, title: str) -> str | None:
        """Return the parent of a genre, None for a top-level one. Raises KeyError for an unknown title."""
        return self.parents[title]

    def children(self, title: str) -> list[str]:
        """Return the genres directly below a genre, in class order. Raises KeyError for an unknown title."""
        if title not in self.parents:
            raise KeyError(title)
        return class_order(child for child, parent in self.parents.items() if parent == title)

    def ancestors(self, title: str) -> list[str]:
        """Return the genres above a genre, the nearest first. Raises KeyError for an unknown title."""
        above = []
        parent = self.parents[title]
        while parent is not None:
            above.append(parent)
            parent = self.parents[parent]
        return above

    def top_level(self, title: str) -> str:
        """Return the top-level genre over a genre, itself where it is one. Raises KeyError as `parent`."""
        return (self.ancestors(title) or [title])[-1]

    def by_child(self) -> dict[str, str]:
        """Return the parent of each genre that has one."""
        return {title: parent for title, parent in self.parents.items() if parent is not None}


def _rows(content: str | bytes, name: str) -> list[tuple[int, int, str]]:
    """Return (genre_id, parent, title) of every genre in the CSV."""
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        if missing := [column for column in _COLUMNS if column not in (reader.fieldnames or ())]:
            raise UserError(f"{name} is not FMA's genres.csv: it lacks the column {missing[0]}")
        rows = []
        for row in reader:
            if not row["title"]:
                raise UserError(f"{name}, line {reader.line_num}: a genre without a title")
            rows.append((int(row["genre_id"]), int(row["parent"]), row["title"]))
        return rows
    except (ValueError, TypeError, csv.Error) as error:
        raise UserError(f"{name} is not FMA's genres.csv: {error}") from error


def _refuse_cycles(parents: Mapping[str, str | None], name: str) -> None:
    """Raise UserError where following the parents of a genre leads back to it."""
    ends: set[str] = set()  # genres known to lead to the top
    for title in parents:
        path: list[str] = []
        above: str | None = title
        while above is not None and above not in ends:
            if above in path:
                raise UserError(f"{name}: {above!r} is its own ancestor")
            path.append(above)
            above = parents[above]
        ends.update(path)
