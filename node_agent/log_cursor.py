"""A place in the index of one log, and the lines from there on. Blocks on the disk alone.

Numbers that no entry has, entries that are damaged, gaps in the index and raw bytes that are not what was numbered all
come as a gap with the exact count.
"""

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Self, cast

from node_agent import raw_log
from node_agent.model import log_index
from node_agent.model.log import LogLine, LogQuery
from node_agent.model.log_index import Entry
from node_agent.paths import Paths

BATCH_LINES, BATCH_BYTES = 100, 256 << 10
BLOCK_ENTRIES = 512
DAMAGED_ENTRIES = 8  # one after the other, that a search by bisection sees past


@dataclasses.dataclass(frozen=True, slots=True)
class Search:
    """What one reader may cost: bytes at once, between two looks at whether it is still there, and bytes of the newest
    output that a search for its tail goes through.
    """

    step_bytes: int = 4 << 20
    tail_bytes: int = 64 << 20


class Cursor:
    """`expected` is the number of the next line that has not been given out or passed over."""

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

    def seek(self) -> int:
        """Go to where the query begins; where its tail is complete: at the present end of the index, or sooner where
        everything after is too new.
        """
        query, end = self._query, self._size()
        if query.until and not query.follow:
            end = self._last_until(query.until, end)
        since = self._first_since(query.since, end)
        if query.after_seq:
            self._at = self._bisect(end, lambda entry: entry.next_seq <= query.after_seq + 1)
            self._expected = self._skip_to = query.after_seq + 1
            self._pass_over(since)
        else:
            self._at = end
            with _RawFiles(self._paths, query.service_id) as files:
                self._seek_tail(query.tail, files, since)
        return end

    def next_lines(self, until: int | None) -> list[LogLine]:
        """The next lines that match, enough for a batch if a bounded piece of the log has as many; none at its end."""
        found: list[LogLine] = []
        weight = searched = 0
        self._at = max(self._at, self._first())
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
                    _extend(found, lines)
                    weight += sum(len(line.line) for line in lines)
                    searched += log_index.SIZE if entry is None or not self._matches(entry) else entry.length
                    if len(found) >= BATCH_LINES or weight >= BATCH_BYTES or searched >= self._search.step_bytes:
                        break
        return found

    def _pass_over(self, since: int) -> None:
        """Go on to `since`: nothing before it matches."""
        if since > self._at:
            entry = self._entries(since - 1, since)[0]
            if entry is not None:
                self._at = since
                self._expected = self._skip_to = max(self._expected, entry.next_seq)

    def _seek_tail(self, missing: int, files: "_RawFiles", beginning: int) -> None:
        """Backwards until `missing` lines match, `beginning` is reached, or the search took long enough."""
        searched, first = 0, self._at
        while self._at > beginning and missing > 0 and searched < self._search.tail_bytes:
            start = max(beginning, self._at - BLOCK_ENTRIES)
            for entry in reversed(self._entries(start, self._at)):
                self._at -= 1
                if entry is None or not self._matches(entry):
                    continue
                found = self._found(entry, files)
                searched += entry.length if self._query.grep else 0
                if found:
                    first, self._skip_to = self._at, found[max(0, len(found) - missing)]
                missing -= len(found)
                if missing <= 0 or searched >= self._search.tail_bytes:
                    break
        self._at = first

    def _found(self, entry: Entry, files: "_RawFiles") -> Sequence[int]:
        """The numbers of the lines of `entry` that match. What is not to be read comes as one gap: it counts as one."""
        if entry.gap:
            return [entry.seq] if entry.lines else []
        if not self._query.grep:
            return range(entry.seq, entry.next_seq)
        texts = files.lines(entry)
        if texts is None:
            return [entry.seq]
        return [seq for seq, text in enumerate(texts, start=entry.seq) if self._query.grep in text]

    def _lines(self, entry: Entry, files: "_RawFiles") -> list[LogLine]:
        found: list[LogLine] = []
        first = max(entry.seq, self._skip_to, self._expected)
        if self._expected and entry.seq > self._expected:
            found.append(LogLine(self._expected, entry.time, "", "", 0, b"", gap_to=entry.seq - 1))
        self._expected = max(self._expected, entry.next_seq)
        if not self._matches(entry) or entry.next_seq <= first:
            return found
        source = entry.source
        texts = files.lines(entry)
        if texts is None:
            gap = LogLine(first, entry.time, source.stream, source.process, source.release, b"", entry.next_seq - 1)
            return [*found, gap]
        found += (
            LogLine(seq, entry.time, source.stream, source.process, source.release, text, late=entry.late)
            for seq, text in enumerate(texts[first - entry.seq :], start=first)
            if self._query.grep in text
        )
        return found

    def _matches(self, entry: Entry) -> bool:
        source = entry.source
        anybodys = source == log_index.NOBODY or self._query.wants(source.process, source.release, source.stream)
        return anybodys and self._query.wants_time(entry.time)

    def _last_until(self, time: float, end: int) -> int:
        """Behind the last entry that is not newer. Late entries stand among newer ones: a few more are looked at."""
        at = self._bisect(end, lambda entry: entry.time <= time)
        for number, entry in enumerate(self._entries(at, min(end, at + BLOCK_ENTRIES)), start=at + 1):
            if entry is not None and entry.time <= time:
                at = number
        return at

    def _first_since(self, time: float, end: int) -> int:
        """Nothing before it is as new as `time`. A late entry says nothing of those before it: it stands among newer."""
        return self._bisect(end, lambda entry: not entry.late and entry.time < time)

    def _bisect(self, end: int, is_before: Callable[[Entry], bool]) -> int:
        """The first entry that is not before what is looked for, or an earlier one when much damage is in the way."""
        low, high = min(self._first(), end), end
        while low < high:
            middle = (low + high) // 2
            found = self._entries(middle, min(high, middle + DAMAGED_ENTRIES))
            good = next((number for number, entry in enumerate(found) if entry is not None), None)
            if good is not None and is_before(cast("Entry", found[good])):
                low = middle + good + 1
            else:
                high = middle
        return low

    def _first(self) -> int:
        return raw_log.first_entry(self._fd)

    def _size(self) -> int:
        return os.fstat(self._fd).st_size // log_index.SIZE

    def _entries(self, start: int, end: int) -> list[Entry | None]:
        return log_index.unpack_all(os.pread(self._fd, (end - start) * log_index.SIZE, start * log_index.SIZE))


class _RawFiles:
    """The raw files of one service, each opened at most once."""

    def __init__(self, paths: Paths, service_id: str) -> None:
        self._paths, self._service_id = paths, service_id
        self._open: dict[log_index.Source, raw_log.RawFile] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._open.values():
            file.close()

    def lines(self, entry: Entry) -> list[bytes] | None:
        """The lines of `entry`; None when its raw file no longer holds them."""
        if entry.gap:
            return None
        source = entry.source
        try:
            if source not in self._open:
                path = self._paths.log_file(self._service_id, source.process, source.release, source.stream)
                self._open[source] = raw_log.RawFile(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW))
            return self._open[source].lines(entry)
        except OSError:
            return None


def _extend(found: list[LogLine], lines: list[LogLine]) -> None:
    """Add `lines`; gaps that follow one another are one."""
    for line in lines:
        last = found[-1] if found else None
        if last is not None and last.gap_to and line.gap_to and line.seq == last.gap_to + 1:
            found[-1] = dataclasses.replace(last, gap_to=line.gap_to)
        else:
            found.append(line)
