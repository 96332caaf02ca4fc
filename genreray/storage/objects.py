"""Bytes of an object on S3 by one request that costs the CPU little; what it does not bring is left to s3fs.

Of a track's 40 ms of work a GET through s3fs is 4: asyncio, endpoint rules, parsers, events. obstore's costs 1, in
threads of its own that hold no lock of Python's. Where it is to ask and as whom, botocore says, once a bucket:
the same endpoint, region, addressing and credentials, and their renewal, as for s3fs.
"""

import datetime
import io
import os
import re
import threading
import time
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any

import fsspec

from genreray.storage import s3
from genreray.storage.uris import split

if TYPE_CHECKING:
    from obstore.store import S3Credential

_CONNECT, _ALL = 5, 60  # seconds of patience, for an answer to begin and for all of it
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")  # no access points, whose names are ARNs
_DIRECTORY_BUCKET = "--x-s3"  # ends the names of those that are signed for by sessions
# Names of which every client makes the same request: S3's own safe characters, no empty, "." or ".." among their parts.
_PART = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9._=!*'()-]+"
_KEY = re.compile(rf"{_PART}(?:/{_PART})*")
_RETRIES = frozenset(["legacy", "standard"])  # not adaptive, where the client counts its requests
_SIGNATURE = re.compile(r"AWS4-HMAC-SHA256 Credential=[^/]+/\d{8}/([\w-]+)/s3/aws4_request, .*")
# A request with any other header, such as that for a checksum, is one that obstore is not told of.
_HEADERS = frozenset(
    [
        *("accept-encoding", "amz-sdk-invocation-id", "amz-sdk-request", "authorization", "range", "user-agent"),
        *("x-amz-content-sha256", "x-amz-date", "x-amz-security-token"),
    ]
)
# Variables that obstore reads itself.
_OTHERS = re.compile(
    r"AWS_(PROXY_.*|ALLOW_.*|SKIP_SIGNATURE|UNSIGNED_PAYLOAD|REQUEST_PAYER|SERVER_SIDE_.*|SSE_.*|S3_EXPRESS"
    r"|VIRTUAL_HOSTED_STYLE_REQUEST|.*TIMEOUT|HTTP.*|USER_AGENT|DEFAULT_CONTENT_TYPE|POOL_.*|CHECKSUM_ALGORITHM)"
)
# Variables that name certificates, of which it does not read the same ones as botocore.
_CERTIFICATES = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
_PROBE = "probe"  # a key that nobody is asked for
_VALID = datetime.timedelta(minutes=10)  # for which credentials are not asked for again; botocore renews them before

_FAILURES = 3  # in a row, after which all is left to s3fs
_REST = 60.0  # seconds for which it is

_lock = threading.Lock()
_buckets: dict[tuple[int, str], "_Bucket | None"] = {}  # by process, as connections are not to be shared by two


def fetch(uri: str, start: int, end: int) -> bytes | None:
    """Return the bytes of the object at `uri` from `start` to `end`, fewer where it ends before; raises nothing.

    None where it is not on S3, has none of them, or they could not be had, whatever the reason: s3fs, asked for the
    same, tries again and says what is wrong.
    """
    if not s3.is_s3(uri) or any(fsspec.config.conf.get(name) for name in ("s3", "s3a")):
        return None
    name, _, key = split(uri)[1].partition("/")
    if not _KEY.fullmatch(key) or not _BUCKET.fullmatch(name):
        return None
    try:
        bucket = _bucket(name)
        return bucket.fetch(key, start, end) if bucket else None
    except Exception:  # each layer has its own, and what they say may hold credentials
        return None


def forget() -> None:
    """Forget all buckets, for a process in which endpoint or credentials have become others."""
    with _lock:
        _buckets.clear()


def _bucket(name: str) -> "_Bucket | None":
    place = os.getpid(), name
    with _lock:
        if place not in _buckets:
            _buckets[place] = None  # unless the next line returns
            _buckets[place] = _learn(name)
        return _buckets[place]


class _Bucket:
    """A bucket, asked by obstore as long as that goes well."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self._failures = 0
        self._rests_until = 0.0

    def fetch(self, key: str, start: int, end: int) -> bytes | None:
        """Return some bytes of an object, or None; raises what obstore does."""
        from obstore.exceptions import PermissionDeniedError

        if time.monotonic() < self._rests_until:
            return None
        is_failure = False
        try:
            return bytes(self._store.get(key, options={"range": (start, end)}).bytes())
        except (FileNotFoundError, PermissionDeniedError):  # which say nothing of other objects
            return None
        except Exception:
            is_failure = True
            raise
        finally:
            self._failures = self._failures + 1 if is_failure else 0
            if self._failures >= _FAILURES:
                self._failures, self._rests_until = 0, time.monotonic() + _REST


def _learn(name: str) -> _Bucket | None:
    """Return how botocore asks for the objects of a bucket, without asking for any; None where it is not plain."""
    import botocore.session
    from botocore.awsrequest import AWSResponse
    from botocore.config import Config

    if name.endswith(_DIRECTORY_BUCKET) or any(_OTHERS.fullmatch(variable) for variable in os.environ):
        return None
    session = botocore.session.Session()
    credentials = session.get_credentials()
    if credentials is None:
        return None
    client = session.create_client("s3", config=Config(**s3.options(f"s3://{name}")["config_kwargs"]))
    sent: list[Any] = []

    def answer(request: Any, **_: Any) -> Any:
        sent.append(request)
        return AWSResponse(request.url, 200, {}, io.BytesIO())

    client.meta.events.register("before-send.s3.GetObject", answer)
    client.get_object(Bucket=name, Key=_PROBE, Range="bytes=0-0")
    headers = {header.lower(): _text(value) for header, value in sent[0].headers.items()}
    signed = _SIGNATURE.fullmatch(headers.get("authorization", ""))
    base, found, rest = sent[0].url.rpartition(f"/{_PROBE}")
    own = session.get_config_variable("ca_bundle") or any(os.environ.get(name) for name in _CERTIFICATES)
    if not (found and signed) or rest or headers.keys() - _HEADERS or (own and base.startswith("https://")):
        return None
    if client.meta.config.retries["mode"] not in _RETRIES or urllib.request.getproxies():
        return None
    return _Bucket(_store(name, base, signed.group(1), credentials))


def _store(name: str, base: str, region: str, credentials: Any) -> Any:
    """Return obstore's client for the bucket whose objects lie below the URL `base`."""
    from obstore.store import S3Store

    def current() -> "S3Credential":
        frozen = credentials.get_frozen_credentials()  # renewed where they are of a role and soon run out
        until = datetime.datetime.now(datetime.UTC) + _VALID
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": until,
        }

    is_host = urllib.parse.urlsplit(base).netloc.startswith(f"{name}.")
    return S3Store(
        name,
        endpoint=base if is_host else base.removesuffix(f"/{name}"),
        region=region,
        virtual_hosted_style_request=is_host,
        credential_provider=current,
        client_options={
            "allow_http": base.startswith("http://"),
            "connect_timeout": datetime.timedelta(seconds=_CONNECT),
            "timeout": datetime.timedelta(seconds=_ALL),
        },
        retry_config={"max_retries": 0},  # s3fs does that
    )


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
