"""Flask (WSGI) under an asyncio server, with bodies that may be async streams.

A view runs in a worker thread. When the body that it returns has `__aiter__`, the thread is released and the loop pumps
the stream, so that a thousand followers cost no thread. Request bodies are read whole, bounded in size and time, before a
thread is taken: a slow sender cannot hold one. This module hooks two methods of a2wsgi that are not formally public;
the version is pinned and tests/integration/test_web_bridge.py holds what we rely on.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from typing import Any, cast

import a2wsgi
import a2wsgi.wsgi

MAX_BODY_BYTES = 1 << 20
DISCARD_BYTES = 16 << 20
DISCARD_S = 2.0
BODY_TIMEOUT_S = 20.0
LATE_BODY = "dployr.late_body"  # environ key: the body did not arrive in time
WORKERS = 16

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class ClientGoneError(Exception):
    """The client left before its request was whole; nobody waits for an answer."""


class Bridge(a2wsgi.WSGIMiddleware):  # type: ignore[misc, unused-ignore]
    """The ASGI application over a WSGI one."""

    def __init__(self, app: Any, workers: int = WORKERS, body_timeout_s: float = BODY_TIMEOUT_S) -> None:
        super().__init__(app, workers=workers)
        self._body_timeout_s = body_timeout_s
        self._ending = asyncio.Event()

    def end_streams(self) -> None:
        """Ends every running stream in good order, and every later one at once; called on the loop."""
        self._ending.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        late = False
        try:
            async with asyncio.timeout(self._body_timeout_s):
                body = await _read_body(scope, receive)
        except ClientGoneError:
            return
        except TimeoutError:
            body, late = b"", True
        responder = _Responder(self.app, self.executor, self.send_queue_size, self._ending)
        responder.late_body = late
        await responder(_with_length(scope, len(body)), _replay(body, receive), send)


class _Responder(a2wsgi.wsgi.WSGIResponder):  # type: ignore[misc, unused-ignore]
    """One request: a2wsgi's responder, which hands an async body over to the loop."""

    late_body = False

    def __init__(self, app: Any, executor: Any, send_queue_size: int, ending: asyncio.Event) -> None:
        super().__init__(app, executor, send_queue_size)
        self._ending = ending
        self._stream: AsyncGenerator[bytes, None] | None = None

    def wsgi(self, environ: Any, start_response: Any) -> None:
        """In a worker thread. Returns as soon as the headers of a stream are out."""
        environ[LATE_BODY] = self.late_body
        body: Any = self.app(environ, start_response)
        if hasattr(body, "__aiter__"):
            body.handed_over = True
            self._stream = body.__aiter__()
            return
        self.app = cast("Any", lambda *_: body)
        super().wsgi(environ, start_response)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await super().__call__(scope, receive, send)
        if self._stream is not None:
            await _pump(self._stream, receive, send, self._ending)


async def _pump(stream: AsyncGenerator[bytes, None], receive: Receive, send: Send, ending: asyncio.Event) -> None:
    """Sends `stream` until it ends, the client goes or the server stops; then closes it, whatever happened."""
    over = {asyncio.ensure_future(_disconnected(receive)), asyncio.ensure_future(ending.wait())}
    chunk: asyncio.Future[bytes] | None = None
    try:
        while True:
            chunk = asyncio.ensure_future(anext(stream))
            await asyncio.wait({*over, chunk}, return_when=asyncio.FIRST_COMPLETED)
            if any(task.done() for task in over):
                break
            await send({"type": "http.response.body", "body": chunk.result(), "more_body": True})
    except StopAsyncIteration:
        pass
    finally:  # cancel first: aclose() of a generator that runs raises
        tasks: list[asyncio.Future[Any]] = [*over] if chunk is None else [*over, chunk]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await stream.aclose()
    await send({"type": "http.response.body", "body": b""})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _read_body(scope: Any, receive: Receive) -> bytes:
    """The whole body; of one that is larger than is allowed at most one byte more."""
    declared = dict(scope["headers"]).get(b"content-length", b"0")
    if not declared.isdigit() or int(declared) > MAX_BODY_BYTES:
        await _discard(receive)
        return b""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            await _discard(receive)
            return bytes(body[: MAX_BODY_BYTES + 1])
        if not message.get("more_body", False):
            return bytes(body)


async def _discard(receive: Receive) -> None:
    """Throw the rest of a refused body away as it comes, within bounds.

    A client that is still sending when the answer and the end of the connection arrive sees a broken pipe, not the 413.
    """
    left = DISCARD_BYTES
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DISCARD_S):
            while left > 0:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGoneError
                left -= len(message.get("body", b""))
                if not message.get("more_body", False):
                    return


def _with_length(scope: Any, length: int) -> Any:
    """A chunked body gets the length that it turned out to have: by that Flask reads it, or refuses it."""
    headers = [header for header in scope["headers"] if header[0] != b"transfer-encoding"]
    if len(headers) == len(scope["headers"]):
        return scope
    return {**scope, "headers": [*headers, (b"content-length", str(length).encode())]}


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body read before, and then what comes after it."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again
