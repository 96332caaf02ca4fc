import json
import re
from collections import Counter
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pytest

from genreray import plots, storage
from genreray.errors import Status, UserError
from genreray.metrics import evaluate
from genreray.report import Calibration, ReportContext, confident_mistakes, most_doubtful, render, write_report

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style></svg><b>bold</b>",
    "{{ 7 * 7 }} $\\frac{ & naïve ☃",
]
VOID = {"meta", "br"}
HISTORY = [
    {
        "epoch": epoch,
        "training_loss": 2.0 / epoch,
        "training_accuracy": 1 - 0.8 / epoch,
        "validation_loss": 2.2 / epoch,
        "validation_accuracy": 1 - 0.9 / epoch,
        "seconds": 65.0,
    }
    for epoch in (1, 2, 3)
]


class Page(HTMLParser):
    """What is in a page: its elements with their attributes and its visible text; raises where tags do not match."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.elements, self.open, self.texts = [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.texts)).replace("\u202f", " ")


def scores_of(genres, n=60, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(len(genres), size=n)
    logits = rng.normal(size=(n, len(genres)))
    logits[np.arange(n), labels] += 1.5
    return evaluate(np.exp(logits) / np.exp(logits).sum(1, keepdims=True), labels, genres, resamples=200)


def context_of(genres, **changes):
    row = {"track_id": "000002", "true_genre": genres[0], "genre": genres[-1], "confidence": 0.75}
    fields = {
        "model": "mel_cnn",
        "checkpoint": "run/best, sha256 0123456789ab",
        "features": "s3://bucket/features",
        "split": "test",
        "split_method": "artist-disjoint, stratified, seed 0",
        "statuses": {Status.OK: 62, Status.UNDECODABLE: 3},
        "failures": [{"track_id": "000009", "status": "undecodable", "error": "no audio stream"}],
        "history": HISTORY,
        "best_epoch": 2,
        "settings": {"model": {"channels": [8, 16], "dropout": 0.25}, "training": {"optimizer": {"name": "adam"}}},
        "mistakes": [row],
        "doubtful": [row],
        "versions": {"genreray": "0.1.0"},
    }
    return ReportContext(**{**fields, **changes})


GENRES = ["Blues", "Electronic", "Folk", "Jazz", "Rock"]


@pytest.fixture(scope="module")
def html():
    return render(scores_of(GENRES), context_of(GENRES))


def test_a_folder_that_cannot_be_written_is_a_user_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write_report(str(tmp_path / "file" / "report"), scores_of(GENRES), context_of(GENRES))


def test_headline_numbers_are_the_scores(html):
    scores, text = scores_of(GENRES), Page(html).text
    low, high = scores.accuracy_interval
    assert f"{100 * low:.1f} % to {100 * high:.1f} %" in text
    for share in (scores.accuracy, scores.majority_share, scores.top3_accuracy, scores.calibration_error):
        assert f"{100 * share:.1f} %" in text
    for value in (scores.macro_f1, scores.log_loss):
        assert f"{value:.3f}" in text
    assert f"always {scores.majority_genre}" in text


def test_page_tells_what_was_measured(html):
    text = Page(html).text
    for words in (
        "run/best, sha256 0123456789ab",
        "s3://bucket/features",
        "artist-disjoint, stratified, seed 0",
        "no audio stream",
        " 2 decoded tracks have no genre",
        "3 epochs in 3 min; the weights are those of epoch 2",
        "optimizer.name",
        "[8, 16]",
    ):
        assert words in text


def test_every_count_of_the_confusion_matrix_is_on_the_page(html):
    scores = scores_of(GENRES)
    shown = Counter(re.findall(r'title="(\w+) called (\w+): (\d+) of (\d+)', html))
    expected = Counter(
        (GENRES[i], GENRES[j], str(count), str(scores.per_genre[i].support))
        for i, row in enumerate(scores.confusion)
        for j, count in enumerate(row)
        if count
    )
    assert shown == expected


def test_page_asks_for_nothing_outside_itself(html):
    for tag, attributes in Page(html).elements:
        assert tag not in {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
        assert "src" not in attributes
        assert all(attributes.get(name, "#").startswith("#") for name in ("href", "xlink:href"))
    assert not re.search(r"https?:|@import|//\w", re.sub(r"s3://bucket", "", html))
    assert set(re.findall(r"url\((.)", html)) <= {"#"}


def test_page_forbids_its_reader_to_load_anything(html):
    policies = [a["content"] for tag, a in Page(html).elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_ids_are_unique_and_references_lead_to_them(html):
    elements = Page(html).elements
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    references = [attributes["href"][1:] for _, attributes in elements if "href" in attributes]
    assert references
    assert set(references) | set(re.findall(r"url\(#([^)]+)\)", html)) <= set(ids)


def test_style_uses_only_variables_that_it_defines(html):
    used, defined = set(re.findall(r"var\((--[\w-]+)", html)), set(re.findall(r"(--[\w-]+):", html))
    assert used <= defined


def test_curves_take_every_colour_from_the_page(html):
    curves = re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL)
    assert len(curves) == 4
    for svg in curves:
        assert set(re.findall(r"(?:fill|stroke): ?([^;\"]{3})", svg)) <= {"var", "non"}


def test_hostile_strings_are_text_and_nothing_else(tmp_path):
    scores = scores_of(HOSTILE)
    row = {"track_id": HOSTILE[0], "true_genre": HOSTILE[1], "genre": HOSTILE[2], "confidence": 0.5}
    context = context_of(
        HOSTILE,
        title=HOSTILE[0],
        model=HOSTILE[1],
        checkpoint=HOSTILE[2],
        features=HOSTILE[3],
        split=HOSTILE[0],
        split_method=HOSTILE[4],
        created=HOSTILE[0],
        statuses={HOSTILE[0]: 1},
        failures=[{"track_id": HOSTILE[0], "status": HOSTILE[1], "error": HOSTILE[3]}],
        settings={HOSTILE[0]: {HOSTILE[1]: HOSTILE[2], "nested": {HOSTILE[3]: [HOSTILE[0]]}}},
        versions={HOSTILE[0]: HOSTILE[1]},
        mistakes=[row],
        doubtful=[row],
    )
    hostile, harmless = Page(render(scores, context)), Page(render(scores_of(GENRES), context_of(GENRES)))
    assert {tag for tag, _ in hostile.elements} == {tag for tag, _ in harmless.elements}
    attributes = {name for _, attributes in hostile.elements for name in attributes}
    assert attributes == {name for _, attributes in harmless.elements for name in attributes}
    for string in HOSTILE:
        assert re.sub(r"\s+", " ", string) in hostile.text


@pytest.mark.parametrize("n_genres", [1, 2, 3, 16, 30, 161])
def test_any_number_of_genres_makes_a_page_of_moderate_size(n_genres):
    genres = [f"A genre of some length {i}" for i in range(n_genres)]
    html = render(scores_of(genres, n=2000), context_of(genres))
    Page(html)
    assert len(html.encode()) < 1_000_000


def test_rare_genres_are_summed_in_the_matrix_without_losing_a_track():
    genres = [f"G{i}" for i in range(60)]
    html = render(scores_of(genres, n=3000), context_of(genres))
    cells = re.findall(r'title="[\w ]+ called [\w ]+: (\d+) of', html)
    assert sum(map(int, cells)) == 3000
    assert "31 rarer genres" in Page(html).text


def test_genres_without_tracks_are_named_but_not_scored():
    scores = evaluate(np.eye(5)[[0, 0, 1]], np.array([0, 1, 1]), GENRES)
    text = Page(render(scores, context_of(GENRES))).text
    assert "Without a test track, and so not scored: Folk, Jazz, Rock." in text


@pytest.mark.parametrize(
    ("predictions", "words"),
    [([0, 0, 1, 1], "lies above"), ([1, 1, 0, 0], "below"), ([0, 1, 1, 0], "includes")],
)
def test_page_says_whether_the_model_beats_the_majority_guess(predictions, words):
    scores = evaluate(np.eye(2)[predictions * 25], np.array([0, 0, 1, 1] * 25), GENRES[:2])
    assert words in Page(render(scores, context_of(GENRES))).text


def test_a_page_needs_neither_history_nor_tables_of_tracks():
    bare = ReportContext(model="m", checkpoint="c", features="f", split="validation", split_method="random")
    text = Page(render(evaluate(np.eye(2), np.array([0, 1]), GENRES[:2]), bare)).text
    assert "2 validation tracks" in text
    assert "Training" not in text


def test_calibration_is_told_before_and_after():
    text = Page(render(scores_of(GENRES), context_of(GENRES, calibration=Calibration(1.337, 0.1234, 0.0321)))).text
    assert "a temperature of 1.34, fitted on validation" in text
    assert "12.3 % before and 3.2 % after" in text


def test_a_diverged_loss_and_a_missing_validation_set_are_drawn_without_a_warning(recwarn):
    history = [{"epoch": 1, "training_loss": 2.0, "training_accuracy": 0.1}, {"epoch": 2, "training_loss": np.nan}]
    page = Page(render(scores_of(GENRES), context_of(GENRES, history=history, best_epoch=None)))
    assert "2 epochs." in page.text
    assert not recwarn.list


def test_metrics_json_is_strict_and_holds_the_scores(tmp_path):
    def refuse(constant):
        raise AssertionError(constant)

    scores = scores_of(GENRES)
    history = [{"epoch": np.int64(1), "training_loss": float("nan"), "validation_loss": np.float32(0.5)}]
    settings = {"training": {"rate": float("inf"), "shape": (2, 3), "where": tmp_path}}
    write_report(str(tmp_path), scores, context_of(GENRES, history=history, settings=settings))
    value = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"), parse_constant=refuse)
    about = value.pop("about")
    assert value == scores.to_json()
    assert about["history"] == [{"epoch": 1, "training_loss": None, "validation_loss": 0.5}]
    assert about["settings"] == {"training": {"rate": None, "shape": [2, 3], "where": str(tmp_path)}}
    assert about["statuses"] == {"ok": 62, "undecodable": 3}


def test_the_same_input_gives_the_same_bytes(html):
    assert render(scores_of(GENRES), context_of(GENRES)) == html


def test_plots_leave_matplotlibs_settings_alone():
    def settings():
        return {name: value for name, value in dict.items(matplotlib.rcParams) if name != "backend"}

    before = settings()
    plots.coverage_curve(scores_of(GENRES))
    assert settings() == before


def test_mistakes_come_by_falling_and_doubts_by_rising_confidence():
    rows = [
        {"track_id": "a", "genre": "Rock", "true_genre": "Rock", "confidence": 0.9},
        {"track_id": "b", "genre": "Rock", "true_genre": "Jazz", "confidence": 0.4},
        {"track_id": "c", "genre": "Folk", "true_genre": "Jazz", "confidence": 0.8},
        {"track_id": "d", "genre": "Folk", "true_genre": "Folk", "confidence": 0.3},
        {"track_id": "e", "genre": "Folk", "true_genre": None, "confidence": 0.1},
        {"track_id": "f", "genre": None, "true_genre": "Folk", "confidence": 0.1},
    ]
    assert [row["track_id"] for row in confident_mistakes(rows)] == ["c", "b"]
    assert [row["track_id"] for row in most_doubtful(rows, limit=2)] == ["d", "b"]


def test_the_report_goes_to_any_storage():
    write_report("memory://reports/one", scores_of(GENRES), context_of(GENRES))
    assert "Macro F1" in storage.open_file("memory://reports/one/report.html", "r").read()
    assert storage.read_json("memory://reports/one/metrics.json")["n"] == 60
