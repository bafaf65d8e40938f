"""Reads a service's log: finds the place in the index, then the lines in the raw files. Writes nothing.

Follower and supervisor meet in the file system only: a wake-up from the kernel when the index grew. What the index
promises and the raw file no longer holds comes as a gap, never as other bytes.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

from node_agent.log_cursor import BATCH_BYTES, BATCH_LINES, Cursor, Search
from node_agent.log_wakeups import Wakeups
from node_agent.model.log import LogBatch, LogLine, LogQuery
from node_agent.paths import Paths

FALLBACK_POLL_S = 0.25  # for what the kernel does not tell: a log that begins, or is deleted


class LogReader:
    """Implements ports.LogReader. All followers share one kernel queue."""

    def __init__(self, paths: Paths, search: Search | None = None) -> None:
        self._paths = paths
        self._search = search or Search()
        self._wakeups = Wakeups()

    async def read(self, query: LogQuery) -> AsyncIterator[LogBatch]:
        """Batches of at most 100 lines or 256 KiB, `caught_up` on the one that completes the tail."""
        cursor = await self._open(query)
        if cursor is None:
            yield LogBatch((), caught_up=True)
            return
        try:
            until: int | None = await asyncio.to_thread(cursor.seek)
            while True:
                lines = await asyncio.to_thread(cursor.next_lines, until)  # few or none when a search goes on
                batches = _batches(lines)
                for batch in batches[:-1]:
                    yield LogBatch(batch)
                done = until is not None and not cursor.has_more(until)
                if batches or done:
                    yield LogBatch(batches[-1] if batches else (), caught_up=done)
                if done and not query.follow:
                    return
                if done:
                    until = None
                if until is None and not lines and not await self._grown(query.service_id, cursor):
                    return
        finally:
            cursor.close()

    async def _open(self, query: LogQuery) -> Cursor | None:
        """A follower of a log that has not begun waits for it."""
        path = self._paths.log_index(query.service_id)
        while True:
            try:
                return Cursor(
                    self._paths, query, self._search, os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
                )
            except FileNotFoundError:
                if not query.follow:
                    return None
            await asyncio.sleep(FALLBACK_POLL_S)

    async def _grown(self, service_id: str, cursor: Cursor) -> bool:
        """Wait until the index has more than the cursor has read; False when the log was deleted."""
        path = self._paths.log_index(service_id)
        with self._wakeups.on(path) as woken:
            while not cursor.has_more(None):
                if not cursor.is_at(path):
                    return False
                woken.clear()
                if cursor.has_more(None):
                    break
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(FALLBACK_POLL_S):
                        await woken.wait()
        return True


def _batches(lines: list[LogLine]) -> list[tuple[LogLine, ...]]:
    """Cut into batches of at most BATCH_LINES lines and BATCH_BYTES bytes."""
    batches: list[tuple[LogLine, ...]] = []
    batch: list[LogLine] = []
    weight = 0
    for line in lines:
        if batch and (len(batch) >= BATCH_LINES or weight + len(line.line) > BATCH_BYTES):
            batches.append(tuple(batch))
            batch, weight = [], 0
        batch.append(line)
        weight += len(line.line)
    return [*batches, tuple(batch)] if batch else batches
