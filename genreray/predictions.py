"""PREDICTIONS as arrays: the form that scores are computed from."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from genreray.errors import Status


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
