"""Credentials are in nothing that jobs say or write, nor in Ray's logs, also where a store says them itself."""

import contextlib
import secrets
import shutil
import tempfile
from pathlib import Path

import buckets
import pytest
from commands import Command, started
from making import write_music

from genreray import storage

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

SMALL = ("--crop-frames", "64", "--batch-size", "8", "--filters", "4", "8")


@pytest.fixture
def credentials(monkeypatch):
    """Some that nothing else holds."""
    found = {
        "AWS_ACCESS_KEY_ID": f"AKIA{secrets.token_hex(8).upper()}",
        "AWS_SECRET_ACCESS_KEY": secrets.token_urlsafe(30),
        "AWS_SESSION_TOKEN": secrets.token_urlsafe(60),
    }
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    said = " ".join(["denied to", *found.values()])
    monkeypatch.setitem(buckets.ANSWERS, "AccessDenied", (403, "AccessDenied", said))
    return found


@pytest.fixture
def logs(monkeypatch):
    """The folder of Ray's own files; its name is short, as those of sockets must be."""
    folder = tempfile.mkdtemp(prefix="r", dir="/tmp")
    monkeypatch.setenv("RAY_TMPDIR", folder)
    yield Path(folder)
    shutil.rmtree(folder, ignore_errors=True)


def contents(folder: Path) -> dict[str, bytes]:
    found = {}
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file() and not path.is_symlink():
                found[str(path)] = path.read_bytes()
    return found


def ended(command: Command, code: int) -> bytes:
    said = command.output(300)
    assert command.process.returncode == code, said
    return said.encode()


def test_credentials_are_in_no_log_no_output_and_no_error(s3, bucket, credentials, logs, tmp_path):
    manifest = write_music(tmp_path / "music", 60)
    for path in sorted((tmp_path / "music").iterdir()):
        storage.write_bytes(f"{bucket}/music/{path.name}", path.read_bytes())
    manifest, features, run, tags = f"{bucket}/music/music.csv", f"{bucket}/features", f"{bucket}/run", f"{bucket}/tags"
    texts: dict[str, bytes] = {}
    for job in (
        ["extract", manifest, features, "--duration", "3"],
        ["train", features, run, "--epochs", "1", *SMALL],
        ["evaluate", features, f"{bucket}/report", "--checkpoint", run],
    ):
        with started(*job, "--verbose") as command:
            texts[f"what {job[0]} said"] = ended(command, 0)

    def written(folder: str, n: int) -> bool:
        return sum(1 for _ in storage.list_files(folder)) >= n

    # Denied in the middle, in words that hold them all: to tasks that read and write, and to Ray Train.
    for job, folder, n in (
        (["tag", manifest, tags, "--checkpoint", run], tags, 3),  # by when all workers have begun
        (["train", features, f"{bucket}/other", "--epochs", "40", *SMALL], f"{bucket}/other/training", 3),
    ):
        with started(*job, "--verbose") as command:
            command.wait_until(lambda folder=folder, n=n: written(folder, n))
            with s3.failing(1.0, ("AccessDenied",)) as injected:
                said = ended(command, 2)
        texts[f"what {job[0]} said when it was denied"] = said
        (line,) = (line for line in said.decode().splitlines() if line.startswith("genreray: "))
        print(f"\ninjected: {injected['AccessDenied']} answers with credentials in them; found: {line}")
        # An answer to HEAD has no words: where that is the first to be denied, the library's own are all there is.
        assert "denied to *** *** ***" in line or line.endswith("cannot be looked at: Forbidden")

    texts |= contents(logs) | contents(tmp_path)
    shown = [text for text in texts.values() if b"Traceback" in text and b"denied to *** *** ***" in text]
    assert shown  # what tasks raised, as Ray writes it down
    texts |= {uri: storage.read_bytes(uri) for _, uri in storage.list_files(bucket)}
    print(f"found: no credentials in {sum(map(len, texts.values())):,} bytes of {len(texts)} logs and outputs")
    assert any("session_" in name and name.endswith(".out") for name in texts)
    values = {name: value.encode() for name, value in credentials.items()}
    assert {(where, name) for where, text in texts.items() for name, value in values.items() if value in text} == set()
