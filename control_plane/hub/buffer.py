"""What waits for one log reader: bounded in batches and bytes.

While the tail is read the agent waits for the reader. Afterwards lines come when they come: what finds the buffer full
is dropped, and the next batch that fits is led by a marker with the numbers that are missing.
"""

import asyncio
import collections
from collections.abc import Sequence

from control_plane.domain import values

Lines = Sequence[values.LogLine]


class Lost(Exception):  # noqa: N818  nobody's error: the agent's stream broke
    """The source went away before it said that it was done."""


class Done(Exception):  # noqa: N818  the ordinary end
    """The source said that nothing follows."""


class Buffer:
    """One writer, one reader, one loop. `close` is the reader's, `finish` and `fail` are the writer's."""

    def __init__(self, max_batches: int, max_bytes: int) -> None:
        self._max_batches = max_batches
        self._max_bytes = max_bytes
        self._batches: collections.deque[Lines] = collections.deque()
        self._bytes = 0
        self._gap: tuple[int, int] | None = None
        self._changed = asyncio.Condition()
        self._end: Exception | None = None
        self._live = False
        self.closed = asyncio.Event()

    async def put(self, lines: Lines, *, caught_up: bool = False) -> None:
        """Give `lines` to the reader; waits for room during the tail only, drops and counts later."""
        async with self._changed:
            if not self._live:
                await self._changed.wait_for(lambda: self._has_room() or self._is_over())
            if lines and self._has_room() and not self._is_over():
                self._append(lines)
            elif lines:
                self._gap = (self._gap[0] if self._gap else lines[0].seq, lines[-1].gap_to or lines[-1].seq)
            self._live = self._live or caught_up
            self._changed.notify_all()

    async def finish(self, error: Exception | None = None) -> None:
        """Nothing follows: the reader gets what waits and the last gap, then the end, or `error`."""
        async with self._changed:
            if self._end is None:
                self._end = error or Done()
            self._changed.notify_all()

    async def get(self) -> Lines:
        """The next batch. Raises Done at the end, Lost, or what the source failed with."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._batches or self._gap or self._end)
            if self._batches:
                lines = self._batches.popleft()
                self._bytes -= _size(lines)
                self._changed.notify_all()
                return lines
            if self._gap:
                return self._marker()
            raise self._end or Lost()

    async def close(self) -> None:
        """The reader is gone: whoever writes is let go."""
        self.closed.set()
        async with self._changed:
            self._changed.notify_all()

    def _has_room(self) -> bool:
        return not self._batches or (len(self._batches) < self._max_batches and self._bytes < self._max_bytes)

    def _is_over(self) -> bool:
        return self.closed.is_set() or self._end is not None

    def _append(self, lines: Lines) -> None:
        if self._gap:
            lines = (*self._marker(), *lines)
        self._batches.append(lines)
        self._bytes += _size(lines)

    def _marker(self) -> Lines:
        first, last = self._gap or (0, 0)
        self._gap = None
        return (values.LogLine(seq=first, time=0.0, stream="", process="", release=0, line=b"", gap_to=last),)


def _size(lines: Lines) -> int:
    return sum(len(line.line) + 64 for line in lines)
