import dataclasses
import io
import json

import pytest
import searches
from rich.console import Console
from test_report import HOSTILE, Page

from genreray import tuned_page
from genreray.search_report import SearchReport
from genreray.summary import show_table
from genreray.trials import Trial, TrialStatus
from genreray.tuned import Tuned, TunedModels


def search(model: str, *losses: float | None, **test: float) -> SearchReport:
    """A search of which the first trial is the default; None has failed."""
    trials = [
        Trial(trial_id=str(i), model=model, config={"dropout": i / 10}, status=TrialStatus.FAILED, error=f"error {i}")
        if loss is None
        else Trial(
            trial_id=str(i),
            model=model,
            config={"dropout": i / 10},
            status=TrialStatus.FINISHED,
            history=[searches.epoch(k, loss + 2 - k, 0.9 - loss / 4) for k in (1, 2)],
            test={"accuracy": test[f"t{i}"]} if f"t{i}" in test else {},
        )
        for i, loss in enumerate(losses)
    ]
    full = searches.made_up(n=1)
    return dataclasses.replace(full, model=model, trials=trials, space={}, default_id="0", epochs=2)


ROWS = [
    Tuned.of(search("mlp", 1.4, None, 1.2, 1.3, t0=0.5, t2=0.55), 60),
    Tuned.of(search("crnn", 1.0, 0.9, t0=0.6, t1=0.64), 3600),
    Tuned.of(search("mel_cnn", None, 1.1, t1=0.57), 240),
    Tuned.of(search("mfcc_cnn", None, None), 5),
    Tuned.failed_at_once("stacked_cnn", "the layers need longer crops"),
]
TUNED = TunedModels("/features", "official", "calibrated_loss", ROWS, [row.name for row in ROWS] + ["forest"])


def test_a_row_is_the_best_beside_the_default():
    row = ROWS[0]
    assert (row.name, row.trials, row.failed, row.epochs, row.seconds) == ("mlp", 4, 1, 6, 60)
    assert (row.default["calibrated_loss"], row.best["calibrated_loss"]) == pytest.approx((1.4, 1.2))
    assert (row.default_test, row.best_test, row.error) == ({"accuracy": 0.5}, {"accuracy": 0.55}, None)
    assert ROWS[2].default == {}
    assert (ROWS[3].best, ROWS[3].error) == ({}, "error 1")


def test_the_best_architecture_is_first_by_the_metric_and_what_failed_is_last():
    assert [row.name for row in TUNED.ranked] == ["crnn", "mel_cnn", "mlp", "mfcc_cnn", "stacked_cnn"]
    by_accuracy = dataclasses.replace(TUNED, metric="validation_accuracy")
    assert [row.name for row in by_accuracy.ranked][:3] == ["crnn", "mel_cnn", "mlp"]
    assert TUNED.missing == ["forest"]


def test_the_table_in_markdown_has_every_number():
    lines = tuned_page.markdown(TUNED).splitlines()
    assert "| crnn | 1.000 | 0.900 | 60.0\u202f% | 64.0\u202f% | 2 | 4 | 3,600 s |" in lines
    assert "| mlp | 1.400 | 1.200 | 50.0\u202f% | 55.0\u202f% | 4 (1 failed) | 6 | 60 s |" in lines
    assert "| mel_cnn | – | 1.100 | – | 57.0\u202f% | 2 (1 failed) | 2 | 240 s |" in lines
    assert "- stacked_cnn: the layers need longer crops" in lines
    assert "- still to come: forest" in lines


def test_the_page_and_the_json_say_the_same(tmp_path):
    tuned_page.write(str(tmp_path), TUNED)
    page = Page((tmp_path / "tuned.html").read_text(encoding="utf-8"))
    shown = " ".join(" ".join(page.texts).split())
    assert "crnn 1.000 0.900 60.0 % 64.0 % 2 4 3,600 s" in shown
    assert "Still to come forest" in shown
    found = json.loads((tmp_path / "tuned.json").read_text(encoding="utf-8"))
    assert found["rows"][1]["best_test"] == {"accuracy": 0.64}
    assert found["wanted"][-1] == "forest"
    assert (tmp_path / "tuned.md").read_text(encoding="utf-8") == tuned_page.markdown(TUNED)


@pytest.mark.parametrize("rows", [[], ROWS[3:]])
def test_a_table_without_a_winner_is_a_page(rows):
    html = tuned_page.html(dataclasses.replace(TUNED, rows=rows))
    assert "<svg" not in html
    Page(html)


@pytest.mark.parametrize(("is_terminal", "n_columns"), [(True, 5), (False, 8)])
def test_a_narrow_terminal_shows_names_and_scores_whole(is_terminal, n_columns):
    rows = [dataclasses.replace(ROWS[1], name="short_chunk_resnet_small"), *ROWS[:1]]
    cells = [tuned_page.cells(row, TUNED) for row in rows]
    shown = io.StringIO()
    console = Console(file=shown, width=80, force_terminal=is_terminal, no_color=True, highlight=False)
    show_table(tuned_page.columns(TUNED), cells, console, spare=("trials", "epochs", "time"))
    lines = shown.getvalue().splitlines()
    assert [" ".join(line.split()) for line in lines[-2:]] == [
        " ".join(" ".join(row[:n_columns]).split()) for row in cells
    ]


def test_several_genres_a_track_are_scored_by_mean_average_precision():
    rows = [dataclasses.replace(row, best_test={"mean_average_precision": 0.3}, default_test={}) for row in ROWS[:2]]
    tuned = dataclasses.replace(TUNED, rows=rows)
    assert "| crnn | 1.000 | 0.900 | – | 30.0\u202f% |" in tuned_page.markdown(tuned)
    assert "test mean average precision, tuned" in tuned_page.markdown(tuned)


def test_what_comes_from_outside_is_escaped():
    rows = [dataclasses.replace(ROWS[0], name=name, error=name) for name in HOSTILE]
    page = Page(tuned_page.html(TunedModels(HOSTILE[0], HOSTILE[1], "calibrated_loss", rows, HOSTILE[:2])))
    assert not [tag for tag, _ in page.elements if tag == "script"]
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
