import urllib.parse
from pathlib import Path

import pytest

from genreray.links import link, origin


@pytest.mark.parametrize(
    "name", ["a.mp3", "50% of #1?.mp3", "Ólafur <b>&amp;\"'.mp3", "a:b.mp3", "%41.mp3", "a\u2028b.mp3"]
)
def test_a_link_leads_from_the_page_to_the_file_as_browsers_resolve_it(name):
    found = link(f"/music/Jazz & more/{name}", "/home/me/tags")
    resolved = urllib.parse.urlsplit(urllib.parse.urljoin("file:///home/me/tags/review.html", found))
    assert (resolved.scheme, resolved.query, resolved.fragment) == ("file", "", "")
    assert urllib.parse.unquote(resolved.path) == f"/music/Jazz & more/{name}"
    assert found.isascii()


def test_a_file_beside_the_page_is_no_scheme():
    found = link("/tags/javascript:alert(1)", "/tags")
    assert urllib.parse.urlsplit(found).scheme == ""


def test_bytes_that_are_not_utf8_stay_what_they_are():
    found = link("file:///music/caf%E9.mp3", "/tags")
    assert urllib.parse.unquote_to_bytes(found) == b"../music/caf\xe9.mp3"


def test_a_page_in_a_bucket_finds_files_by_their_whole_path():
    assert link("/music/a b.mp3", "s3://bucket/tags") == "file:///music/a%20b.mp3"


def test_only_the_web_and_disks_have_a_player():
    assert link("https://host:8080/a.mp3?x=1", "/tags") == "https://host:8080/a.mp3?x=1"
    assert link("s3://bucket/a.mp3", "/tags") is None
    assert link("memory://a.mp3", "/tags") is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://host/a.mp3", "https://host"),
        ("http://host:8080/a.mp3", "http://host:8080"),
        ("http://[::1]:80/a", "http://[::1]:80"),
        ("https://host; script-src */a.mp3", None),
        ("https://host:port/a.mp3", None),
        ("https:///a.mp3", None),
        ("ftp://host/a.mp3", None),
        (str(Path("/a")), None),
    ],
)
def test_an_origin_is_one_that_a_policy_can_name(url, expected):
    assert origin(url) == expected
