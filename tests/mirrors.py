"""An HTTP server on this machine with archives made here, for tests."""

import contextlib
import io
import random
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from genreray import storage


class Mirror:
    """Serves `files` by name. Each of `faults` spoils one answer, in their order.

    A fault is a status to answer, or a function of the content that returns what to send before the line is cut.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.knows_ranges = True
        self.tells_lengths = True
        self.faults: list[int | Callable[[bytes], bytes]] = []
        self.asked: list[tuple[str, str | None]] = []  # name and Range of each request
        self.url = ""

    def ranges(self) -> list[str | None]:
        return [asked for _, asked in self.asked]

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        name, asked = handler.path.rsplit("/", 1)[1], handler.headers.get("Range")
        self.asked.append((name, asked))
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, int) or name not in self.files:
            handler.send_error(fault if isinstance(fault, int) else 404)
            return
        whole = self.files[name]
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.knows_ranges else None
        content = whole[start:]
        if start is not None and not content:
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(whole)}")
        elif start is not None:
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{len(whole) - 1}/{len(whole)}")
        else:
            handler.send_response(200)
        if self.tells_lengths:
            handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        with contextlib.suppress(OSError):  # whoever asked has gone
            handler.wfile.write(fault(content) if fault else content)


@contextlib.contextmanager
def mirror() -> Iterator[Mirror]:
    served = Mirror()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.answer(self)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        served.url = f"http://127.0.0.1:{server.server_port}/fma"
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()


FILES = {"000/000002.mp3": random.Random(0).randbytes(700_000), "000/000005.mp3": b"", "README.txt": b"read me\n" * 9}


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED, folder: str = "fma_small/") -> bytes:
    """A zip file as FMA's: with an entry for the folder too."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        archive.writestr(folder, b"")
        for path, data in files.items():
            archive.writestr(folder + path, data)
    return content.getvalue()


def found(uri: object) -> dict[str, bytes]:
    """Every file below a folder, hidden ones left out."""
    return {path: storage.read_bytes(there) for path, there in storage.list_files(str(uri))}
