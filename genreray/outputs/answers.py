"""PREDICTIONS as people get them: by the catalog's own names, the best few genres a track."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from genreray import parts, tables
from genreray.errors import Status
from genreray.outputs.genre_map import GenreMap

Row = dict[str, Any]  # of PREDICTIONS
_Ranked = list[tuple[str, float]]


@dataclasses.dataclass(frozen=True)
class View:
    """What is shown of predictions; nothing in PREDICTIONS changes with it.

    `top_k` genres a track, or where that is None, as of models of several genres a track, all that are there.
    """

    top_k: int | None
    names: GenreMap | None = None
    parents: Mapping[str, str] = dataclasses.field(default_factory=dict)  # by child, of models of several genres
    min_confidence: float = 0.0  # below it a track has no genre

    def rows(self, files: Sequence[str], columns: Sequence[str] = tables.PREDICTIONS.names) -> Iterator[list[Row]]:
        """Yield the rows of each part, with genre, confidence and genres as people get them."""
        for table in parts.one_by_one(files, columns):
            yield [self.row(row) for row in table.to_pylist()]

    def row(self, row: Row) -> Row:
        """Return a row of PREDICTIONS with genre, subgenre, confidence and genres as people get them.

        Genres of one name are one. Of models of one genre a track, which exclude each other, their probabilities add
        up; a track whose best genre is ignored has none. Of several genres a track they can all be so: the highest
        counts, which is what a genre and those below it have together, and ignored ones are left out. The subgenre is
        the best one below the genre that has another name than that.
        A track whose genre is null, as the model abstained, stays so; one whose confidence is below `min_confidence`
        has none, and keeps its confidence and genres. `abstained` says of a decoded track that it has none.
        """
        row = self._by_names(row)
        doubtful = row["confidence"] is not None and row["confidence"] < self.min_confidence
        genre = None if doubtful else row["genre"]
        subgenre = None if genre is None else row.get("subgenre")
        is_abstained = row["status"] == Status.OK.value and genre is None
        return {**row, "genre": genre, "subgenre": subgenre, "abstained": is_abstained}

    def _by_names(self, row: Row) -> Row:
        if not row["genres"] or self.names is None:
            return row if not row["genres"] or self.top_k is None else {**row, "genres": row["genres"][: self.top_k]}
        ranked = [(found["genre"], found["probability"]) for found in row["genres"]]
        if self.top_k is None:
            best = [item for item in ranked if self._is_top(item[0], ranked)]
            shown, first = self._named(ranked, add=False), next(iter(self._named(best, add=False)), None)
            row = {**row, "subgenre": None if first is None else self._subgenre(first[0], ranked)}
        else:
            shown = self._named(ranked, add=True)
            ignored = max((value for genre, value in ranked if self.names.name(genre) is None), default=0.0)
            first = shown[0] if shown and shown[0][1] >= ignored else None
            shown = shown[: self.top_k]
        genre, confidence = (None, None) if first is None or row["genre"] is None else first
        listed = [{"genre": name, "probability": value} for name, value in shown]
        return {**row, "genre": genre, "confidence": confidence, "genres": listed}

    def _named(self, ranked: _Ranked, *, add: bool) -> _Ranked:
        """Return the names with their probabilities, the best first; equal ones in the order that they had."""
        assert self.names is not None
        found: dict[str, float] = {}
        for genre, value in ranked:
            if (name := self.names.name(genre)) is not None:
                found[name] = found.get(name, 0.0) + value if add else max(found.get(name, 0.0), value)
        return sorted(((name, min(value, 1.0)) for name, value in found.items()), key=lambda item: -item[1])

    def _subgenre(self, genre: str, ranked: _Ranked) -> str | None:
        """Return the name of the best of those below a genre that is not the genre's own name."""
        assert self.names is not None
        below = [item for item in ranked if self.names.name(self._top(item[0], ranked)) == genre]
        return next((name for name, _ in self._named(below, add=False) if name != genre), None)

    def _top(self, genre: str, ranked: _Ranked) -> str:
        while not self._is_top(genre, ranked):
            genre = self.parents[genre]
        return genre

    def _is_top(self, genre: str, ranked: _Ranked) -> bool:
        return self.parents.get(genre) not in {other for other, _ in ranked}
