"""A real HTTP server in this process for tests of the control plane's HTTP side."""

import asyncio
import contextlib
import http.client
import json
import threading
from collections.abc import Iterator
from typing import Any

from control_plane.web import core, server


class Loop:
    """An asyncio loop in a thread of its own, ended without leftovers."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="test-loop")
        self._thread.start()
        self.core = core.Core(self.loop)

    def run(self, coro, timeout: float = 20.0):
        return asyncio.run_coroutine_threadsafe(coro, self.loop).result(timeout)

    def close(self) -> None:
        self.run(_cancel_others())
        self.run(self.loop.shutdown_asyncgens())
        self.run(self.loop.shutdown_default_executor())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


@contextlib.contextmanager
def loop_thread() -> Iterator[Loop]:
    running = Loop()
    try:
        yield running
    finally:
        running.close()


@contextlib.contextmanager
def serving(loop: Loop, app: Any) -> Iterator[int]:
    """Serves `app` on a free loopback port; gives the port. Ends the server at the end of the block."""

    async def start() -> tuple[asyncio.Event, asyncio.Task, int]:
        stop, port = asyncio.Event(), loop.loop.create_future()
        task = asyncio.create_task(server.serve(app, "127.0.0.1", 0, stop, port.set_result))
        return stop, task, await port

    stop, task, port = loop.run(start())
    try:
        yield port
    finally:
        loop.loop.call_soon_threadsafe(stop.set)
        loop.run(_joined(task))


async def _joined(task: asyncio.Task) -> None:
    await task


class Answer:
    """Status, headers (names in lower case) and body of one response."""

    def __init__(self, response: http.client.HTTPResponse, body: bytes) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


class Client:
    """One request per connection, over real sockets."""

    def __init__(self, port: int, token: str = "") -> None:
        self.port = port
        self.token = token

    def request(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        with contextlib.closing(self.open(method, path, body, headers)) as connection:
            response = connection.getresponse()
            return Answer(response, response.read())

    def open(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None):
        """The connection with the request sent, for reading a stream; the caller closes it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        sent = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if body is not None and not isinstance(body, bytes):
            body, sent["Content-Type"] = json.dumps(body).encode(), "application/json"
        connection.request(method, path, body, {**sent, **(headers or {})})
        return connection

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        return self.request("POST", path, body, headers)

    def put(self, path: str, body: Any = None) -> Answer:
        return self.request("PUT", path, body)

    def delete(self, path: str) -> Answer:
        return self.request("DELETE", path)
