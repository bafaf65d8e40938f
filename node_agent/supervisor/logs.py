"""The indexer: numbers the lines that processes write into their raw files, and nothing else.

It wakes by inotify only while processes live, reads what is new in large pieces, and appends entries to the service's
index. Killed at any instant, the next one goes on after the last good entry: no line is lost or numbered twice.
"""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Iterator

from node_agent import inotify
from node_agent.clock import Clock
from node_agent.model import log_index
from node_agent.model.crash import LAST_LINES
from node_agent.model.log_index import Entry, Source
from node_agent.paths import ID, Paths
from node_agent.supervisor import launch
from node_agent.supervisor.loop import Loop, Timer, note

GATHER_S = 0.01  # wake-ups within this time are one entry
PARTIAL_AGE_S = 1.0  # a last line without newline is numbered after this much silence
PASS_LIMIT = 8 << 20  # bytes of one file before others have their turn
BLOCK = log_index.SIZE * 512
LAST_BYTES, LAST_LINE_CHARS = 16 << 10, 200


class ServiceIndex:
    """The index of one service, open for appending, and how far each raw file is indexed. Raises OSError."""

    def __init__(self, directory: pathlib.Path, index: pathlib.Path) -> None:
        self.directory = directory
        self._fd = os.open(index, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._end, last = self._repair()
        self.next_seq = last.next_seq if last else 1
        self.positions = self._find_positions()

    def close(self) -> None:
        os.close(self._fd)

    def append(self, entries: list[Entry]) -> None:
        """In one write, so that a kill leaves all, none or a torn tail that the next start cuts off."""
        data = b"".join(map(log_index.pack, entries))
        written = os.write(self._fd, data)
        if written != len(data):
            os.ftruncate(self._fd, self._end)
            raise OSError("the index takes no more bytes")
        self._end += written
        last = entries[-1]
        self.next_seq = last.next_seq
        self.positions[last.source] = last.offset + last.length

    def newest_first(self, limit: int) -> list[Entry]:
        """At most `limit` bytes of good entries from the end."""
        size = min(limit, self._end)
        found = log_index.unpack_all(os.pread(self._fd, size, self._end - size))
        return [entry for entry in reversed(found) if entry is not None]

    def _repair(self) -> tuple[int, Entry | None]:
        """Cut off what a kill or a power failure left torn; the size and the last good entry."""
        size = os.fstat(self._fd).st_size
        end = size - size % log_index.SIZE
        last = None
        while end and last is None:
            last = log_index.unpack(os.pread(self._fd, log_index.SIZE, end - log_index.SIZE))
            if last is None:
                end -= log_index.SIZE
        if end != size:
            os.ftruncate(self._fd, end)
        return end, last

    def _find_positions(self) -> dict[Source, int]:
        """From the end backwards until every raw file that has content was seen."""
        missing = {
            source
            for file in os.scandir(self.directory)
            if (source := log_index.parse_file_name(file.name)) and file.stat(follow_symlinks=False).st_size
        }
        found: dict[Source, int] = {}
        at = self._end
        while at and missing:
            start = max(0, at - BLOCK)
            for entry in reversed(log_index.unpack_all(os.pread(self._fd, at - start, start))):
                if entry is not None and entry.source not in found:
                    found[entry.source] = entry.offset + entry.length
                    missing.discard(entry.source)
            at = start
        return found


@dataclasses.dataclass(slots=True)
class _Watched:
    """A raw file that a living process writes to; `users` counts the processes."""

    service_id: str
    source: Source
    fd: int
    watch: int
    users: int = 1
    pending: Timer | None = None


class LogStore:
    """All logs of this host. A log that cannot be written to is noted; it never disturbs a process."""

    def __init__(self, loop: Loop, paths: Paths, clock: Clock) -> None:
        self._loop, self._paths, self._clock = loop, paths, clock
        self._indexes: dict[str, ServiceIndex] = {}
        self._watched: dict[tuple[str, Source], _Watched] = {}
        self._by_watch: dict[int, _Watched] = {}
        self._inotify = inotify.Inotify()
        loop.watch(self._inotify.fileno(), self._woken)

    def open(self, service_id: str, process: str, release: int) -> None:
        """A process is about to write, or was found writing. Pair it with `close`."""
        for stream in log_index.STREAMS:
            source = Source(process, release, stream)
            watched = self._watched.get((service_id, source))
            if watched is not None:
                watched.users += 1
                continue
            with _noted("log.not_watched", service_id):
                self._begin(service_id, source)

    def close(self, service_id: str, process: str, release: int) -> None:
        """The process is gone: number its last lines, also one without a newline."""
        for stream in log_index.STREAMS:
            watched = self._watched.get((service_id, Source(process, release, stream)))
            if watched is None:
                continue
            self._update(watched, final=True)
            watched.users -= 1
            if not watched.users:
                self._end(watched)

    def sizes(self, service_id: str, process: str, release: int) -> dict[str, int]:
        """How long the raw files are now, by stream."""
        found = {}
        for stream in log_index.STREAMS:
            with contextlib.suppress(OSError):
                found[stream] = self._paths.log_file(service_id, process, release, stream).stat().st_size
        return found

    def last_lines(
        self, service_id: str, process: str, release: int, since: dict[str, int], until: dict[str, int] | None = None
    ) -> tuple[str, ...]:
        """The last LAST_LINES lines that the process wrote since its files were as long as `since`, oldest first.

        `until`: what came when they were longer than that belongs to its next life.
        """
        found: list[bytes] = []
        with _noted("log.not_read", service_id):
            for entry in self._index(service_id).newest_first(BLOCK):
                source = entry.source
                if (source.process, source.release) != (process, release):
                    continue
                if until is not None and entry.offset >= until.get(source.stream, 0):
                    continue
                if entry.offset >= since.get(source.stream, 0):
                    found[:0] = self._tail_of(service_id, entry)
                if len(found) >= LAST_LINES:
                    break
        return tuple(line.decode(errors="replace")[:LAST_LINE_CHARS] for line in found[-LAST_LINES:])

    def forget(self, service_id: str) -> None:
        """Delete all logs of the service. Raises OSError."""
        for key in [key for key in self._watched if key[0] == service_id]:
            self._end(self._watched[key])
        index = self._indexes.pop(service_id, None)
        if index is not None:
            index.close()
        import shutil  # rarely needed, and it brings four compressors along

        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._paths.logs(service_id))

    def index(self, service_id: str) -> None:
        """Number the lines that somebody else than a process or a job wrote: the builder's own. Never raises."""
        if self._paths.logs(service_id).is_dir():
            with _noted("log.not_indexed", service_id):
                self._catch_up(service_id)

    def catch_up(self) -> None:
        """Once at start, after the adoption: number what was written while nobody looked."""
        services = self._paths.root / "services"
        for name in sorted(os.listdir(services)) if services.is_dir() else ():  # noqa: PTH208 - names only
            if ID.fullmatch(name):
                self.index(name)

    def _catch_up(self, service_id: str) -> None:
        for file in sorted(os.scandir(self._paths.logs(service_id)), key=lambda found: found.stat().st_mtime):
            source = log_index.parse_file_name(file.name)
            if source is None or (service_id, source) in self._watched:
                continue
            if file.stat().st_size == self._index(service_id).positions.get(source, 0):
                continue
            self._begin(service_id, source)
            watched = self._watched[service_id, source]
            self._update(watched, final=True, time=file.stat().st_mtime)
            self._end(watched)

    def _index(self, service_id: str) -> ServiceIndex:
        index = self._indexes.get(service_id)
        if index is None:
            directory = self._paths.logs(service_id)
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            index = self._indexes[service_id] = ServiceIndex(directory, self._paths.log_index(service_id))
        return index

    def _begin(self, service_id: str, source: Source) -> None:
        path = self._paths.log_file(service_id, source.process, source.release, source.stream)
        os.close(launch.open_output(path))
        watch = self._inotify.add(path, inotify.IN_MODIFY)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        watched = self._watched[service_id, source] = self._by_watch[watch] = _Watched(service_id, source, fd, watch)
        self._gather(watched, 0.0)

    def _end(self, watched: _Watched) -> None:
        if watched.pending is not None:
            watched.pending.cancel()
        del self._watched[watched.service_id, watched.source]
        self._by_watch.pop(watched.watch, None)
        with contextlib.suppress(OSError):
            self._inotify.remove(watched.watch)
        os.close(watched.fd)

    def _woken(self) -> None:
        for watch, mask in self._inotify.read():
            if mask & inotify.IN_Q_OVERFLOW:  # the kernel dropped wake-ups: any file may have grown
                for every in self._watched.values():
                    self._gather(every, GATHER_S)
            watched = self._by_watch.get(watch)
            if watched is not None and mask & inotify.IN_MODIFY:
                self._gather(watched, GATHER_S)

    def _gather(self, watched: _Watched, delay_s: float) -> None:
        """Index soon; a wake-up that is due already takes this one along, a wait for a partial line gives way."""
        if watched.pending is not None:
            if watched.pending.callback is not None and watched.pending.when <= self._clock.monotonic() + delay_s:
                return
            watched.pending.cancel()
        watched.pending = self._loop.later(delay_s, lambda: self._due(watched))

    def _due(self, watched: _Watched) -> None:
        watched.pending = None
        self._update(watched, final=False)

    def _update(self, watched: _Watched, *, final: bool, time: float | None = None) -> None:
        with _noted("log.not_indexed", watched.service_id):
            left = self._read(watched, final=final, time=self._clock.now() if time is None else time)
            if left > log_index.LINE_LIMIT and not final:
                self._gather(watched, 0.0)
            elif left:
                self._flush_later(watched)

    def _flush_later(self, watched: _Watched) -> None:
        """A partial line is left; unless more comes within PARTIAL_AGE_S it is numbered as it is."""

        def flush() -> None:
            watched.pending = None
            self._update(watched, final=True)

        if watched.pending is not None:
            watched.pending.cancel()
        watched.pending = self._loop.later(PARTIAL_AGE_S, flush)

    def _read(self, watched: _Watched, *, final: bool, time: float) -> int:
        """Index what is new; how many bytes are left over. Only a final pass takes more than PASS_LIMIT."""
        index = self._index(watched.service_id)
        size = os.fstat(watched.fd).st_size
        offset = index.positions.get(watched.source, 0)
        if size < offset:  # the app cut its file; the checksums of the older entries tell readers what is lost
            note("log.truncated", service=watched.service_id, file=watched.source)
            offset = index.positions[watched.source] = 0
        entries: list[Entry] = []
        stop = size if final else min(size, offset + PASS_LIMIT)
        seq = index.next_seq
        while offset < stop:
            data = os.pread(watched.fd, min(log_index.CHUNK_LIMIT, size - offset), offset)
            data = data[: log_index.cut(data, final=final and offset + len(data) >= size)]
            if not data:
                break
            entries.append(log_index.describe(seq, watched.source, offset, data, time))
            seq, offset = entries[-1].next_seq, offset + len(data)
        if entries:
            index.append(entries)
        return size - offset

    def _tail_of(self, service_id: str, entry: Entry) -> list[bytes]:
        source = entry.source
        length = min(entry.length, LAST_BYTES)
        fd = os.open(
            self._paths.log_file(service_id, source.process, source.release, source.stream), os.O_RDONLY | os.O_CLOEXEC
        )
        try:
            data = os.pread(fd, length, entry.offset + entry.length - length)
        finally:
            os.close(fd)
        lines = log_index.split_lines(data)
        return lines[1:] if length < entry.length else lines


@contextlib.contextmanager
def _noted(event: str, service_id: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        note(event, service=service_id, error=error)
