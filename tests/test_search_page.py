import dataclasses
import io
import re

import pytest
import searches
from rich.console import Console
from test_report import HOSTILE, VOID, Page

from genreray import models, search_page, search_plots, search_results, space, storage
from genreray.dimensions import Choice
from genreray.search_plots import is_share, words
from genreray.summary import Summary
from genreray.trials import Trial, TrialStatus

VOID.add("br")
SEARCH = searches.made_up()
# Most pages are made of two settings, as each plot takes a tenth of a second.
SMALL = dataclasses.replace(SEARCH, space={name: SEARCH.space[name] for name in ("learning_rate", "filters")})


def configs(search):
    return space.apply(search.winner.config, models.family(search.model))


@pytest.fixture(scope="module")
def html():
    return search_page.html(SEARCH, configs(SEARCH))


def text(html: str) -> str:
    return " ".join(" ".join(Page(html).texts).split())


def table(html: str, heading: str) -> list[list[str]]:
    """The cells of the table below a heading, row by row."""
    found = re.search(rf"<h2>{heading}</h2>.*?<tbody>(.*?)</tbody>", html, re.DOTALL)
    return [
        [re.sub(r"<.*?>", "", cell) for cell in re.findall(r"<td.*?>(.*?)</td>", row, re.DOTALL)]
        for row in re.findall(r"<tr.*?</tr>", found.group(1), re.DOTALL)
    ]


def test_what_a_search_comes_to_is_worked_out_by_hand():
    ended = [t for t in SEARCH.trials if t.status is not TrialStatus.FAILED]
    by_loss = sorted(ended, key=lambda t: min(e["calibrated_loss"] for e in t.history))
    assert [t.trial_id for t in SEARCH.scored] == [t.trial_id for t in by_loss]
    assert SEARCH.winner is by_loss[0]
    assert SEARCH.default is SEARCH.trials[0]
    values = [min(e["calibrated_loss"] for e in t.history) for t in by_loss]
    assert SEARCH.median == pytest.approx((values[10] + values[11]) / 2)
    assert SEARCH.counts == {"finished": 10, "stopped": 12, "failed": 2}
    assert SEARCH.saved == pytest.approx(1 - sum(len(t.history) for t in ended) / (22 * 12))
    assert SEARCH.n_epochs == sum(len(t.history) for t in SEARCH.trials)


def test_by_accuracy_the_highest_is_the_best():
    search = dataclasses.replace(SEARCH, metric="validation_accuracy")
    values = [search.value(trial) for trial in search.scored]
    assert values == sorted(values, reverse=True)
    assert search.winner is search.scored[0]


def test_the_page_needs_nothing_else_and_its_tags_match(html):
    page = Page(html)
    assert not [tag for tag, _ in page.elements if tag in ("script", "link", "img", "iframe")]
    assert not re.findall(r"""(?:src|href)=["'](?!#)""", html)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert html.count("<svg") == 2 + len(space.varied(SEARCH.space))


def test_the_numbers_are_the_searchs(html):
    best = SEARCH.winner
    shown = text(html)
    assert f"The best calibrated loss {SEARCH.value(best):.3f} trial {best.trial_id}, epoch" in shown
    assert f"Default {SEARCH.value(SEARCH.default):.3f} trial 000" in shown
    assert f"Median trial {SEARCH.median:.3f} of 22" in shown
    assert "24 trials: 10 finished, 12 stopped, 2 failed" in shown
    assert f"{100 * SEARCH.saved:.0f} % fewer" in shown


def test_all_trials_are_in_the_table_the_best_first(html):
    rows = table(html, "All trials")
    assert [row[0].removesuffix(" (default)") for row in rows] == [
        *(t.trial_id for t in SEARCH.scored),
        *(t.trial_id for t in SEARCH.trials if t.status is TrialStatus.FAILED),
    ]
    assert rows[0][3] == f"{SEARCH.value(SEARCH.winner):.3f}"
    assert table(html, "What failed")[0][2] == "the loss was not a finite number in epoch 2"


def test_the_best_stands_beside_the_default(html):
    rows = {row[0]: row[1:] for row in table(html, "The best beside the default")}
    assert set(rows) == set(SEARCH.space)
    assert rows["learning_rate"] == ["0.0001", f"{SEARCH.winner.config['learning_rate']:.4g}", "3e-05 to 0.003 (log)"]
    assert rows["filters"][0] == "8 16 64 128"


def test_the_test_score_is_apart_and_only_the_winners(html):
    assert "Not scored. No trial has seen the test split." in text(html)
    scored = [
        dataclasses.replace(t, test={"accuracy": 0.612, "macro_f1": 0.5}) if t is SEARCH.winner else t
        for t in SEARCH.trials
    ]
    page = search_page.html(dataclasses.replace(SMALL, trials=scored))
    section = page.split("<h2>On test</h2>")[1].split("</section>")[0]
    assert "61.2\u202f%" in section
    assert page.count("61.2\u202f%") == 1
    assert "the default" not in section
    scored[0] = dataclasses.replace(scored[0], test={"accuracy": 0.423})
    page = search_page.html(dataclasses.replace(SMALL, trials=scored))
    assert "the default 42.3\u202f%" in page.split("<h2>On test</h2>")[1].split("</section>")[0]


