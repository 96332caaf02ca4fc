"""Listings of many keys: by the real client from a server that makes them up, page by page."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

_ITEM = (
    "<Contents><Key>music/{0:03d}/{0:09d} some name of a song.mp3</Key><LastModified>2025-01-31T00:00:00.000Z"
    "</LastModified><ETag>&quot;0123456789abcdef0123456789abcdef&quot;</ETag><Size>{0}</Size>"
    "<StorageClass>STANDARD</StorageClass></Contents>"
)
_PAGE = (
    '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    "<Name>many</Name><Prefix>music/</Prefix><KeyCount>{n}</KeyCount><MaxKeys>1000</MaxKeys>"
    "<IsTruncated>{more}</IsTruncated>{token}{items}</ListBucketResult>"
)

# Lists a few keys first, so that what the client itself takes is not counted.
_CLIENT = """
import json, resource
from genreray import storage
from genreray.catalog import folder

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

found = storage.list_files("s3://many/music")
for _ in range(3000):
    next(found)
found.close()
before = peak()
n = sum(1 for _ in storage.list_files("s3://many/music"))
listed = peak() - before
catalog = folder.read("s3://many/music")
print(json.dumps({"n": n, "listed": listed, "rows": len(catalog), "table": catalog.nbytes, "read": peak() - before}))
"""


@contextlib.contextmanager
def keys(n):
    """Serves a bucket of `n` keys, none of which is held anywhere; yields its URL and what it was asked."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            asked.append(self.path)
            query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
            start = int(query.get("continuation-token", ["0"])[0])
            end = min(n, start + min(1000, int(query.get("max-keys", ["1000"])[0])))
            page = _PAGE.format(
                n=end - start,
                more=str(end < n).lower(),
                token=f"<NextContinuationToken>{end}</NextContinuationToken>" if end < n else "",
                items="".join(map(_ITEM.format, range(start, end))),
            ).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def listed(n):
    with keys(n) as (url, asked):
        environment = {**os.environ, "AWS_ENDPOINT_URL": url}
        done = subprocess.run(
            [sys.executable, "-c", _CLIENT], env=environment, capture_output=True, text=True, timeout=800
        )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    print(
        f"\n{n:,} keys: listing them took {found['listed'] / 1e6:.1f} MB more than listing 3,000, the catalog "
        f"{found['read'] / 1e6:.1f} MB at most; its table holds {found['table'] / n:.0f} bytes a track"
    )
    assert found["n"] == found["rows"] == n
    assert len(asked) == 3 + 2 * n // 1000  # pages, and no more of them than were wanted
    return found


def test_a_listing_takes_no_memory_for_its_keys():
    """s3fs's own takes some 2 kB for each."""
    found = listed(20_000)
    assert found["listed"] < 10e6
    assert found["table"] < 20_000 * 200


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_a_million_keys_take_a_bounded_memory():
    found = listed(1_000_000)
    assert found["listed"] < 20e6
    assert found["table"] < 1_000_000 * 200
    assert found["read"] < 600e6
