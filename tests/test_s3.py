"""What S3 is asked for, and what is said when it does not answer as it should."""

import socket
import subprocess
import sys
import time
import traceback

import buckets
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from s3fs import S3FileSystem

from genreray import cli, storage
from genreray.catalog import read_catalog
from genreray.errors import TrackError, UserError
from genreray.storage import objects
from genreray.storage import s3 as s3_storage
from genreray.storage.reasons import reason, without_secrets


@pytest.fixture
def unknown():
    """As in a process that has not asked any bucket yet."""

    def forget():
        s3_storage._check.cache_clear()
        objects.forget()
        S3FileSystem.clear_instance_cache()

    forget()
    yield
    forget()


def refused(capsys, *argv: str) -> str:
    """Run a command that must be refused at once, and return its one line."""
    started = time.monotonic()
    assert cli.main(list(argv)) == cli.BAD_INPUT
    assert time.monotonic() - started < 15  # on a machine that is busy too
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    return line


# What is said


@pytest.mark.parametrize("code", ["InvalidAccessKeyId", "ExpiredToken"])
def test_wrong_credentials_are_one_line_before_any_work(s3, bucket, unknown, capsys, tmp_path, code):
    with s3.failing(1.0, (code,)):
        line = refused(capsys, "extract", f"{bucket}/music", str(tmp_path / "features"))
    assert f"s3://{buckets.BUCKET}: the credentials are not accepted ({code}): check AWS_ACCESS_KEY_ID" in line
    assert len(s3.asked) == 1
    assert not (tmp_path / "features").exists()


def test_no_credentials_are_one_line(s3, unknown, capsys, tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    line = refused(capsys, "extract", "s3://bucket/music", str(tmp_path / "features"))
    assert "s3://bucket: there are no credentials" in line


def test_a_missing_bucket_is_one_line_whichever_path_it_is_in(s3, unknown, capsys, tmp_path, tone, encode):
    for argv in (
        ["extract", "s3://no-such-bucket/music", str(tmp_path / "features")],
        ["train", "s3://no-such-bucket/features", str(tmp_path / "run")],
        ["tag", str(tmp_path), "s3://no-such-bucket/tags", "--checkpoint", "s3://no-such-bucket/run"],
    ):
        (tmp_path / "a.wav").write_bytes(encode(tone(), 22050, "WAV"))
        assert "s3://no-such-bucket does not exist: make the bucket" in refused(capsys, *argv)
    line = refused(capsys, "extract", str(tmp_path), "s3://no-such-bucket/features")
    assert "s3://no-such-bucket does not exist" in line
    (tmp_path / "songs.csv").write_text("path\ns3://no-such-bucket/a.mp3\n")
    with pytest.raises(UserError, match="s3://no-such-bucket does not exist"):
        storage.check_buckets(read_catalog(str(tmp_path / "songs.csv"))["uri"].to_pylist())


def test_a_dead_endpoint_is_one_line_at_once(unknown, capsys, tmp_path, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        line = refused(capsys, "extract", "s3://bucket/music", str(tmp_path / "features"))
    assert "s3://bucket: no answer (" in line
    assert "check AWS_ENDPOINT_URL and the network" in line


def test_a_store_that_is_too_busy_is_one_line(s3, bucket, unknown, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(s3_storage, "_CHECKS", 2)
    with s3.failing(1.0, ("503",)):
        line = refused(capsys, "extract", f"{bucket}/music", str(tmp_path / "features"))
    assert f"s3://{buckets.BUCKET} is too busy (SlowDown): run the same command again" in line
    assert len(s3.asked) == 2  # as that may pass
    s3_storage.check(bucket)


def test_an_output_that_cannot_be_written_is_told_before_any_work(s3, bucket, monkeypatch):
    fs, _ = storage.filesystem(bucket)

    def denied(*_, **__):
        raise PermissionError("Access Denied")

    monkeypatch.setattr(fs, "pipe_file", denied)
    with pytest.raises(UserError, match=f"^{bucket} cannot be written to: Access Denied$"):
        storage.check_writable(bucket)


def test_a_folder_is_left_as_it_was_when_it_is_seen_that_it_can_be_written(anywhere):
    storage.check_writable(anywhere)
    fs, path = storage.filesystem(anywhere)
    assert not fs.exists(path) or fs.ls(path) == []


def test_credentials_are_in_no_error(s3, bucket, unknown, monkeypatch):
    said = f"Access by {buckets.KEY} with {buckets.SECRET} and token-of-this-session denied"
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token-of-this-session")
    monkeypatch.setitem(buckets.ANSWERS, "AccessDenied", (403, "AccessDenied", said))
    texts = []
    with s3.failing(1.0, ("AccessDenied",)):
        with pytest.raises(TrackError) as caught:
            storage.read_bytes(f"{bucket}/a.mp3")
        texts.append(caught.value.message)
        for job in (storage.write_bytes, lambda uri, _: list(storage.list_files(uri))):
            with pytest.raises(UserError) as refused:
                job(bucket, b"")
            texts.append(str(refused.value))
    for text in texts:
        assert text.endswith("Access by *** with *** and *** denied")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no answer from http://me:pass-word@minio:9000/b", "no answer from http://me:***@minio:9000/b"),
        (
            "GET https://b.s3.amazonaws.com/a.mp3?X-Amz-Credential=AK%2F1&X-Amz-Signature=ab12&x=1",
            "GET https://b.s3.amazonaws.com/a.mp3?X-Amz-Credential=***&X-Amz-Signature=***&x=1",
        ),
        ("https://account/x?sv=2020&sig=abc%3D'", "https://account/x?sv=2020&sig=***'"),
        ("3: no file at s3://bucket/a@b:c.mp3?", "3: no file at s3://bucket/a@b:c.mp3?"),
        ("no access for AKIAIOSFODNN7EXAMPLE to a bucket", "no access for *** to a bucket"),
    ],
)
def test_passwords_and_signatures_are_not_shown(text, shown):
    assert without_secrets(text) == shown
    assert reason(ValueError(text)) == f"ValueError: {shown}"


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("AWS_SESSION_TOKEN", "abcd-1234", "***"),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "abcd-1234", "***"),
        ("RAY_AUTH_TOKEN", "abcd-1234", "***"),
        ("MLFLOW_TRACKING_PASSWORD", "abcd-1234", "***"),
        ("FSSPEC_SFTP_PASSWORD", "abcd-1234", "***"),
        ("FSSPEC_FTP_PASSWORD", "a", "a"),  # or no sentence could be read
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/run/token", "/run/token"),
        ("AWS_PROFILE", "music", "music"),
    ],
)
def test_what_is_a_credential_in_the_environment_is_not_shown(monkeypatch, name, value, shown):
    monkeypatch.setenv(name, value)
    assert without_secrets(f"denied to {value} here") == f"denied to {shown} here"


