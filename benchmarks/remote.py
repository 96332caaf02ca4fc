"""S3 on this machine, further away than it is: moto's server, and a relay that holds back what it is asked."""

import asyncio
import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection

BUCKET = "benchmark"
_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "benchmark",
    "AWS_SECRET_ACCESS_KEY": "benchmark",
    "AWS_DEFAULT_REGION": "us-east-1",
}
_PIECE = 2**18  # bytes relayed at once
_READY = 120.0  # seconds for a process to be up


def environment(port: int) -> dict[str, str]:
    """Return the variables that lead S3's clients to `port` of this machine."""
    return {**_CREDENTIALS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_EC2_METADATA_DISABLED": "true"}


@contextlib.contextmanager
def s3(latency: float, leave: int) -> Iterator[tuple[int, int]]:
    """Yield the ports of an S3 with an empty bucket: at once, and `latency` seconds away a request.

    Its two processes keep off the first `leave` CPUs, where there are others.
    """
    with _process(_serve, leave) as near, relay(near, latency, leave) as far:
        yield near, far


@contextlib.contextmanager
def relay(port: int, latency: float, leave: int) -> Iterator[int]:
    """Yield a port that leads to `port`, `latency` seconds away a request; see `s3`."""
    with _process(_relay, leave, port, latency) as far:
        yield far


@contextlib.contextmanager
def _process(function: Callable[..., None], *arguments: object) -> Iterator[int]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=function, args=(theirs, *arguments), daemon=True)
    process.start()
    try:
        if not ours.poll(_READY):
            raise RuntimeError(f"{function.__name__} does not start")
        yield int(ours.recv())
    finally:
        process.kill()
        process.join()


def _keep_off(cpus: int) -> None:
    if hasattr(os, "sched_setaffinity"):
        others = sorted(os.sched_getaffinity(0))[cpus:]
        if others:
            os.sched_setaffinity(0, others)


def _serve(ready: Connection, leave: int) -> None:
    import logging

    import boto3
    from moto.server import ThreadedMotoServer
    from werkzeug.serving import WSGIRequestHandler

    _keep_off(leave)
    WSGIRequestHandler.protocol_version = "HTTP/1.1"  # keeps connections, as S3 does
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else a line for each request
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    port = server.get_host_and_port()[1]
    os.environ |= environment(port)
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    ready.send(port)
    time.sleep(1e9)


def _relay(ready: Connection, leave: int, port: int, latency: float) -> None:
    _keep_off(leave)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_pass_on(reader, there[1], latency), _pass_on(there[0], writer, 0.0))

    async def serve() -> None:
        server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=_PIECE)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, latency: float) -> None:
    """Pass on what comes, each piece `latency` seconds after it came, so that it is late and no slower."""
    loop, late = asyncio.get_running_loop(), asyncio.Queue[tuple[float, bytes]]()

    async def receive() -> None:
        piece = b"-"
        while piece:
            with contextlib.suppress(ConnectionError):
                piece = b""
                piece = await reader.read(_PIECE)
            await late.put((loop.time() + latency, piece))

    receiving = asyncio.create_task(receive())
    with contextlib.suppress(ConnectionError):
        while True:
            due, piece = await late.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not piece:
                break
            writer.write(piece)
            await writer.drain()
    await receiving
    with contextlib.suppress(ConnectionError, RuntimeError):
        writer.close()
