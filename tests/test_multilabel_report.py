import json

import numpy as np
import pyarrow as pa
import pytest
from test_report import HOSTILE, Page

from genreray import plots, storage, tables
from genreray.multilabel_metrics import evaluate
from genreray.multilabel_report import render, surprises, write_report
from genreray.report import ReportContext

HISTORY = [
    {
        "epoch": i,
        "training_loss": 1 / i,
        "validation_loss": 1.1 / i,
        "validation_mean_average_precision": 0.5,
        "seconds": 9,
    }
    for i in (1, 2, 3)
]
NAMES = ["Jazz", "Oi", "Punk", "Rock", "Ska"]
TREE = {"Oi": "Punk", "Punk": "Rock"}


def made(names=NAMES, n=80, seed=0):
    """Scores of some tracks, and the rows of PREDICTIONS that they are of; the last genre has no tracks."""
    rng = np.random.default_rng(seed)
    labels = rng.random((n, 5)) < (0.4, 0.1, 0.2, 0.5, 0.0)
    labels[:, 0] |= ~labels.any(axis=1)
    p = 1 / (1 + np.exp(-rng.normal(1.5 * labels - 1, 1.0)))
    scores = evaluate(p, labels, p > 0.5, [0.5] * 5, names, resamples=20)
    rows = [
        {
            "track_id": f"{i:04d}",
            "uri": f"/{i}.mp3",
            "status": "ok",
            "probabilities": [{"genre": names[j], "probability": p[i, j]} for j in np.argsort(-p[i])],
            "true_genres": [name for name, has in zip(names, labels[i], strict=True) if has],
        }
        for i in range(n)
    ]
    return scores, pa.Table.from_pylist(rows, schema=tables.predictions(False, True))


def context(**values):
    settings = {"model": {"name": "mel_cnn"}, "calibration": {"temperature": 1.25}}
    about = {
        "model": "mel_cnn",
        "checkpoint": "run (1a2b)",
        "features": "features",
        "split": "test",
        "history": HISTORY,
    }
    about |= {"split_method": "official", "best_epoch": 2, "settings": settings, "versions": {"genreray": "0.1.0"}}
    return ReportContext(**{**about, "statuses": {"ok": 81, "silent": 1}, **values})


def test_the_page_shows_every_number_and_the_tree():
    scores, rows = made()
    page = Page(render(scores, context(), TREE, rows))
    text = " ".join(" ".join(page.texts).split())
    assert f"{scores.mean_average_precision:.3f}" in text
    assert f"{scores.mean_average_precision_interval[0]:.3f} to {scores.mean_average_precision_interval[1]:.3f}" in text
    assert f"{scores.roc_auc:.3f}" in text
    assert "temperature of 1.25" in text
    assert "not scored: Ska" in text
    assert "1 decoded track has no genre that the model knows" in text
    heads = [
        attributes["class"] for tag, attributes in page.elements if tag == "th" and attributes.get("scope") == "row"
    ]
    assert heads == ["d0", "d0", "d1", "d2"]
    assert text.index("Jazz") < text.index("Rock") < text.index("Punk") < text.index("Oi")


def test_the_page_needs_nothing_else_and_has_its_plots():
    page = Page(render(*args()))
    assert not [a for _, a in page.elements if any(name in a for name in ("src", "onclick", "onload"))]
    assert sum(tag == "svg" for tag, _ in page.elements) == 3
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def args(**values):
    scores, rows = made()
    return scores, context(**values), TREE, rows


def test_names_are_shown_as_text():
    scores, rows = made(HOSTILE)
    ids = pa.array([f"{HOSTILE[i % len(HOSTILE)]} {i}" for i in range(len(rows))])
    rows = rows.set_column(rows.schema.get_field_index("track_id"), "track_id", ids)
    page = Page(render(scores, context(model=HOSTILE[0]), {HOSTILE[1]: HOSTILE[0]}, rows))
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "img"}
    assert HOSTILE[0] in " ".join(page.texts)


@pytest.mark.parametrize("tree", [{}, TREE])
def test_the_same_scores_give_the_same_page(tree):
    scores, rows = made()
    assert render(scores, context(), tree, rows) == render(scores, context(), tree, rows)


def test_without_a_tree_or_a_history_the_page_says_nothing_of_them():
    scores, rows = made()
    text = " ".join(Page(render(scores, context(history=()), {}, rows)).texts)
    assert "order of the tree" not in text
    assert "epochs" not in text


def test_the_json_is_what_the_page_shows(tmp_path):
    scores, rows = made()
    write_report(str(tmp_path), scores, context(), TREE, rows)
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert written["mean_average_precision"] == scores.mean_average_precision
    assert written["per_genre"][4]["average_precision"] is None
    assert written["about"]["history"] == HISTORY
    assert storage.exists(str(tmp_path / "report.html"))


def test_surprises_are_each_tracks_greatest():
    ranked = [{"genre": "Rock", "probability": 0.9}, {"genre": "Jazz", "probability": 0.6}]
    rows = [
        {"track_id": "a", "probabilities": ranked, "true_genres": ["Jazz"]},
        {
            "track_id": "b",
            "probabilities": [{"genre": "Jazz", "probability": 0.8}, {**ranked[0], "probability": 0.7}],
            "true_genres": ["Jazz", "Rock"],
        },
        {"track_id": "c", "probabilities": ranked, "true_genres": ["Rock"]},
    ]
    unlabelled, doubted = surprises(rows)
    assert [(item["track_id"], item["genre"]) for item in unlabelled] == [("a", "Rock"), ("c", "Jazz")]
    assert [(item["track_id"], item["genre"]) for item in doubted] == [("a", "Jazz"), ("b", "Rock"), ("c", "Rock")]
    assert unlabelled[0]["genres"] == "Jazz"


def test_the_plot_names_the_genres_at_the_top_alone():
    svg = plots.precision_by_share(made()[0], ["Jazz", "Rock"])
    assert "Jazz" in svg
    assert ">Punk<" not in svg
