"""What S3 wants to be asked and told in its own way: retries, buckets, pages of keys, faults that are not a file's."""

import functools
import os
import time
from collections.abc import Iterable, Iterator
from typing import Any

import fsspec

from genreray.errors import UserError
from genreray.storage.reasons import reason
from genreray.storage.uris import refuse_password, split

# Attempts for a request, where neither AWS_MAX_ATTEMPTS nor AWS_RETRY_MODE says otherwise. With 5 % of requests
# failing, one of a hundred million fails so often in a row.
_ATTEMPTS = 6
_CUT_ANSWERS = 3  # attempts for an answer that ends early, which are s3fs's own
_CHECKS = 4  # attempts for the first request to a bucket, which are soon over
_CHECK_SECONDS = 5.0  # after which no further one is begun

_CREDENTIALS = frozenset(
    [
        "AuthorizationHeaderMalformed",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
    ]
)
# Of a store that is asked too much; 503 is all that an answer without a body says.
_TOO_BUSY = frozenset(["503", "ServiceUnavailable", "SlowDown", "SlowDownRead", "SlowDownWrite", "TooManyRequests"])
_ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")
# Of botocore, which s3fs brings and which takes a while to import.
_NO_CREDENTIALS = frozenset(
    ["NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound"]
)
_NO_ANSWER = frozenset(
    ["EndpointConnectionError", "ConnectTimeoutError", "ProxyConnectionError", "SSLError", "InvalidEndpoint"]
)


def is_s3(uri: str) -> bool:
    """Return whether `uri` is one of S3, at Amazon or elsewhere."""
    return split(uri)[0] in ("s3://", "s3a://")


def options(uri: str) -> dict[str, Any]:
    """Return what the filesystem of `uri` is to be opened with; nothing where it is not S3.

    Retries are botocore's in its standard mode: growing pauses with jitter, and a budget for each client, which a
    store that has gone has soon used up. Raises UserError for an endpoint with a password in it.
    """
    if not is_s3(uri):
        return {}
    for name in _ENDPOINTS:
        refuse_password(os.environ.get(name, ""), name, "leave it out, as S3 has no use for it")
    given: dict[str, Any] = {"use_listings_cache": False}  # other processes write too
    if "config_kwargs" not in fsspec.config.conf.get("s3", {}):
        retries: dict[str, Any] = {}
        if "AWS_RETRY_MODE" not in os.environ:
            retries["mode"] = "standard"
        if "AWS_MAX_ATTEMPTS" not in os.environ:
            retries["total_max_attempts"] = _ATTEMPTS
        given["config_kwargs"] = {"retries": retries}
        # A sum over a track takes a tenth of what its request costs the CPU, and decoders see to what is damaged.
        if "AWS_RESPONSE_CHECKSUM_VALIDATION" not in os.environ:
            given["config_kwargs"]["response_checksum_validation"] = "when_required"
    return given


def prepare(fs: fsspec.AbstractFileSystem) -> None:
    """Hold s3fs's own retries, which come on top of botocore's, to those of answers that end early."""
    fs.retries = _CUT_ANSWERS


def check(uri: str) -> None:
    """Ask the bucket of `uri`, where it is on S3, for one key, once a process.

    Raises UserError, within seconds, where there is no such bucket, nobody answers or the credentials are not taken.
    """
    if is_s3(uri) and split(uri)[1]:
        _check(_where(uri))


def check_buckets(uris: Iterable[str]) -> None:
    """Do as `check` does for every bucket that one of `uris` is in."""
    for bucket in sorted({_where(uri) for uri in uris if is_s3(uri)}):
        check(bucket)


@functools.cache
def _check(uri: str) -> None:
    bucket = split(uri)[1]
    started, pause = time.monotonic(), 0.2
    for attempt in range(1, _CHECKS + 1):
        try:
            _impatient(uri).call_s3("list_objects_v2", Bucket=bucket, MaxKeys=1)
            return
        except PermissionError as error:
            if (said := fault(uri, error)) is not None:
                raise UserError(said) from None
            return  # who may read objects need not be allowed to list them
        except Exception as error:
            said = fault(uri, error)
            is_over = attempt == _CHECKS or time.monotonic() - started > _CHECK_SECONDS
            if said is not None and (is_over or not (_no_answer(error) or is_busy(error))):
                raise UserError(said) from None
            if is_over:
                raise UserError(f"{uri} cannot be used: {reason(error)}") from None
        time.sleep(pause)
        pause *= 2


def _impatient(uri: str) -> fsspec.AbstractFileSystem:
    """Return a filesystem that gives each request one attempt of a few seconds."""
    config = {"retries": {"total_max_attempts": 1}, "connect_timeout": 3, "read_timeout": 5}
    fs, _ = fsspec.core.url_to_fs(uri, **{**options(uri), "config_kwargs": config})
    fs.retries = 1
    return fs


def pages(fs: fsspec.AbstractFileSystem, path: str) -> Iterator[list[tuple[str, int]]]:
    """Yield the objects below `path` as (path, size), a thousand at a time, as one request after another lists them."""
    bucket, _, prefix = path.partition("/")
    where = {"Bucket": bucket, "Prefix": f"{prefix.rstrip('/')}/" if prefix else ""}
    while True:
        page = fs.call_s3("list_objects_v2", **where)
        yield [(f"{bucket}/{found['Key']}", found["Size"]) for found in page.get("Contents", [])]
        if not page.get("IsTruncated"):
            return
        where["ContinuationToken"] = page["NextContinuationToken"]


def is_past_the_end(error: BaseException) -> bool:
    """Return whether a store says that the bytes asked for begin after the last one."""
    return _code(error) in ("InvalidRange", "416")


def fault(uri: str, error: BaseException) -> str | None:
    """Say in one line what is wrong, and what to do, where an error is not of one object but of all in its store.

    None where it is not, or `uri` is not on S3.
    """
    if not is_s3(uri):
        return None
    code, names = _code(error), {type(cause).__name__ for cause in _causes(error)}
    if code == "NoSuchBucket":
        return f"{_where(uri)} does not exist: make the bucket, or check its name and AWS_ENDPOINT_URL"
    if code in _CREDENTIALS:
        return (
            f"{_where(uri)}: the credentials are not accepted ({code}): check AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN or AWS_PROFILE, on every node"
        )
    if names & _NO_CREDENTIALS:
        return (
            f"{_where(uri)}: there are no credentials ({reason(error)}): set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, on every node"
        )
    if is_busy(error):
        return f"{_where(uri)} is too busy ({_code(error)}): run the same command again, later or with fewer CPUs"
    if _no_answer(error):
        return f"{_where(uri)}: no answer ({reason(error)}): check AWS_ENDPOINT_URL and the network"
    return None


def is_busy(error: BaseException) -> bool:
    """Return whether a store says that it is asked too much, which may pass."""
    return _code(error) in _TOO_BUSY


def _no_answer(error: BaseException) -> bool:
    return any(type(cause).__name__ in _NO_ANSWER for cause in _causes(error))


def _where(uri: str) -> str:
    scheme, path = split(uri)
    return scheme + path.split("/")[0]


def _code(error: BaseException) -> str | None:
    """Return the code of a store's error, which s3fs hides behind one of Python's."""
    for cause in _causes(error):
        response = getattr(cause, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code"))
        code = getattr(cause, "code", None) or getattr(cause, "error_code", None)  # Google's, Azure's
        if code is not None:
            return str(code)
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
