"""Reads a service's log: finds the place in the index, then the lines in the raw files. Writes nothing.

Follower and supervisor meet in the file system only: a wake-up from the kernel when the index grew. What the index
promises and the raw file no longer holds comes as a gap, never as other bytes.
"""

import asyncio
import contextlib
import dataclasses
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Self

from node_agent import inotify
from node_agent.model import log_index
from node_agent.model.log import LogBatch, LogLine, LogQuery
from node_agent.model.log_index import Entry
from node_agent.paths import Paths

BATCH_LINES, BATCH_BYTES = 100, 256 << 10
BLOCK_ENTRIES = 512
FALLBACK_POLL_S = 0.25  # for what the kernel does not tell: a log that begins, or is deleted


@dataclasses.dataclass(frozen=True, slots=True)
class Search:
    """What one reader may cost: bytes at once, between two looks at whether it is still there, and bytes of the newest
    output that a search for its tail goes through.
    """

    step_bytes: int = 4 << 20
    tail_bytes: int = 64 << 20


class LogReader:
    """Implements ports.LogReader. All followers share one kernel queue."""

    def __init__(self, paths: Paths, search: Search | None = None) -> None:
        self._paths = paths
        self._search = search or Search()
        self._wakeups = _Wakeups()

    async def read(self, query: LogQuery) -> AsyncIterator[LogBatch]:
        """Batches of at most 100 lines or 256 KiB, `caught_up` on the one that completes the tail."""
        cursor = await self._open(query)
        if cursor is None:
            yield LogBatch((), caught_up=True)
            return
        try:
            until: int | None = await asyncio.to_thread(cursor.seek, query)
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

    async def _open(self, query: LogQuery) -> "_Cursor | None":
        """A follower of a log that has not begun waits for it."""
        path = self._paths.log_index(query.service_id)
        while True:
            try:
                return _Cursor(
                    self._paths, query, self._search, os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
                )
            except FileNotFoundError:
                if not query.follow:
                    return None
            await asyncio.sleep(FALLBACK_POLL_S)

    async def _grown(self, service_id: str, cursor: "_Cursor") -> bool:
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


class _Cursor:
    """A place in one index. `expected` is the number of the next line that has not been given out or passed over."""

    def __init__(self, paths: Paths, query: LogQuery, search: Search, fd: int) -> None:
        self._paths, self._query, self._search, self._fd = paths, query, search, fd
        self._at = 0  # in entries
        self._expected = 0  # 0: the beginning is not known yet
        self._skip_to = 0

    def close(self) -> None:
        os.close(self._fd)

    def is_at(self, path: os.PathLike[str]) -> bool:
        """Whether the index is still the one at `path`."""
        try:
            return os.path.samestat(os.stat(path), os.fstat(self._fd))  # noqa: PTH116 - samestat takes both from os
        except FileNotFoundError:
            return False

    def has_more(self, until: int | None) -> bool:
        return self._at < (self._size() if until is None else until)

    def seek(self, query: LogQuery) -> int:
        """Go to where the query begins; the present end of the index, where its tail is complete."""
        size = self._size()
        if query.after_seq:
            self._at = self._find(query.after_seq + 1, size)
            self._expected = self._skip_to = query.after_seq + 1
            return size
        self._at = size
        with _RawFiles(self._paths, query.service_id) as files:
            self._seek_tail(query.tail, files)
        return size

    def _seek_tail(self, missing: int, files: "_RawFiles") -> None:
        """Backwards until `missing` lines match, the log is older than asked for, or the search took long enough."""
        searched, first = 0, self._at
        while self._at and missing > 0 and searched < self._search.tail_bytes:
            start = max(0, self._at - BLOCK_ENTRIES)
            newest = 0.0
            for entry in reversed(self._entries(start, self._at)):
                self._at -= 1
                newest = max(newest, entry.time if entry else newest)
                if entry is None or not self._matches(entry):
                    continue
                found = self._found(entry, files)
                searched += entry.length if self._query.grep else 0
                if found:
                    first, self._skip_to = self._at, found[max(0, len(found) - missing)]
                missing -= len(found)
                if missing <= 0 or searched >= self._search.tail_bytes:
                    break
            else:
                if newest < self._query.since:  # entries are nearly in the order of time
                    break
        self._at = first

    def _found(self, entry: Entry, files: "_RawFiles") -> Sequence[int]:
        """The numbers of the lines of `entry` that match. What is not to be read comes as one gap: it counts as one."""
        if not self._query.grep:
            return range(entry.seq, entry.next_seq)
        texts = files.read(entry)
        if texts is None:
            return [entry.seq]
        return [seq for seq, text in enumerate(texts, start=entry.seq) if self._query.grep in text]

    def next_lines(self, until: int | None) -> list[LogLine]:
        """The next lines that match, enough for a batch if a bounded piece of the log has as many; none at its end.
        Blocks on the disk alone.
        """
        found: list[LogLine] = []
        weight = searched = 0
        with _RawFiles(self._paths, self._query.service_id) as files:
            end = self._size() if until is None else until
            while (
                self._at < end
                and len(found) < BATCH_LINES
                and weight < BATCH_BYTES
                and searched < self._search.step_bytes
            ):
                for entry in self._entries(self._at, min(end, self._at + BATCH_LINES)):
                    self._at += 1
                    lines = self._lines(entry, files) if entry is not None else []
                    found += lines
                    weight += sum(len(line.line) for line in lines)
                    searched += log_index.SIZE if entry is None or not self._matches(entry) else entry.length
                    if len(found) >= BATCH_LINES or weight >= BATCH_BYTES or searched >= self._search.step_bytes:
                        break
        return found

    def _lines(self, entry: Entry, files: "_RawFiles") -> list[LogLine]:
        found: list[LogLine] = []
        if self._expected and entry.seq > self._expected:
            found.append(LogLine(self._expected, entry.time, "", "", 0, b"", gap_to=entry.seq - 1))
        self._expected = max(self._expected, entry.next_seq)
        if not self._matches(entry) or entry.next_seq <= self._skip_to:
            return found
        first = max(entry.seq, self._skip_to)
        source = entry.source
        texts = files.read(entry)
        if texts is None:
            gap = LogLine(first, entry.time, source.stream, source.process, source.release, b"", entry.next_seq - 1)
            return [*found, gap]
        found += (
            LogLine(seq, entry.time, source.stream, source.process, source.release, text)
            for seq, text in enumerate(texts[first - entry.seq :], start=first)
            if self._query.grep in text
        )
        return found

    def _matches(self, entry: Entry) -> bool:
        source = entry.source
        return self._query.wants_time(entry.time) and self._query.wants(source.process, source.release, source.stream)

    def _find(self, seq: int, size: int) -> int:
        """The entry that holds `seq`, or an earlier one when damage is in the way."""
        low, high = 0, size
        while low < high:
            middle = (low + high) // 2
            entry = self._entries(middle, middle + 1)[0]
            if entry is not None and entry.next_seq <= seq:
                low = middle + 1
            else:
                high = middle
        return low

    def _size(self) -> int:
        return os.fstat(self._fd).st_size // log_index.SIZE

    def _entries(self, start: int, end: int) -> list[Entry | None]:
        return log_index.unpack_all(os.pread(self._fd, (end - start) * log_index.SIZE, start * log_index.SIZE))


