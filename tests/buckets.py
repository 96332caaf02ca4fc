"""S3 on this machine: moto's server behind an endpoint that counts requests and can be told to fail."""

import collections
import contextlib
import http.client
import itertools
import random
import socket
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY, SECRET = "testing-key-id", "testing-secret-key"
BUCKET = "test-bucket"
KINDS = ("500", "503", "reset", "cut")  # cut: the answer ends half way, or where it has no body does not come

_ERROR = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
ANSWERS = {
    "500": (500, "InternalError", "We encountered an internal error. Please try again."),
    "503": (503, "SlowDown", "Please reduce your request rate."),
    "InvalidAccessKeyId": (403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist."),
    "ExpiredToken": (400, "ExpiredToken", "The provided token has expired."),
    "AccessDenied": (403, "AccessDenied", "Access Denied"),
}


class Endpoint:
    """What AWS_ENDPOINT_URL leads to; moto is started when it is first asked for something."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []  # method and path of each request
        self.injected: collections.Counter[str] = collections.Counter()
        self._faults: Iterator[str | None] = itertools.repeat(None)
        self._lock = threading.Lock()
        self._moto: tuple[str, int] | None = None
        self.url = ""

    @contextlib.contextmanager
    def failing(self, share: float, kinds: tuple[str, ...] = KINDS, seed: int = 0) -> Iterator[collections.Counter]:
        """Let a share of the requests fail, of each kind as many; yields the count of each."""
        chance = random.Random(seed)
        turns = itertools.cycle(kinds)
        self.injected.clear()
        self._faults = (next(turns) if chance.random() < share else None for _ in itertools.count())
        try:
            yield self.injected
        finally:
            self._faults = itertools.repeat(None)

    def paths(self, method: str) -> list[str]:
        return [path for asked, path in self.asked if asked == method]

    def fault(self) -> str | None:
        with self._lock:
            return next(self._faults)

    def behind(self) -> tuple[str, int]:
        with self._lock:
            if self._moto is None:
                from moto.server import ThreadedMotoServer

                server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
                server.start()
                self._moto = server.get_host_and_port()
                connection = http.client.HTTPConnection(*self._moto)
                connection.request("PUT", f"/{BUCKET}")
                assert connection.getresponse().status == 200
            return self._moto


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    endpoint: Endpoint

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.endpoint.asked.append((self.command, self.path))
        fault = self.endpoint.fault()
        if fault in ANSWERS:
            self.endpoint.injected[fault] += 1
            self._refuse(fault)
        elif fault == "reset":
            self.endpoint.injected[fault] += 1
            self._reset()
        else:
            self._forward(body, fault == "cut")

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _answer

    def _forward(self, body: bytes, cut: bool) -> None:
        connection = http.client.HTTPConnection(*self.endpoint.behind())
        headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
        connection.request(self.command, self.path, body, headers)
        found = connection.getresponse()
        content = found.read()
        if cut:
            self.endpoint.injected["cut"] += 1
        if cut and not content:  # what was asked for was done, and nobody told
            self._reset()
            return
        self.send_response_only(found.status)
        for name, value in found.getheaders():
            if name.lower() not in ("connection", "content-length", "transfer-encoding"):
                self.send_header(name, value)
        length = found.headers.get("Content-Length") if self.command == "HEAD" else len(content)
        self.send_header("Content-Length", str(length or 0))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if cut else content)
        self.close_connection = cut

    def _refuse(self, fault: str) -> None:
        status, code, message = ANSWERS[fault]
        content = _ERROR.format(code=code, message=message).encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def handle_one_request(self) -> None:
        with contextlib.suppress(ConnectionError, ValueError, OSError):  # whoever asked has gone, or was sent away
            super().handle_one_request()
            return
        self.close_connection = True

    def finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().finish()


@contextlib.contextmanager
def endpoint() -> Iterator[Endpoint]:
    served = Endpoint()
    handler = type("Handler", (_Handler,), {"endpoint": served})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    served.url = f"http://localhost:{server.server_port}"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
