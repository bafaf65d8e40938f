"""Bodies that are async streams: what a follow view returns, and what keeps such a stream alive.

The bridge in web/ pumps an `AsyncStream` on the loop; any other WSGI server and Flask's test client iterate it, which
costs them a thread per follower.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Generic, TypeVar

import flask

from control_plane.api import auth, context, limits

T = TypeVar("T")
FOLLOW_FOR_EVER_S = 24 * 3600.0


class Ending:
    """Chunks that know when they are closed, also when nobody ever asked for one: a generator would not notice that."""

    def __init__(self, chunks: AsyncGenerator[bytes, None]) -> None:
        self.done: list[Callable[[], None]] = []
        self._chunks = chunks

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._chunks)

    async def aclose(self) -> None:
        try:
            await self._chunks.aclose()
        finally:
            while self.done:
                self.done.pop()()


class AsyncStream:
    """An async generator of bytes that is a WSGI body too. Whoever pumps it sets `handed_over` and closes it."""

    def __init__(self, chunks: AsyncGenerator[bytes, None], call: Callable[..., Any]) -> None:
        self.handed_over = False
        self._chunks: Ending = Ending(chunks)
        self._call = call

    def at_end(self, done: Callable[[], None]) -> None:
        """Call `done` when the stream is closed."""
        self._chunks.done.append(done)

    def __aiter__(self) -> Ending:
        return self._chunks

    def __iter__(self) -> Iterator[bytes]:
        with contextlib.suppress(StopAsyncIteration):
            while True:
                yield self._call(_next(self._chunks), FOLLOW_FOR_EVER_S)

    def close(self) -> None:
        """Called by WSGI servers at the end of a response."""
        if not self.handed_over:
            self._call(self._chunks.aclose())


def counted(opened: Callable[[], flask.Response]) -> flask.Response:
    """What `opened` answers, in one of the places that the caller has for streams, until the stream is closed.

    RateLimitedError, and nothing is opened, when the caller has none left.
    """
    place = context.current().places.take(limits.caller())
    try:
        response = opened()
    except BaseException:
        place.give_back()
        raise
    if isinstance(response.response, AsyncStream):
        response.response.at_end(place.give_back)
    else:
        place.give_back()
    return response


async def while_good(
    chunks: AsyncGenerator[bytes, None], is_good: Callable[[], Awaitable[bool]], every_s: float
) -> AsyncGenerator[bytes, None]:
    """`chunks` until `is_good` says no; it is asked every `every_s`, whether anything comes or not."""
    loop = asyncio.get_running_loop()
    look_at = loop.time() + every_s
    pending: asyncio.Future[bytes] | None = None
    try:
        while True:
            pending = pending or asyncio.ensure_future(_next(chunks))
            await asyncio.wait({pending}, timeout=max(0.0, look_at - loop.time()))
            if loop.time() >= look_at:
                if not await is_good():
                    return
                look_at = loop.time() + every_s
            if pending.done():
                try:
                    chunk = pending.result()
                except StopAsyncIteration:
                    return
                pending = None
                yield chunk
    finally:
        if pending is not None:
            pending.cancel()
            await asyncio.gather(pending, return_exceptions=True)
        await chunks.aclose()


def respond(chunks: AsyncGenerator[bytes, None], call: Callable[..., Any], mimetype: str) -> flask.Response:
    """The response of a follow view, for as long as its reader may read it. HEAD gets the headers alone."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    if flask.request.method == "HEAD":
        call(chunks.aclose())
        return flask.Response(headers=headers, content_type=mimetype)
    if flask.g.get("principal") is not None:
        chunks = while_good(chunks, auth.watch(), context.current().settings.watch_s)
    return flask.Response(AsyncStream(chunks, call), headers=headers, content_type=mimetype, direct_passthrough=True)


class Primed(Generic[T]):
    """A source whose first item was asked for already. Closing it works at any time, and twice."""

    def __init__(self, source: AsyncIterator[T]) -> None:
        self._source = source
        self._first: asyncio.Future[T] | None = None

    async def start(self, patience_s: float) -> None:
        """Raises what the source raises at once: no byte is out yet. A later first item is part of the stream."""
        self._first = asyncio.ensure_future(_next(self._source))
        await asyncio.wait({self._first}, timeout=patience_s)
        if self._first.done() and not isinstance(self._first.exception(), StopAsyncIteration | None):
            await self._first

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        if self._first is None:
            return await anext(self._source)
        first, self._first = self._first, None
        return await first

    async def aclose(self) -> None:
        if self._first is not None:
            self._first.cancel()
            await asyncio.gather(self._first, return_exceptions=True)
            self._first = None
        await close(self._source)


async def with_heartbeat(source: AsyncIterator[T], interval_s: float) -> AsyncGenerator[T | None, None]:
    """The items of `source`, and None whenever nothing came for `interval_s`."""
    pending: asyncio.Future[T] | None = None
    try:
        while True:
            pending = pending or asyncio.ensure_future(_next(source))
            await asyncio.wait({pending}, timeout=interval_s)
            if not pending.done():
                yield None
                continue
            try:
                item = pending.result()
            except StopAsyncIteration:
                return
            pending = None
            yield item
    finally:
        if pending is not None:
            pending.cancel()
            await asyncio.gather(pending, return_exceptions=True)
        await close(source)


async def close(source: AsyncIterator[Any]) -> None:
    """Closes a generator, or whatever else has `aclose`."""
    aclose = getattr(source, "aclose", None)
    if aclose is not None:
        await aclose()


async def _next(source: AsyncIterator[T]) -> T:
    return await anext(source)