def test_what_is_a_credential_in_the_settings_of_fsspec_is_not_shown(monkeypatch):
    monkeypatch.setitem(fsspec.config.conf, "sftp", {"password": "pass-word", "username": "somebody", "port": 22})
    assert without_secrets("somebody, pass-word, 22") == "somebody, ***, 22"


def test_no_traceback_shows_what_the_store_said(s3, bucket, monkeypatch):
    """Ray writes those of its tasks into its logs, with the errors that others came of."""
    monkeypatch.setitem(buckets.ANSWERS, "AccessDenied", (403, "AccessDenied", f"{buckets.SECRET} denied"))
    jobs = {
        "read": storage.read_bytes,
        "written": lambda uri: storage.write_bytes(uri, b""),
        "listed": lambda uri: list(storage.list_files(uri)),
        "streamed": lambda uri: storage.output_filesystem(uri)[0].open_output_stream(uri[5:]).close(),
    }
    with s3.failing(1.0, ("AccessDenied",)):
        for job in jobs.values():
            with pytest.raises((TrackError, UserError), match=r"\*\*\* denied") as caught:
                job(f"{bucket}/a.mp3")
            assert buckets.SECRET not in "".join(traceback.format_exception(caught.value))


def test_an_endpoint_with_a_password_is_refused_without_showing_it(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://me:pass-word@minio:9000")
    with pytest.raises(UserError, match="^AWS_ENDPOINT_URL holds a password, which logs would show"):
        storage.exists("s3://bucket/a")


def test_a_url_with_a_password_is_refused_without_showing_it(tmp_path):
    for uri in ("ftp://me:pass-word@host/music", "s3://me:pass-word@bucket/a"):
        with pytest.raises(UserError, match="holds a password") as caught:
            storage.filesystem(uri)
        assert "pass-word" not in str(caught.value)
    (tmp_path / "songs.csv").write_text("path\nftp://me:pass-word@host/a.mp3\n")
    with pytest.raises(UserError, match="holds a password"):
        read_catalog(str(tmp_path / "songs.csv"))


# What is asked


def test_to_see_that_a_prefix_is_a_folder_one_key_of_it_is_listed(s3, bucket):
    for i in range(3):
        storage.write_bytes(f"{bucket}/{i}.mp3", b"x")
    storage.exists(bucket)
    s3.asked.clear()
    assert storage.is_folder(bucket)
    assert not storage.is_file(bucket)
    assert all("max-keys=1" in path for path in s3.paths("GET"))


# Writes


def test_an_upload_that_fails_leaves_nothing_that_can_be_read(s3, bucket):
    """By parts, of which the first is at the store already."""
    uri = f"{bucket}/big.bin"
    fs, _ = storage.filesystem(uri)

    def pieces():
        for _ in range(60):
            yield bytes(2**20)
        assert any("uploadId" in asked for asked in s3.paths("PUT"))
        assert not storage.exists(uri)
        raise UserError("the archive is damaged")

    with pytest.raises(UserError, match="^the archive is damaged$"):
        storage.write_pieces(uri, pieces())
    assert not storage.exists(uri)
    assert fs.call_s3("list_multipart_uploads", Bucket=buckets.BUCKET).get("Uploads", []) == []


def test_what_is_written_by_pieces_is_there_at_once_and_whole(anywhere):
    uri = storage.join(anywhere, "a/b.bin")
    for n in (3, 2):
        storage.write_pieces(uri, (bytes([i]) * 100 for i in range(n)))
        assert storage.read_bytes(uri) == b"".join(bytes([i]) * 100 for i in range(n))
    assert dict(storage.list_sizes(anywhere)) == {"a/b.bin": 200}


def test_a_table_that_another_process_replaces_is_read_anew(s3, bucket):
    uri = f"{bucket}/part.parquet"
    code = (
        "import sys, pyarrow as pa; from genreray import storage;"
        "storage.write_parquet(sys.argv[1], pa.table({'a': [2] * 9}))"
    )
    storage.write_parquet(uri, pa.table({"a": [1]}))
    fs, path = storage.arrow_filesystem(uri)
    assert pq.read_table(path, filesystem=fs)["a"].to_pylist() == [1]
    fs.get_file_info(pa.fs.FileSelector(path.rpartition("/")[0]))  # which s3fs would remember
    subprocess.run([sys.executable, "-c", code, uri], check=True, timeout=60)
    fs, path = storage.arrow_filesystem(uri)
    assert pq.read_table(path, filesystem=fs)["a"].to_pylist() == [2] * 9
