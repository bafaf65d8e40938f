"""Clients that hold a connection and hardly use it, in a process of their own.

    python -m benchmarks.slow_clients PORT COUNT SECONDS < {"headers": …, "paths": […]}

A third each sends the headers of a request byte by byte, sends a body byte by byte, and asks for one of the streams in
`paths` without ever reading it. Prints `ready` when all of them are connected and holds them until stdin ends, for at
most SECONDS; then prints how many were held: not answered and not cut, and of the readers those whose stream began. Talks
to 127.0.0.1 only.
"""

import asyncio
import contextlib
import itertools
import json
import socket
import sys
from collections.abc import Callable
from typing import Any

from benchmarks.http_load import rendered

BYTE_S = 0.5  # between two bytes
BODY_BYTES = 4096
RECEIVE_BYTES = 4096
CONNECT_S = 30.0


class Client(asyncio.Protocol):
    """Sends `opening` at once. `held` as long as the server neither answered it nor cut it."""

    def __init__(self, opening: bytes) -> None:
        self._opening = opening
        self.held = True
        self.settled = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport: asyncio.Transport = transport
        transport.write(self._opening)
        self.begin()

    def begin(self) -> None:
        self.settle()

    def settle(self) -> None:
        if not self.settled.done():
            self.settled.set_result(None)

    def data_received(self, _data: bytes) -> None:
        self.held = False

    def connection_lost(self, _error: Exception | None) -> None:
        self.held = False
        self.settle()


class Trickle(Client):
    """Goes on with a byte now and then."""

    def begin(self) -> None:
        self.settle()
        self._drip()

    def _drip(self) -> None:
        if self.held:
            self.transport.write(b"x")
            asyncio.get_running_loop().call_later(BYTE_S, self._drip)


class DeafReader(Client):
    """Takes the beginning of the answer and nothing of the rest."""

    def begin(self) -> None:
        """It is there when the answer begins."""

    def data_received(self, data: bytes) -> None:
        self.transport.pause_reading()
        self.held = data[9:12] == b"200"
        self.settle()


def kinds(given: dict[str, Any]) -> list[Callable[[], Client]]:
    headers, paths = given["headers"], itertools.cycle(given["paths"])
    half = rendered("GET", "/v1/services", headers).removesuffix(b"\r\n") + b"X-Slow: "
    sized = {**headers, "Content-Type": "application/json", "Content-Length": str(BODY_BYTES)}
    body = rendered("POST", "/v1/deployments", sized).replace(b"Content-Length: 0\r\n", b"") + b'{"name": "'
    streamed = {**headers, "Accept": "application/x-ndjson"}
    return [
        lambda: Trickle(half),
        lambda: Trickle(body),
        lambda: DeafReader(rendered("GET", next(paths), streamed)),
    ]


async def connect(port: int, make: Callable[[], Client]) -> Client:
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, ("127.0.0.1", port))
    return (await loop.create_connection(make, sock=sock))[1]


async def hold(port: int, count: int, seconds: float, given: dict[str, Any]) -> int:
    """How many were held until the end."""
    ended = asyncio.Event()
    clients: list[Client] = []
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
    try:
        async with asyncio.timeout(CONNECT_S):
            for make in itertools.islice(itertools.cycle(kinds(given)), count):
                clients.append(await connect(port, make))  # noqa: PERF401 - they are ended also when another fails
            await asyncio.gather(*(client.settled for client in clients))
        print("ready", flush=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), seconds)
        return sum(client.held for client in clients)
    finally:
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        for client in clients:
            client.held = False
            client.transport.abort()


def main() -> int:
    port, count, seconds = sys.argv[1:]
    given = json.loads(sys.stdin.readline())
    print(json.dumps({"held": asyncio.run(hold(int(port), int(count), float(seconds), given))}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
