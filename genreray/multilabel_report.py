"""report.html and metrics.json of a model of several genres a track."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from markupsafe import Markup

from genreray import pages, plots, storage
from genreray.genres import tree_order
from genreray.multilabel_metrics import MultiLabelScores
from genreray.report import HTML_NAME, METRICS_NAME, ReportContext, metrics_json, shared_values

_SHOWN_TRACKS = 15


def write_report(
    folder_uri: str, scores: MultiLabelScores, context: ReportContext, tree: Mapping[str, str], scored: pa.Table
) -> None:
    """Write report.html, which needs no other file, and metrics.json into the folder.

    `tree` is the parent of each genre by child; `scored` are the rows of PREDICTIONS, with those of tables.TO_SCORE,
    that the scores are of. Raises UserError where they cannot be written.
    """
    storage.write_text(storage.join(folder_uri, HTML_NAME), render(scores, context, tree, scored))
    storage.write_json(storage.join(folder_uri, METRICS_NAME), metrics_json(scores, context))


def render(scores: MultiLabelScores, context: ReportContext, tree: Mapping[str, str], scored: pa.Table) -> str:
    """Return the page as HTML."""
    by_name = {genre.genre: genre for genre in scores.per_genre}
    ordered = tree_order(scores.genres, tree)
    top_level = [genre for genre, depth in ordered if depth == 0]
    there = [(by_name[genre], depth) for genre, depth in ordered if by_name[genre].support]
    curves = {"precision": plots.precision_by_share(scores, top_level)}
    if context.history:
        for name in ("loss", "mean_average_precision"):
            curves[name] = plots.training_curve(context.history, name, context.best_epoch)
    unlabelled, doubted = surprises(scored.select(["track_id", "probabilities", "true_genres"]).to_pylist())
    return pages.render(
        "multilabel.html",
        s=scores,
        c=context,
        ordered=there,
        has_tree=len(top_level) < len(ordered),
        absent=[genre for genre, _ in ordered if not by_name[genre].support],
        curves={name: Markup(svg) for name, svg in curves.items()},
        unlabelled=unlabelled,
        doubted=doubted,
        temperature=context.settings.get("calibration", {}).get("temperature"),
        **shared_values(context, scores.n),
    )


def surprises(
    rows: Sequence[Mapping[str, Any]], limit: int = _SHOWN_TRACKS
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the most probable genres that tracks do not have, and the least probable of those that they have.

    Each track is in a list once, by its greatest surprise.
    """
    unlabelled, doubted = [], []
    for row in rows:
        own = set(row["true_genres"])
        shown = {"track_id": row["track_id"], "genres": ", ".join(row["true_genres"])}
        others = [item for item in row["probabilities"] if item["genre"] not in own]
        known = [item for item in row["probabilities"] if item["genre"] in own]
        if others:
            unlabelled.append({**shown, **others[0]})
        if known:
            doubted.append({**shown, **known[-1]})
    unlabelled.sort(key=lambda item: (-item["probability"], item["track_id"]))
    doubted.sort(key=lambda item: (item["probability"], item["track_id"]))
    return unlabelled[:limit], doubted[:limit]
