"""Bytes of S3's objects without s3fs: what is asked for and signed, and what is left to s3fs."""

import contextlib
import datetime
import ipaddress
import os
import ssl
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import buckets
import fsspec
import pytest

from genreray import storage
from genreray.errors import Status, TrackError, UserError
from genreray.storage import objects, reading

CONTENT = bytes(range(256)) * 4


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """As in a process that has not asked any bucket yet, whatever certificates the machine has set up."""
    for name in objects._CERTIFICATES:
        monkeypatch.delenv(name, raising=False)
    objects.forget()
    yield
    objects.forget()


@pytest.fixture
def without_s3fs(monkeypatch):
    def refuse(uri):
        raise AssertionError(f"{uri} was left to s3fs")

    monkeypatch.setattr(reading, "filesystem", refuse)


@pytest.fixture
def elsewhere(monkeypatch):
    """No variable that says who asks where."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)


@contextlib.contextmanager
def answering(content: bytes, tls: ssl.SSLContext | None = None, *, ranges: bool = True):
    """A server of this machine that has `content` everywhere; yields its port and what it was asked for.

    It knows ranges that begin at 0, or with `ranges` false none.
    """
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, dict(self.headers.items())))
            self.send_response(206 if ranges else 200)
            if ranges:
                self.send_header("Content-Range", f"bytes 0-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", '"0"')
            self.send_header("Last-Modified", "Sat, 28 Nov 2026 12:00:00 GMT")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield server.server_port, asked
    finally:
        server.shutdown()
        server.server_close()


# What is asked for


def test_a_track_is_read_by_one_request_without_s3fs(s3, bucket, without_s3fs):
    storage.write_bytes(f"{bucket}/a.mp3", CONTENT)
    s3.asked.clear()
    assert storage.read_first(f"{bucket}/a.mp3") == CONTENT
    assert storage.read_bytes(f"{bucket}/a.mp3".replace("s3://", "s3a://")) == CONTENT
    assert s3.asked == [("GET", f"{bucket}/a.mp3".removeprefix("s3:/"))] * 2


@pytest.mark.parametrize("name", ["a.mp3", "fma_medium/000/000002.mp3", "-_.x/(a)'b!*=", "a..b/.c/..d", "A" * 900])
def test_plain_names_are_those_that_s3fs_reads(s3, bucket, name):
    fs, path = storage.filesystem(f"{bucket}/{name}")
    fs.pipe_file(path, CONTENT)
    assert objects.fetch(f"{bucket}/{name}", 0, 2**25) == CONTENT
    assert objects.fetch(f"{bucket}/{name}", 10, 20) == CONTENT[10:20]


@pytest.mark.parametrize(
    "name",
    [
        *("a b.mp3", "50%.mp3", "a%20b.mp3", "a+b.mp3", "a#b.mp3", "a?b=c&d.mp3", "Ωμέγα — 音楽.mp3", "a::b.mp3"),
        *("a:b@c", "a//b", "a/../b", "./a", "..", "~a", "a*[b]{c}", "a\\b", 'a"b<c>', "a\tb", "a\n", "a/", "/a", ""),
        *("a?versionId=1", "a://b"),
    ],
)
def test_names_that_clients_may_take_for_others_are_left_to_s3fs(s3, bucket, name):
    s3.asked.clear()
    assert objects.fetch(f"{bucket}/{name}", 0, 10) is None
    assert s3.asked == []


@pytest.mark.parametrize("size", [0, 1, 99, 100, 101, 450])
def test_of_what_is_there_no_byte_is_missing(s3, bucket, monkeypatch, size):
    monkeypatch.setattr(reading, "WHOLE", 100)
    content = CONTENT[:size]
    storage.write_bytes(f"{bucket}/a", content)
    assert objects.fetch(f"{bucket}/a", 0, 100) == (content[:100] or None)  # None is there: 416
    assert objects.fetch(f"{bucket}/a", size, size + 10) is None
    assert storage.read_first(f"{bucket}/a") == content[:100]
    assert storage.read_bytes(f"{bucket}/a") == content


def test_threads_that_begin_at_once_share_one_client(s3, bucket, monkeypatch):
    storage.write_bytes(f"{bucket}/a", CONTENT)
    learn, learnt = objects._learn, []
    monkeypatch.setattr(objects, "_learn", lambda name: learnt.append(name) or learn(name))
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: objects.fetch(f"{bucket}/a", 0, 2**25), range(40))) == {CONTENT}
    assert learnt == [buckets.BUCKET]
    monkeypatch.setattr(os, "getpid", lambda: 0)  # as after a fork, where connections are another process's
    assert objects.fetch(f"{bucket}/a", 0, 2**25) == CONTENT
    assert len(learnt) == 2


# How it is signed, and where it goes


def test_a_profile_says_who_asks_and_where(elsewhere, monkeypatch, tmp_path):
    with answering(CONTENT) as (port, asked):
        (tmp_path / "config").write_text(
            f"[profile music]\nregion = eu-west-3\nendpoint_url = http://127.0.0.1:{port}\n"
            "aws_access_key_id = profile-id\naws_secret_access_key = x\naws_session_token = profile-token\n"
        )
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        monkeypatch.setenv("AWS_PROFILE", "music")
        assert objects.fetch("s3://music/a.mp3", 0, 2**25) == CONTENT
    ((path, headers),) = asked
    assert path == "/music/a.mp3"
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=profile-id/")
    assert "/eu-west-3/s3/aws4_request" in headers["authorization"]
    assert headers["x-amz-security-token"] == "profile-token"


def test_buckets_are_part_of_the_host_where_they_shall_be(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr("obstore.store.S3Store", lambda name, **how: asked.append((name, how)))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://store.example:9000/s3")
    objects._learn("music")
    (tmp_path / "config").write_text("[default]\ns3 =\n  addressing_style = virtual\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    objects._learn("music")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    objects._learn("music")
    objects._learn("music.of.dots")
    assert [(name, how["endpoint"], how["virtual_hosted_style_request"]) for name, how in asked] == [
        ("music", "https://store.example:9000/s3", False),
        ("music", "https://music.store.example:9000/s3", True),
        ("music", "https://music.s3.amazonaws.com", True),
        ("music.of.dots", "https://s3.amazonaws.com", False),
    ]
    assert {(how["region"], how["client_options"]["allow_http"]) for _, how in asked} == {("us-east-1", False)}


def test_credentials_that_run_out_are_renewed(elsewhere, monkeypatch, tmp_path):
    (tmp_path / "give.py").write_text(
        "import datetime, json, pathlib\n"
        f"count = pathlib.Path({str(tmp_path / 'count')!r})\n"
        "n = int(count.read_text()) if count.exists() else 0\n"
        "count.write_text(str(n + 1))\n"
        "end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=5)\n"  # so soon that each use renews
        "print(json.dumps({'Version': 1, 'AccessKeyId': 'id', 'SecretAccessKey': 'x', 'SessionToken': f'token-{n}',"
        " 'Expiration': end.isoformat()}))\n"
    )
    (tmp_path / "config").write_text(
        f"[default]\nregion = eu-west-3\ncredential_process = {sys.executable} {tmp_path / 'give.py'}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setattr(objects, "_VALID", datetime.timedelta(0))
    with answering(CONTENT) as (port, asked):
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        assert [objects.fetch("s3://music/a.mp3", 0, 2**25) for _ in range(3)] == [CONTENT] * 3
    assert len({headers["x-amz-security-token"] for _, headers in asked}) == 3


def test_what_a_proxy_is_asked_for_is_left_to_s3fs(s3, bucket, monkeypatch):
    monkeypatch.setenv("http_proxy", s3.url)
    s3.asked.clear()
    assert objects.fetch(f"{bucket}/a.mp3", 0, 2**25) is None
    assert s3.asked == []


@pytest.mark.parametrize("variable", objects._CERTIFICATES)
def test_certificates_are_checked_and_those_of_ones_own_left_to_s3fs(monkeypatch, tmp_path, variable):
    certificate, key = self_signed(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with answering(CONTENT, tls) as (port, asked):
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://127.0.0.1:{port}")
        assert objects.fetch("s3://music/a.mp3", 0, 2**25) is None
        objects.forget()
        monkeypatch.setenv(variable, str(tmp_path if variable.endswith("DIR") else certificate))
        assert objects.fetch("s3://music/a.mp3", 0, 2**25) is None
    assert asked == []
    with answering(CONTENT) as (port, asked):
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")  # where there are none to check
        objects.forget()
        assert objects.fetch("s3://music/a.mp3", 0, 2**25) == CONTENT


def self_signed(folder):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "store")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "certificate.pem", folder / "key.pem"


# What is left to s3fs


@pytest.mark.parametrize(
    "variables",
    [
        {"AWS_RETRY_MODE": "adaptive"},  # where the client counts its requests
        {"AWS_RESPONSE_CHECKSUM_VALIDATION": "when_supported"},
        {"AWS_LAMBDA_FUNCTION_NAME": "f", "_X_AMZN_TRACE_ID": "Root=1"},  # a header of its own
        {"AWS_ENDPOINT_URL": "http://me:pass-word@127.0.0.1"},
        {"AWS_PROFILE": "none-such"},
    ],
)
def test_what_is_set_up_otherwise_is_left_to_s3fs(s3, bucket, monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    s3.asked.clear()
    assert objects.fetch(f"{bucket}/a", 0, 10) is None
    assert s3.asked == []


@pytest.mark.parametrize("protocol", ["s3", "s3a"])
def test_what_fsspec_is_told_of_s3_is_for_s3fs(s3, bucket, monkeypatch, protocol):
    storage.write_bytes(f"{bucket}/a", CONTENT)
    assert objects.fetch(f"{bucket}/a", 0, 10) == CONTENT[:10]
    monkeypatch.setitem(fsspec.config.conf, protocol, {"requester_pays": True})
    assert objects.fetch(f"{bucket}/a", 0, 10) is None


def test_without_credentials_nothing_is_asked(s3, bucket, elsewhere, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.url)
    s3.asked.clear()
    assert objects.fetch(f"{bucket}/a", 0, 10) is None
    assert s3.asked == []


@pytest.mark.parametrize("name", ["Old_Bucket", "music--use1-az4--x-s3", "arn:aws:s3:us-east-1:1234:accesspoint"])
def test_other_kinds_of_buckets_are_left_to_s3fs(s3, name):
    s3.asked.clear()
    assert objects.fetch(f"s3://{name}/a", 0, 10) is None
    assert s3.asked == []


def test_what_a_store_sends_that_knows_no_ranges_is_not_taken(monkeypatch):
    """It may be of any size, or from elsewhere in the object."""
    with answering(CONTENT, ranges=False) as (port, asked):
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        assert objects.fetch("s3://music/a", 0, len(CONTENT)) is None
    assert len(asked) == 1


def test_another_part_than_was_asked_for_is_not_taken(monkeypatch):
    with answering(CONTENT) as (port, asked):
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        assert objects.fetch("s3://music/a", 1, 2000) is None
        assert objects.fetch("s3://music/a", 0, len(CONTENT) - 1) is None
    assert len(asked) == 2


# Faults


@pytest.mark.parametrize("kind", [*buckets.KINDS, "AccessDenied"])
def test_after_a_fault_s3fs_asks(s3, bucket, kind):
    storage.write_bytes(f"{bucket}/a", CONTENT)
    s3.asked.clear()
    with s3.failing(1.0, (kind,)):
        assert objects.fetch(f"{bucket}/a", 0, 2**25) is None
    assert len(s3.asked) == 1
    s3._faults = iter([kind, *[None] * 9])
    assert storage.read_bytes(f"{bucket}/a") == CONTENT
    assert len(s3.asked) == 3


@pytest.mark.parametrize(
    ("kind", "uri"),
    [
        *((kind, f"s3://{buckets.BUCKET}/a") for kind in ("500", "503", "InvalidAccessKeyId", "ExpiredToken", "reset")),
        *(("AccessDenied", uri) for uri in (f"s3://{buckets.BUCKET}/a", f"s3://{buckets.BUCKET}/b c")),
        (None, f"s3://{buckets.BUCKET}/no-such-key"),
        (None, "s3://no-such-bucket/a"),
    ],
)
def test_what_is_said_is_what_s3fs_says(s3, monkeypatch, kind, uri):
    monkeypatch.setattr(reading, "_ATTEMPTS", 1)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    raised = []
    for fetch in (objects.fetch, lambda *_: None):
        monkeypatch.setattr(objects, "fetch", fetch)
        with s3.failing(1.0 if kind else 0.0, (kind,)), pytest.raises((TrackError, UserError)) as caught:
            storage.read_bytes(uri)
        error = caught.value
        assert error.__cause__ is None
        raised.append((type(error), getattr(error, "status", None), str(error)))
    assert raised[0] == raised[1]
    if uri.endswith("no-such-key"):
        assert raised[0][1] == Status.NOT_FOUND


def test_a_store_that_does_not_do_is_not_asked_twice_each_time(s3, bucket, monkeypatch):
    storage.write_bytes(f"{bucket}/a", CONTENT)
    now = [1000.0]
    monkeypatch.setattr(objects.time, "monotonic", lambda: now[0])

    def asked(n):
        s3.asked.clear()
        for _ in range(n):
            objects.fetch(f"{bucket}/a", 0, 10)
        return len(s3.asked)

    with s3.failing(1.0, ("500", "ExpiredToken", "reset")):
        assert asked(9) == objects._FAILURES
    now[0] += objects._REST - 1
    assert asked(9) == 0
    now[0] += 2
    assert asked(9) == 9
    with s3.failing(1.0, ("AccessDenied",)):  # says nothing of other objects
        assert asked(9) == 9
