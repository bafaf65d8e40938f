"""Closed-loop load over persistent connections, and idle followers, in a process of their own.

    python -m benchmarks.http_load load PORT METHOD CONNECTIONS SECONDS < {"headers": …, "paths": […]}
    python -m benchmarks.http_load follow PORT COUNT < the same; prints `ready` and follows until stdin ends

Each connection sends its next request when it has the answer to the last one, so the server is never asked more than it
answers; the same for every server that is measured.
"""

import asyncio
import contextlib
import itertools
import json
import re
import sys
import time
from collections.abc import Iterator
from typing import Any

LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
WARM_UP_S = 1.0


class Connection(asyncio.Protocol):
    """One client: notes when each answer came and how long it took, in seconds."""

    def __init__(self, requests: Iterator[bytes], ends: float) -> None:
        self._requests = requests
        self._ends = ends
        self._buffer = b""
        self._sent = 0.0
        self._transport: asyncio.Transport | None = None
        self.took: list[tuple[float, float]] = []
        self.failed: list[bytes] = []
        self.over = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        found = LENGTH.search(head)
        if found is None or len(body) < int(found[1]):
            return
        now = time.perf_counter()
        self.took.append((now, now - self._sent))
        if head[9:10] != b"2":
            self.failed.append(head[:40] + body[:300])
        self._buffer = b""
        self._next()

    def connection_lost(self, _error: Exception | None) -> None:
        if not self.over.done():
            self.failed.append(b"the server closed the connection")
            self.over.set_result(None)

    def _next(self) -> None:
        assert self._transport is not None
        if time.perf_counter() >= self._ends:
            self.over.set_result(None)
            self._transport.close()
            return
        self._sent = time.perf_counter()
        self._transport.write(next(self._requests))


def rendered(method: str, path: str, headers: dict[str, str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in headers.items())]
    lines += [] if method == "GET" else ["Content-Length: 0"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def load(port: int, method: str, connections: int, seconds: float, given: dict[str, Any]) -> dict[str, Any]:
    """Requests a second, and the percentiles of their times in ms, without the first second."""
    requests = itertools.cycle([rendered(method, path, given["headers"]) for path in given["paths"]])
    loop, begun = asyncio.get_running_loop(), time.perf_counter()
    ends = begun + WARM_UP_S + seconds
    clients = [
        (await loop.create_connection(lambda: Connection(requests, ends), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    await asyncio.gather(*(client.over for client in clients))
    counted = sorted(took for client in clients for at, took in client.took if at >= begun + WARM_UP_S)
    failed = [text.decode(errors="replace") for client in clients for text in client.failed]
    return {
        "rps": len(counted) / seconds,
        "p50_ms": 1000 * counted[len(counted) // 2],
        "p99_ms": 1000 * counted[int(len(counted) * 0.99)],
        "failed": len(failed),
        "first_failure": failed[:1],
    }


async def follow(port: int, count: int, given: dict[str, Any]) -> None:
    """Connects `count` followers and reads what comes until stdin ends."""
    paths, lines = itertools.cycle(given["paths"]), 0
    readers = []
    for _ in range(count):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(rendered("GET", next(paths), given["headers"]))
        head = await reader.readuntil(b"\r\n\r\n")
        if head.split()[1] != b"200":
            raise SystemExit(f"bench-api: a follower got {(head + await reader.read(1000)).decode()}")
        readers.append((reader, writer))

    async def drain(reader: asyncio.StreamReader) -> None:
        nonlocal lines
        while data := await reader.read(65536):
            lines += data.count(b'"seq"')

    tasks = [asyncio.create_task(drain(reader)) for reader, _ in readers]
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for _, writer in readers:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    print(json.dumps({"lines": lines}), flush=True)


def main() -> int:
    verb, port, *rest = sys.argv[1:]
    given = json.loads(sys.stdin.readline())
    if verb == "load":
        print(json.dumps(asyncio.run(load(int(port), rest[0], int(rest[1]), float(rest[2]), given))))
    else:
        asyncio.run(follow(int(port), int(rest[0]), given))
    return 0


if __name__ == "__main__":
    sys.exit(main())