class _RawFiles:
    """The raw files of one service, each opened at most once."""

    def __init__(self, paths: Paths, service_id: str) -> None:
        self._paths, self._service_id = paths, service_id
        self._fds: dict[log_index.Source, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self._fds.values():
            os.close(fd)

    def read(self, entry: Entry) -> list[bytes] | None:
        """The lines of `entry`; None when its raw file no longer holds them."""
        source = entry.source
        try:
            if source not in self._fds:
                path = self._paths.log_file(self._service_id, source.process, source.release, source.stream)
                self._fds[source] = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            data = os.pread(self._fds[source], entry.length, entry.offset)
        except OSError:
            return None
        return log_index.lines_of(entry, data)


class _Wakeups:
    """Events that are set when a file grows. Without a kernel queue the followers' own slow look has to do."""

    def __init__(self) -> None:
        self._inotify: inotify.Inotify | None = None
        self._events: dict[int, list[asyncio.Event]] = {}

    @contextlib.contextmanager
    def on(self, path: os.PathLike[str]) -> Iterator[asyncio.Event]:
        event = asyncio.Event()
        watch = self._add(path, event)
        try:
            yield event
        finally:
            if watch is not None:
                self._remove(watch, event)

    def _add(self, path: os.PathLike[str], event: asyncio.Event) -> int | None:
        try:
            if self._inotify is None:
                self._inotify = inotify.Inotify()
                asyncio.get_running_loop().add_reader(self._inotify.fileno(), self._read)
            watch = self._inotify.add(path, inotify.IN_MODIFY | inotify.IN_DELETE_SELF | inotify.IN_ATTRIB)
        except OSError:
            self._close_unused()
            return None
        self._events.setdefault(watch, []).append(event)
        return watch

    def _remove(self, watch: int, event: asyncio.Event) -> None:
        events = self._events[watch]
        events.remove(event)
        if not events:
            del self._events[watch]
            if self._inotify is not None:
                self._inotify.remove(watch)
        self._close_unused()

    def _close_unused(self) -> None:
        if self._inotify is not None and not self._events:
            asyncio.get_running_loop().remove_reader(self._inotify.fileno())
            self._inotify.close()
            self._inotify = None

    def _read(self) -> None:
        if self._inotify is not None:
            for watch, _ in self._inotify.read():
                for event in self._events.get(watch, ()):
                    event.set()


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
