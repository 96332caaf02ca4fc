"""A catalog's own names for a checkpoint's genres: renamed, merged, ignored."""

import csv
import dataclasses
import difflib
import io
from collections.abc import Mapping, Sequence
from typing import Self

from genreray import storage
from genreray.errors import UserError

_COLUMNS = ["genre", "name"]


@dataclasses.dataclass(frozen=True)
class GenreMap:
    """The name of each genre that has another; None where it is ignored."""

    names: Mapping[str, str | None]

    @classmethod
    def read(cls, uri: str, genres: Sequence[str]) -> Self:
        """Return the map in a CSV (UTF-8) with the columns genre, one of `genres`, and name, empty to ignore it.

        Raises UserError, with its line, for a genre that there is not, or twice, and where no genre would be left.
        """
        names: dict[str, str | None] = {}
        for place, genre, name in _rows(uri):
            if genre not in genres:
                near = difflib.get_close_matches(genre, genres, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"its genres are {_some(genres)}"
                raise UserError(f"{place}: the checkpoint has no genre {genre!r}: {hint}")
            if genre in names:
                raise UserError(f"{place}: the genre {genre!r} is there twice: leave one")
            if not name.isprintable():
                raise UserError(f"{place}: the name {name!r} holds what cannot be printed: give plain text")
            names[genre] = name or None
        if all(names.get(genre, genre) is None for genre in genres):
            raise UserError(f"{uri} ignores every genre of the checkpoint: leave one")
        return cls(names)

    def name(self, genre: str) -> str | None:
        """Return what a genre is called, None where it is ignored."""
        return self.names.get(genre, genre)


def _rows(uri: str) -> list[tuple[str, str, str]]:
    """Return where each row is, its genre and its name."""
    with storage.open_file(uri) as file:
        content: bytes = file.read()
    try:
        reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        header = [cell.strip() for cell in next(reader, [])]
        if header != _COLUMNS:
            raise UserError(f"{uri} begins with {','.join(header)!r}: its first line must be 'genre,name'")
        rows = []
        for row in reader:
            place = f"{uri}, line {reader.line_num}"
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if len(cells) != len(_COLUMNS) or not cells[0]:
                raise UserError(f"{place}: give a genre and a name (a text with a comma in quotes)")
            rows.append((place, cells[0], cells[1]))
        return rows
    except UnicodeDecodeError as error:
        raise UserError(f"{uri} is not UTF-8 (byte {error.start}): save it as UTF-8") from None
    except csv.Error as error:
        raise UserError(f"{uri} is not valid CSV: {error}") from None


def _some(genres: Sequence[str]) -> str:
    return ", ".join(genres[:20]) + (", ..." if len(genres) > 20 else "")
