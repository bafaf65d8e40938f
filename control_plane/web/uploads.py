"""Request bodies that are too large for memory: read by the view itself, piece by piece, while it runs.

The view runs before the first byte is asked for, so that a stranger is refused unheard. A body that is read this way holds
a worker thread, hence few at once: the others wait without a thread. Made and used by bridge.py.
"""

import asyncio
import concurrent.futures
import dataclasses
import io
import re
from collections.abc import Awaitable, Callable
from typing import Any

from werkzeug import exceptions as http_errors

from control_plane import errors

BUFFER_BYTES = 256 << 10


@dataclasses.dataclass(frozen=True, slots=True)
class Uploads:
    """Which requests are streamed to their view, and within which bounds. The patterns match whole paths."""

    routes: tuple[tuple[str, re.Pattern[str]], ...] = ()
    max_bytes: int = 512 << 20
    slots: int = 2
    waiting: int = 16
    wait_s: float = 30.0
    idle_s: float = 15.0
    total_s: float = 1800.0

    def takes(self, method: str, path: str) -> bool:
        return any(method == wanted and pattern.fullmatch(path) for wanted, pattern in self.routes)


class Slots:
    """At most `slots` uploads hold a thread; a few more wait for one, on the loop."""

    def __init__(self, bounds: Uploads) -> None:
        self._bounds = bounds
        self._free = asyncio.Semaphore(bounds.slots)
        self._waiting = 0

    async def take(self) -> bool:
        """False when none came free in time, or too many wait already. What was taken is given back."""
        if self._free.locked() and self._waiting >= self._bounds.waiting:
            return False
        self._waiting += 1
        try:
            async with asyncio.timeout(self._bounds.wait_s):
                await self._free.acquire()
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1
        return True

    def give_back(self) -> None:
        self._free.release()


class StreamedBody(io.RawIOBase):
    """`wsgi.input` over ASGI's `receive`; read in one worker thread. Raises what Flask turns into the right answer."""

    def __init__(self, loop: asyncio.AbstractEventLoop, receive: Callable[[], Awaitable[Any]], bounds: Uploads) -> None:
        self._loop = loop
        self._receive = receive
        self._bounds = bounds
        self._left = bounds.max_bytes
        self._ends = loop.time() + bounds.total_s
        self._rest = b""
        self._more = True

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Raises ClientDisconnected, RequestEntityTooLarge, or InvalidError when the body stands still."""
        while not self._rest and self._more:
            self._rest = self._next()
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size

    def buffered(self) -> io.BufferedReader:
        return io.BufferedReader(self, BUFFER_BYTES)

    def _next(self) -> bytes:
        patience_s = min(self._bounds.idle_s, self._ends - self._loop.time())
        if patience_s <= 0:
            raise _late()
        future = asyncio.run_coroutine_threadsafe(_received(self._receive), self._loop)
        try:
            message = future.result(patience_s)
        except (TimeoutError, concurrent.futures.CancelledError):
            future.cancel()
            raise _late() from None
        if message["type"] == "http.disconnect":
            raise http_errors.ClientDisconnected
        self._more = message.get("more_body", False)
        data: bytes = message.get("body", b"")
        self._left -= len(data)
        if self._left < 0:
            raise http_errors.RequestEntityTooLarge
        return data


async def _received(receive: Callable[[], Awaitable[Any]]) -> Any:
    return await receive()


def _late() -> errors.InvalidError:
    return errors.InvalidError("cannot read the request: its body did not arrive in time; send it again")
