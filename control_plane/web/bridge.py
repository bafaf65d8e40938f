"""Flask (WSGI) under an asyncio server, with bodies that may be async streams.

The views of an app that waits through Core.call alone run on the loop (on_loop.py). Those of any other app, those with much
to read, and those that read it themselves (uploads.py), run in worker threads: `_Responder` does that. When a body that a view returns has
`__aiter__`, the loop pumps the stream (pump.py), so that a thousand followers cost no thread. Request bodies are read
whole, bounded in size and time, before a view begins: a slow sender cannot hold one. This module hooks two methods of
a2wsgi that are not formally public; the version is pinned and tests/integration/test_web_bridge.py holds what we rely on.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, cast

import a2wsgi
import a2wsgi.wsgi
import structlog

from control_plane.web import below, on_loop
from control_plane.web.pump import Chunks, Message, Receive, Send, pump
from control_plane.web.uploads import Slots, StreamedBody, Uploads

log = structlog.get_logger()

MAX_BODY_BYTES = 1 << 20
MAX_ON_LOOP_BYTES = 4 << 10  # to read more than this, and to say what is wrong with it, may hold the loop too long
DISCARD_BYTES = 16 << 20
DISCARD_S = 2.0
MAX_BODIES_BYTES = 128 << 20  # of all requests that are being read
BODY_TIMEOUT_S = 15.0
# Keys of the environ, read by api/requests.py.
LATE_BODY = "dployr.late_body"  # the body did not arrive in time
BUSY = "dployr.busy"  # too many bodies at once: nothing was read
MAX_BODY = "dployr.max_body"  # how long this body may be; set where it is streamed
WORKERS = 16


class ClientGoneError(Exception):
    """The client left before its request was whole; nobody waits for an answer."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Body:
    """What became of a request's body before its view runs; `extra` goes into the environ."""

    data: bytes = b""
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class NoRoomError(Exception):
    """Too many bodies are being read at once."""


class Bridge(a2wsgi.WSGIMiddleware):  # type: ignore[misc, unused-ignore]
    """The ASGI application over a WSGI one."""

    body_timeout_s = BODY_TIMEOUT_S
    max_bodies_bytes = MAX_BODIES_BYTES

    def __init__(
        self, app: Any, workers: int = WORKERS, uploads: Uploads | None = None, *, in_threads: bool = True
    ) -> None:
        super().__init__(app, workers=workers)
        self._in_threads = in_threads
        self._uploads = uploads or Uploads()
        self._slots = Slots(self._uploads)
        self._room = self.max_bodies_bytes
        self._ending = asyncio.Event()

    def end_streams(self) -> None:
        """Ends every running stream in good order, and every later one at once; called on the loop."""
        self._ending.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        scope = _without_ambiguity(scope)
        begun = _Begun(send)
        try:
            if self._uploads.takes(scope["method"], scope["path"]):
                await self._stream_in(scope, receive, begun)
            else:
                await self._read_first(scope, receive, begun)
        except ClientGoneError:
            return
        except Exception as error:
            if begun.has_begun:
                raise
            log.error("request.failed", path=scope["path"], method=scope["method"], exc_info=error)
            await below.report_defect(send)

    async def _read_first(self, scope: Any, receive: Receive, send: Send) -> None:
        reading = _Reading(self)
        try:
            body = await self._read(reading, scope, receive)
            known, receive = _with_length(scope, len(body.data)), _replay(body.data, receive)
            if self._in_threads or len(body.data) > MAX_ON_LOOP_BYTES:
                await self._respond(known, receive, send, body.extra)
            else:
                await on_loop.respond(self.app, known, body.data, body.extra, receive, send, self._ending)
        finally:
            reading.give_back()

    async def _read(self, reading: "_Reading", scope: Any, receive: Receive) -> _Body:
        try:
            async with asyncio.timeout(self.body_timeout_s):
                return _Body(await reading.whole(scope, receive))
        except TimeoutError:
            return _Body(extra={LATE_BODY: True})
        except NoRoomError:
            return _Body(extra={BUSY: True})

    async def _stream_in(self, scope: Any, receive: Receive, send: Send) -> None:
        """The view reads; or, with a declared length that is too long or without a slot, refuses without reading."""
        extra: dict[str, Any] = {MAX_BODY: self._uploads.max_bytes}
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > self._uploads.max_bytes:
            await self._respond(_with_length(scope, 0), _replay(b"", receive), send, extra)
            return
        if not await self._slots.take():
            await self._respond(_with_length(scope, 0), _replay(b"", receive), send, {**extra, BUSY: True})
            return
        try:
            stream = StreamedBody(asyncio.get_running_loop(), receive, self._uploads)
            extra |= {"wsgi.input": stream.buffered(), "wsgi.input_terminated": True}
            await self._respond(scope, receive, send, extra)
        finally:
            self._slots.give_back()

    async def _respond(self, scope: Any, receive: Receive, send: Send, extra: Mapping[str, Any]) -> None:
        responder = _Responder(self.app, self.executor, self.send_queue_size, self._ending)
        responder.extra = extra
        await responder(scope, receive, send)

    def take_room(self, octets: int) -> bool:
        """Whether so much more may be held in memory; counted from then on."""
        self._room -= octets
        return self._room >= 0

    def give_room(self, octets: int) -> None:
        self._room += octets


class _Begun:
    """`send`, and whether anything was sent."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.has_begun = False

    async def __call__(self, message: Message) -> None:
        self.has_begun = True
        await self._send(message)


class _Responder(a2wsgi.wsgi.WSGIResponder):  # type: ignore[misc, unused-ignore]
    """One request: a2wsgi's responder, which hands an async body over to the loop."""

    extra: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, app: Any, executor: Any, send_queue_size: int, ending: asyncio.Event) -> None:
        super().__init__(app, executor, send_queue_size)
        self._ending = ending
        self._stream: Chunks | None = None

    def wsgi(self, environ: Any, start_response: Any) -> None:
        """In a worker thread. Returns as soon as the headers of a stream are out."""
        environ.update(self.extra)
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
            await pump(self._stream, receive, send, self._ending)


class _Reading:
    """One body on its way into memory."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._held = 0

    async def whole(self, scope: Any, receive: Receive) -> bytes:
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
            data = message.get("body", b"")
            self._held += len(data)
            if not self._bridge.take_room(len(data)):
                raise NoRoomError
            body += data
            if len(body) > MAX_BODY_BYTES:
                await _discard(receive)
                return bytes(body[: MAX_BODY_BYTES + 1])
            if not message.get("more_body", False):
                return bytes(body)

    def give_back(self) -> None:
        self._bridge.give_room(self._held)


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


def _without_ambiguity(scope: Any) -> Any:
    """Without headers whose name holds `_`: in the environ they would be one with the name that has `-`."""
    headers = [header for header in scope["headers"] if b"_" not in header[0]]
    return scope if len(headers) == len(scope["headers"]) else {**scope, "headers": headers}


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
