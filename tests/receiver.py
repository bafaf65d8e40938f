"""A real HTTP receiver on loopback that behaves as it is told, and keeps what it was sent."""

import asyncio
import contextlib
import dataclasses
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

LOOPBACK = "127.0.0.1"
END = b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
PIECE = b"x" * 65536

Write = Callable[[bytes], Awaitable[None]]


@dataclasses.dataclass(frozen=True, slots=True)
class Received:
    """Header names in lower case."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def number(self) -> int:
        """The number that tests put in an event's data."""
        return json.loads(self.body)["data"]["number"]


class Receiver:
    """`modes` are used up one for each request, the last one stays. `written` counts what endless answers got out."""

    def __init__(self, *modes: str) -> None:
        self.modes = list(modes) or ["200"]
        self.received: list[Received] = []
        self.connections = 0
        self.open = 0
        self.written = 0
        self.port = 0
        self.released = asyncio.Event()
        self._tasks: set[asyncio.Task] = set()

    def url(self, path: str = "/hook", host: str = LOOPBACK, scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    @property
    def ids(self) -> list[str]:
        return [request.id for request in self.received]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.current_task())
        self.connections += 1
        self.open += 1
        try:
            await self._answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass  # the client has gone, as it may
        finally:
            self.open -= 1
            self._tasks.discard(asyncio.current_task())
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()

    async def end(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1)[:1] + line.split(": ", 1)[1:] for line in head[1:] if line)
        body = await reader.readexactly(int(headers["content-length"]))
        mode = self.modes.pop(0) if len(self.modes) > 1 else self.modes[0]
        self.received.append(Received(head[0], headers, body))

        async def write(data: bytes) -> None:
            writer.write(data)
            await writer.drain()
            self.written += len(data)

        await getattr(self, f"_{mode}", self._status)(mode, write, reader)

    async def _status(self, mode: str, write: Write, _reader: asyncio.StreamReader) -> None:
        body = f"answer {mode}".encode()
        await write(b"HTTP/1.1 %s X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (mode.encode(), len(body)))
        await write(body)

    async def _redirect(self, _mode: str, write: Write, _reader: asyncio.StreamReader) -> None:
        await write(b"HTTP/1.1 301 Moved\r\nLocation: " + self.url("/elsewhere").encode() + END)

    async def _slow(self, _mode: str, _write: Write, reader: asyncio.StreamReader) -> None:
        await reader.read()  # until the client gives up

    async def _held(self, _mode: str, write: Write, _reader: asyncio.StreamReader) -> None:
        await self.released.wait()
        await write(b"HTTP/1.1 200 OK" + END)

    async def _half(self, _mode: str, write: Write, reader: asyncio.StreamReader) -> None:
        await write(b"HTTP/1.1 200 OK\r\nContent-Le")
        await reader.read()

    async def _stalls(self, _mode: str, write: Write, reader: asyncio.StreamReader) -> None:
        await write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun")
        await reader.read()

    async def _broken(self, _mode: str, write: Write, _reader: asyncio.StreamReader) -> None:
        await write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun")

    async def _huge(self, _mode: str, write: Write, _reader: asyncio.StreamReader) -> None:
        await write(b"HTTP/1.1 200 OK\r\nContent-Length: 10485760\r\n\r\n")
        for _ in range(160):
            await write(PIECE)

    async def _endless(self, _mode: str, write: Write, _reader: asyncio.StreamReader) -> None:
        await write(b"HTTP/1.1 500 X\r\n\r\n")
        while True:
            await write(PIECE)

    async def _continues(self, _mode: str, write: Write, _reader: asyncio.StreamReader) -> None:
        while True:
            await write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def _headers(self, _mode: str, write: Write, _reader: asyncio.StreamReader) -> None:
        await write(b"HTTP/1.1 200 OK\r\n")
        while True:
            await write(b"X-More: " + b"y" * 1000 + b"\r\n")

    async def _noise(self, _mode: str, write: Write, _reader: asyncio.StreamReader) -> None:
        await write(b"\0\xff SSH-2.0-whatever\r\n\r\n")

    async def _binary(self, _mode: str, write: Write, _reader: asyncio.StreamReader) -> None:
        await write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\n\0\xffok")

    async def _hangup(self, _mode: str, _write: Write, _reader: asyncio.StreamReader) -> None:
        return


@contextlib.asynccontextmanager
async def a_receiver(
    *modes: str, host: str = LOOPBACK, port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Receiver]:
    receiver = Receiver(*modes)
    server = await asyncio.start_server(receiver.serve, host, port, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        await receiver.end()
        await server.wait_closed()
