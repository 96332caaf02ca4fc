"""The page of review in a real browser: opened as a file, worked with by keys alone, its corrections read back."""

import csv
import shutil

import pytest
import soundfile as sf
from reviewing import GENRES, HOSTILE, hostile_rows, row, write_tags

from genreray.catalog import read_catalog
from genreray.review import write_page

NEW = "=Näu <genre>"  # of one's own, and a formula to a spreadsheet


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    executable = next(filter(None, map(shutil.which, names)), None)
    if executable is None:
        pytest.skip("there is no Chromium to open pages in")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def tags(tmp_path_factory, tone):
    folder = tmp_path_factory.mktemp("tags")
    sf.write(folder / HOSTILE[-1], tone(22050, 4.0), 22050, format="WAV")
    bucket = row("in a bucket", 0.9, "s3://bucket/a.mp3")
    write_page(write_tags(folder, [*hostile_rows(folder), bucket]))
    return folder


@pytest.fixture
def page(browser, tags):
    """The page in a fresh profile, and what it did that it should not."""
    context = browser.new_context(accept_downloads=True)
    opened = context.new_page()
    opened.wrong = []
    opened.on("dialog", lambda dialog: (opened.wrong.append(dialog.message), dialog.dismiss()))
    opened.on("pageerror", lambda error: opened.wrong.append(str(error)))
    opened.on("request", lambda request: request.url.startswith("file:") or opened.wrong.append(request.url))
    opened.goto((tags / "review.html").as_uri())
    yield opened
    assert [what for what in opened.wrong if not what.startswith("blob:")] == []
    context.close()


def chosen(page) -> list[str]:
    """What each row's list shows, by row."""
    return page.locator(".row select").evaluate_all("lists => lists.map(l => l.selectedOptions[0].text)")


def wait_for(page, expression: str) -> None:
    """Playwright's own waiting evaluates a text in the page, which its policy forbids."""
    for _ in range(200):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(expression)


def test_hostile_names_are_shown_and_nothing_runs(page):
    names = [name.rsplit("/", 1)[-1] for name in HOSTILE]
    assert page.locator(".name").all_text_contents() == [*names, "a.mp3"]
    assert page.locator(".row").first.locator(".best bdi").all_text_contents() == [GENRES[0], *GENRES[1:]]
    assert page.evaluate("document.scripts.length") == 2
    assert page.evaluate("document.images.length") == 0


def test_choices_made_by_keys_come_back_as_a_manifest(page, tags, tmp_path):
    for key in ("j", "1", "2"):  # the first two tracks, each going on to the next
        page.keyboard.press(key)
    page.keyboard.press("n")
    page.keyboard.type(NEW)
    page.keyboard.press("Enter")
    page.keyboard.press("g")
    page.keyboard.type("Jaz")
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("3")
    page.keyboard.press("1")
    page.keyboard.press("k")
    page.keyboard.press("0")  # not this one after all
    page.keyboard.press("j")
    page.keyboard.press("4")
    expected = {
        HOSTILE[0]: GENRES[0],
        HOSTILE[1]: GENRES[0],
        HOSTILE[2]: NEW,
        HOSTILE[3]: "Jazz",
        HOSTILE[4]: GENRES[2],
        HOSTILE[6]: GENRES[3],
    }
    assert page.text_content("#count") == f"6 of {len(HOSTILE) + 1} chosen"
    page.focus("#save")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == "corrections.csv"
    download.value.save_as(tmp_path / "corrections.csv")
    rows = read_catalog(str(tmp_path / "corrections.csv")).to_pylist()
    assert {one["track_id"]: one["genre"] for one in rows} == expected
    assert {one["track_id"]: one["uri"] for one in rows} == {name: str(tags / name) for name in expected}
    with (tmp_path / "corrections.csv").open(encoding="utf-8-sig", newline="") as file:
        cells = [cell for line in csv.reader(file) for cell in line]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]


def test_the_arrow_that_is_shown_begins_the_list_once_it_is_seen(page):
    page.set_viewport_size({"width": 1100, "height": 400})
    page.keyboard.press("ArrowDown")
    assert page.locator(".row:focus").count() == 0
    page.locator(".row").first.scroll_into_view_if_needed()
    page.keyboard.press("ArrowDown")
    assert page.locator(".row:focus .name").text_content() == HOSTILE[0].rpartition("/")[2]
    page.keyboard.press("1")
    assert page.text_content("#count").startswith("1 of ")


def test_choices_outlive_a_reload_and_another_page(page, tags, tmp_path):
    page.keyboard.press("j")
    page.keyboard.press("2")
    page.keyboard.press("n")
    page.keyboard.type("Polka")
    page.keyboard.press("Enter")
    page.reload()
    assert chosen(page)[:3] == ["Hip-Hop", "Polka", "other genre"]
    assert page.get_by_role("button", name="Hip-Hop").first.get_attribute("aria-pressed") == "true"
    write_page(str(tags), str(tmp_path / "fewer.html"), n_tracks=1)
    page.goto((tmp_path / "fewer.html").as_uri())
    assert page.text_content("#count") == "1 of 1 chosen, 1 on earlier pages"


def test_a_track_is_heard_by_a_key_and_one_in_a_bucket_has_no_player(page):
    for _ in HOSTILE:
        page.keyboard.press("j")
    assert page.locator(".row:focus .name").text_content() == HOSTILE[-1]
    page.keyboard.press(" ")
    wait_for(page, "document.getElementById('player').currentTime > 0.05")
    page.get_by_role("button", name=f"Pause {HOSTILE[-1]}").wait_for()
    page.keyboard.press(" ")
    wait_for(page, "document.getElementById('player').paused")
    assert page.get_by_role("button", name="Play a.mp3").is_disabled()


def test_a_file_that_is_gone_is_said_to_be(page):
    page.keyboard.press("j")
    page.keyboard.press(" ")
    wait_for(page, "document.getElementById('said').textContent.startsWith('this browser cannot play')")
    assert page.locator(".row.broken .name").text_content() == HOSTILE[0].rsplit("/", 1)[-1]
