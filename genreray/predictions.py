"""PREDICTIONS from probabilities, a track's columns at a time, and as arrays, from which scores are computed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from genreray import thresholds
from genreray.errors import Status
from genreray.hierarchy import Hierarchy

FILE_NAME = "predictions.parquet"
# In TAGS:
PREDICTIONS_FOLDER = "predictions"
REVIEW_FILE = "review.html"

Rows = list[dict[str, Any]]


def of_one_genre(probabilities: npt.NDArray[np.float32], genres: Sequence[str], top_k: int) -> Rows:
    """Return genre, confidence and the `top_k` best genres of each track; equal probabilities stay in class order."""
    rows = []
    for values in probabilities.tolist():
        order = sorted(range(len(genres)), key=lambda i: -values[i])[:top_k]
        rows.append(
            {"genre": genres[order[0]], "confidence": values[order[0]], "genres": _listed(order, values, genres)}
        )
    return rows


def of_several_genres(
    probabilities: npt.NDArray[np.float32],
    genres: Sequence[str],
    limits: Mapping[str, float],
    hierarchy: Hierarchy,
    to_score: bool,
) -> Rows:
    """Return genre, subgenre, confidence and genres of each track: all that their thresholds, `limits`, give it.

    `genre` is the most probable of them at the top of the tree, `subgenre` of those below it there, and each null where
    there is none. Of equally probable ones a parent comes before its child. With `to_score`, `probabilities` holds
    every genre.
    """
    decided = thresholds.decide(probabilities, np.array([limits[genre] for genre in genres]), hierarchy)
    rows = []
    for values, given in zip(probabilities.tolist(), decided.tolist(), strict=True):
        order = sorted(range(len(genres)), key=lambda i: (-values[i], hierarchy.depths[i]))
        chosen = [i for i in order if given[i]]
        first = next((i for i in chosen if hierarchy.depths[i] == 0), None)
        below = next((i for i in chosen if hierarchy.depths[i] > 0 and hierarchy.top(i) == first), None)
        row = {
            "genre": None if first is None else genres[first],
            "subgenre": None if below is None else genres[below],
            "confidence": None if first is None else values[first],
            "genres": _listed(chosen, values, genres),
        }
        rows.append({**row, "probabilities": _listed(order, values, genres)} if to_score else row)
    return rows


def _listed(order: Sequence[int], values: Sequence[float], genres: Sequence[str]) -> Rows:
    return [{"genre": genres[i], "probability": values[i]} for i in order]


def scored(predictions: pa.Table, genres: list[str]) -> pa.Table:
    """Return the rows that can be scored: predicted, and of a true genre that is among `genres`."""
    return predictions.filter(
        (pc.field("status") == Status.OK.value) & pc.is_in(pc.field("true_genre"), pa.array(genres))
    )


def arrays(rows: pa.Table, genres: list[str]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return the probabilities, float64 [n, n_genres], and labels, int64 [n], of scored rows, in class order."""
    place = {genre: i for i, genre in enumerate(genres)}
    probabilities = np.zeros((len(rows), len(genres)))
    for row, ranked in enumerate(rows.column("genres").to_pylist()):
        for item in ranked:
            probabilities[row, place[item["genre"]]] = item["probability"]
    labels = np.array([place[genre] for genre in rows.column("true_genre").to_pylist()], np.int64)
    # float32 probabilities of a softmax add up to 1 within 1e-6 only.
    return probabilities / probabilities.sum(axis=1, keepdims=True), labels


def scored_several(predictions: pa.Table, genres: Sequence[str]) -> pa.Table:
    """Return the rows that can be scored: predicted, and of one or more genres that are among `genres`."""
    known = set(genres)
    several = [bool(known.intersection(names or ())) for names in predictions.column("true_genres").to_pylist()]
    return predictions.filter(pc.and_(pc.equal(predictions.column("status"), Status.OK.value), pa.array(several)))


def arrays_several(
    rows: pa.Table, genres: Sequence[str]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return, each [n, n_genres] in class order, the probabilities, the labels and what was predicted."""
    place = {genre: i for i, genre in enumerate(genres)}
    shape = (len(rows), len(genres))
    probabilities, labels, decided = np.zeros(shape, np.float32), np.zeros(shape, bool), np.zeros(shape, bool)
    for i, row in enumerate(rows.select(["probabilities", "true_genres", "genres"]).to_pylist()):
        for item in row["probabilities"]:
            probabilities[i, place[item["genre"]]] = item["probability"]
        labels[i, [place[genre] for genre in row["true_genres"] if genre in place]] = True
        decided[i, [place[item["genre"]] for item in row["genres"]]] = True
    return probabilities, labels, decided
