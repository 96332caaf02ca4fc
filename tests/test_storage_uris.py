import os

import pytest

from genreray import storage
from genreray.errors import Status, TrackError, UserError


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("/a/b", "/a/b"),
        ("/a/b/", "/a/b"),
        ("a", "/srv/a"),
        (".", "/srv"),
        ("/a/x: y :: z.mp3", "/a/x: y :: z.mp3"),
        ("Artist :: Title.mp3", "/srv/Artist :: Title.mp3"),
        ("~x.mp3", "/srv/~x.mp3"),
        ("~/x.mp3", "/home/me/x.mp3"),
        ("file:///a/b", "/a/b"),
        ("file:///a/my%20caf%C3%A9.mp3", "/a/my café.mp3"),
        ("file:///a/100% hits", "/a/100% hits"),
        ("file:///a/caf%E9.mp3", "file:///a/caf%E9.mp3"),
        ("/a/caf\udce9 é.mp3", "file:///a/caf%E9%20%C3%A9.mp3"),
        ("s3://bucket/", "s3://bucket"),
        ("s3://bucket/a/", "s3://bucket/a"),
        ("memory://", "memory://"),
        ("https://host/a%20b.mp3", "https://host/a%20b.mp3"),
        ("simplecache::s3://bucket/a", "simplecache::s3://bucket/a"),
    ],
)
def test_absolute(uri, expected, monkeypatch):
    monkeypatch.setattr(os, "getcwd", lambda: "/srv")
    monkeypatch.setenv("HOME", "/home/me")
    assert storage.absolute(uri) == expected
    assert storage.absolute(expected) == expected
    assert storage.is_local(uri) == expected.startswith(("/", "file://"))


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("/a/b", "/a"),
        ("/a", "/"),
        ("/", "/"),
        ("s3://bucket/a/b", "s3://bucket/a"),
        ("s3://bucket/a", "s3://bucket"),
        ("s3://bucket/", "s3://"),
        ("memory://list.csv", "memory://"),
        ("file:///caf%E9/x.csv", "file:///caf%E9"),
    ],
)
def test_parent(uri, expected):
    assert storage.parent(uri) == expected


@pytest.mark.parametrize(
    ("uri", "part", "expected"),
    [
        ("/a/", "b", "/a/b"),
        ("/", "b", "/b"),
        ("a", "b", "a/b"),
        ("s3://bucket", "b/c", "s3://bucket/b/c"),
        ("memory://", "b", "memory://b"),
        ("file:///a", "100%25", "/a/100%25"),
        ("file:///caf%E9", "my x", "file:///caf%E9/my%20x"),
        ("/a", "caf\udce9", "file:///a/caf%E9"),
    ],
)
def test_join(uri, part, expected):
    assert storage.join(uri, part) == expected
    assert storage.parent(storage.join(storage.absolute(uri), "x")) == storage.absolute(uri)


@pytest.mark.parametrize("uri", ["", "file://", "a\0b"])
def test_what_cannot_be_a_path_is_refused(uri):
    with pytest.raises(UserError, match="cannot be a path"):
        storage.absolute(uri)


@pytest.mark.parametrize("uri", ["gopher://x/y", "simplecache::gopher://x/y"])
def test_an_unknown_scheme_is_one_clear_error(uri):
    with pytest.raises(UserError, match=r"cannot be opened: .*gopher"):
        storage.exists(uri)
    with pytest.raises(TrackError) as caught:
        storage.read_bytes(uri)
    assert caught.value.status == Status.UNREADABLE
