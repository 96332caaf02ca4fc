"""What the tests of fetch share: a plugin of fixtures."""

import contextlib
import hashlib
import io
import os
import resource
import time
from pathlib import Path
from typing import Any

import pytest
from mirrors import mirror
from rich.console import Console

from genreray.fetch import Fetched, archives, fetch
from genreray.fetch.archives import Archive


@pytest.fixture
def server():
    with mirror() as served:
        yield served


@pytest.fixture
def no_pauses(monkeypatch):
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    return pauses


@pytest.fixture
def home(monkeypatch, tmp_path_factory):
    """Where the cache folder of fetches into buckets is."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("home")))
    return Path(os.environ["XDG_CACHE_HOME"]) / "genreray"


@pytest.fixture
def publish(monkeypatch, server):
    """Puts an archive on the server, and its size and checksum in the table."""

    def put(content: bytes, folder: str = "fma_small", sha1: str | None = None) -> bytes:
        known = Archive(folder, len(content), sha1 or hashlib.sha1(content).hexdigest())
        monkeypatch.setitem(archives.ARCHIVES, folder.replace("_", "-"), known)
        server.files[known.file] = content
        return content

    return put


@pytest.fixture
def get(server, no_pauses, home):
    """Fetches fma-small from the server; `get.said` is what the last call told."""

    def run(dest: object, name: str = "fma-small", **options: Any) -> Fetched:
        console = Console(file=io.StringIO(), width=200)
        try:
            return fetch(name, str(dest), console, **{"base_url": server.url, **options})
        finally:
            run.said = console.file.getvalue()

    return run


@pytest.fixture
def full_disk():
    """Lets no file grow beyond some bytes, so that writing more fails half way."""

    @contextlib.contextmanager
    def limit(n_bytes: int):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limit