@pytest.mark.parametrize("metric", ["validation_accuracy", "validation_mean_average_precision"])
def test_any_metric_makes_a_page(metric):
    search = dataclasses.replace(SMALL, metric=metric)
    shown = text(search_page.html(search))
    assert words(metric) in shown
    if metric == "validation_mean_average_precision":  # which one genre a track has not
        assert "No trial was scored" in shown
    else:
        assert "What mattered" in shown
        assert ("higher is better" in shown) == is_share(metric)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_a_search_that_has_hardly_begun_makes_a_page(n):
    search = dataclasses.replace(SMALL, trials=SMALL.trials[:n], default_id=None)
    shown = text(search_page.html(search))
    assert ("No trial was scored" in shown) == (n == 0)
    assert ("From 10 scored trials on" in shown) == (n > 0)


def test_when_all_failed_the_page_says_why():
    failed = [
        Trial(trial_id=str(i), model="mel_cnn", config={}, status=TrialStatus.FAILED, error="out of memory")
        for i in range(3)
    ]
    shown = text(search_page.html(dataclasses.replace(SMALL, trials=failed)))
    assert "No trial was scored" in shown
    assert shown.count("out of memory") == 3


def test_one_trial_that_is_far_off_does_not_flatten_the_others():
    """The axis of losses ends near the others."""
    far = Trial(
        trial_id="far",
        model="mel_cnn",
        config=SEARCH.trials[0].config,
        status=TrialStatus.FINISHED,
        history=[searches.epoch(1, 5e4, 0.1)],
    )
    page = search_page.html(dataclasses.replace(SMALL, trials=[*SMALL.trials, far]))
    drawn = page.split("<h2>Course</h2>")[1].split("</figure>")[0]
    assert "50000" not in drawn
    assert "2.5" in drawn


def test_what_comes_from_outside_is_escaped():
    nasty = [
        dataclasses.replace(
            trial,
            trial_id=f"{i}{hostile}",
            config={**trial.config, "batch_size": hostile},
            error=hostile if i == 4 else None,
            status=TrialStatus.FAILED if i == 4 else TrialStatus.FINISHED,
        )
        for i, (trial, hostile) in enumerate(zip(SEARCH.trials, [*HOSTILE, *HOSTILE, *HOSTILE], strict=False))
    ]
    search = dataclasses.replace(
        SEARCH,
        model=HOSTILE[0],
        features=HOSTILE[1],
        split_method=HOSTILE[3],
        algorithm=HOSTILE[4],
        created=HOSTILE[2],
        versions={HOSTILE[0]: HOSTILE[1]},
        default_id=f"0{HOSTILE[0]}",
        space={"batch_size": Choice(tuple(HOSTILE)), HOSTILE[0]: Choice((1, 2))},
        trials=[dataclasses.replace(trial, config={**trial.config, HOSTILE[0]: 1}) for trial in nasty],
    )
    html = search_page.html(search)
    page = Page(html)
    assert not [tag for tag, _ in page.elements if tag in ("script", "img", "b")]
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert "{{ 7 * 7 }}" in " ".join(page.texts)


def test_it_is_written_where_the_search_is(tmp_path):
    search_page.write(str(tmp_path), dataclasses.replace(SMALL, trials=[]), None)
    with storage.open_file(str(tmp_path / "report.html")) as file:
        assert b"Search of mel_cnn" in file.read()


def test_the_axis_reaches_to_the_default_however_far_off_it_is():
    near = [
        dataclasses.replace(trial, history=[searches.epoch(1, 1 + i / 50, 0.5)], status=TrialStatus.FINISHED)
        for i, trial in enumerate(SEARCH.trials[:10])
    ]
    default = dataclasses.replace(near[0], history=[searches.epoch(1, 3.0, 0.1)])
    plot = search_plots.course(dataclasses.replace(SMALL, trials=[default, *near[1:]]))
    assert {"1.00", "3.00"} <= set(re.findall(r">([\d.]+)</text>", plot))  # of the marks on the axis


def test_the_last_screen_has_what_was_found_in_plain_lines():
    shown = io.StringIO()
    Summary("tune", "/run", 5.0, {}, search_results.facts(SEARCH)).show(Console(file=shown, width=80, highlight=False))
    lines = dict(line.split("  ", 1) for line in shown.getvalue().splitlines() if line)
    assert lines["median"].strip() == f"calibrated_loss {SEARCH.median:.3f}"
    filters = "-".join(map(str, SEARCH.winner.config["filters"]))
    assert lines["settings"].strip().startswith(f"filters {filters}, kernel_size ")
