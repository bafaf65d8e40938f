"""The indexer: numbers the lines that processes write into their raw files, and nothing else.

It wakes by inotify only while processes live, reads what is new in large pieces, and appends entries to the service's
index. Killed at any instant, the next one goes on after the last good entry: no line is lost or numbered twice.
"""

import contextlib
import os
from collections.abc import Iterator

from node_agent import inotify
from node_agent.clock import Clock
from node_agent.model import log_index
from node_agent.model.crash import LAST_LINES
from node_agent.model.log_index import Entry, Source
from node_agent.model.log_space import Budgets
from node_agent.paths import ID, Paths
from node_agent.supervisor import spawn
from node_agent.supervisor.log_floods import Floods
from node_agent.supervisor.log_space import LogSpace
from node_agent.supervisor.loop import Loop, note
from node_agent.supervisor.raw_writers import Watched
from node_agent.supervisor.service_index import BLOCK, ServiceIndex
from node_agent.supervisor.turns import Turns

GATHER_S = 0.01  # wake-ups within this time are one entry
PARTIAL_AGE_S = 1.0  # a last line without newline is numbered after this much silence
RETRY_S = 1.0  # after an error
LAST_BYTES, LAST_LINE_CHARS = 16 << 10, 200


class LogStore:
    """All logs of this host. A log that cannot be written to is noted; it never disturbs a process."""

    def __init__(self, loop: Loop, paths: Paths, clock: Clock, budgets: Budgets | None = None) -> None:
        self._loop, self._paths, self._clock = loop, paths, clock
        self._indexes: dict[str, ServiceIndex] = {}
        self._watched: dict[tuple[str, Source], Watched] = {}
        self._by_watch: dict[int, Watched] = {}
        self._turns = Turns(loop)
        budgets = budgets or Budgets()
        self._space = LogSpace(
            loop, paths, clock, budgets, self._index, lambda *key: key in self._watched, lambda: self._floods.urgent
        )
        self._floods = Floods(loop, budgets, self._be_due, self._space.grew)
        self._buffer = bytearray(log_index.CHUNK_LIMIT)
        self._nobody_looked = True
        self._inotify = inotify.Inotify()
        loop.watch(self._inotify.fileno(), self._woken)

    @property
    def has_holes(self) -> bool:
        """Whether the room of old lines can be given back while their files are written to."""
        return self._space.has_holes

    def open(self, service_id: str, process: str, release: int) -> None:
        """A process is about to write, or was found writing. Pair it with `close`."""
        for stream in log_index.STREAMS:
            source = Source(process, release, stream)
            watched = self._watched.get((service_id, source))
            if watched is not None:
                watched.users += 1
                continue
            with _noted("log.not_watched", service_id):
                if not self._nobody_looked:  # else it was found writing
                    self._space.rotate(service_id, source)
                self._begin(service_id, source)

    def close(self, service_id: str, process: str, release: int) -> None:
        """The process is gone: number its last lines, also one without a newline."""
        for stream in log_index.STREAMS:
            watched = self._watched.get((service_id, Source(process, release, stream)))
            if watched is None:
                continue
            self._read(watched, final=True)
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
        self._space.forget(service_id)
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
        self._nobody_looked = False

    def _catch_up(self, service_id: str) -> None:
        for file in sorted(os.scandir(self._paths.logs(service_id)), key=lambda found: found.stat().st_mtime):
            source = log_index.parse_file_name(file.name)
            if source is None or (service_id, source) in self._watched:
                continue
            if file.stat().st_size == self._index(service_id).positions.get(source, 0):
                continue
            self._begin(service_id, source)
            watched = self._watched[service_id, source]
            self._read(watched, final=True)
            self._end(watched)

    def _index(self, service_id: str) -> ServiceIndex:
        index = self._indexes.get(service_id)
        if index is None:
            directory = self._paths.logs(service_id)
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            index = self._indexes[service_id] = ServiceIndex(self._paths.log_index(service_id))
        return index

    def _begin(self, service_id: str, source: Source) -> None:
        path = self._paths.log_file(service_id, source.process, source.release, source.stream)
        os.close(spawn.open_output(path))
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        watched = self._watched[service_id, source] = Watched(service_id, source, fd)
        if self._nobody_looked:
            found = os.fstat(fd)
            watched.late_to, watched.late_time = found.st_size, found.st_mtime
        watched.size = self._index(service_id).positions.get(source, 0)
        self._be_due(watched)

    def _end(self, watched: Watched) -> None:
        watched.forget_timer()
        self._floods.discard(watched)
        del self._watched[watched.service_id, watched.source]
        if self._by_watch.pop(watched.watch, None) is not None:
            with contextlib.suppress(OSError):
                self._inotify.remove(watched.watch)
        os.close(watched.fd)

    def _woken(self) -> None:
        for watch, mask in self._inotify.read():
            if mask & inotify.IN_Q_OVERFLOW:  # the kernel dropped wake-ups: any file may have grown
                for every in self._watched.values():
                    self._gather(every)
            watched = self._by_watch.get(watch)
            if watched is not None and mask & inotify.IN_MODIFY:
                del self._by_watch[watch]
                watched.watch = 0
                self._gather(watched)

    def _gather(self, watched: Watched) -> None:
        """Index soon. A wait for the rest of a line gives way."""
        watched.forget_timer()
        watched.pending = self._loop.later(GATHER_S, lambda: self._be_due(watched))

    def _be_due(self, watched: Watched) -> None:
        watched.forget_timer()
        if not watched.is_due:
            watched.is_due = True
            self._turns.add(lambda: self._pass(watched))

    def _pass(self, watched: Watched) -> None:
        """One piece of what is new. The next wake-up is asked for only when nothing is: a flood wakes nobody."""
        watched.is_due = False
        if self._watched.get((watched.service_id, watched.source)) is not watched:
            return
        more_waits = self._read(watched, final=False)
        if more_waits:
            self._floods.add(watched)
            return
        self._floods.discard(watched)
        if more_waits is None:
            watched.pending = self._loop.later(RETRY_S, lambda: self._be_due(watched))
        else:
            self._await_more(watched)

    def _await_more(self, watched: Watched) -> None:
        """A partial line that is left is numbered as it is, unless more comes within PARTIAL_AGE_S."""
        with _noted("log.not_watched", watched.service_id):
            if not watched.watch:
                watched.watch = self._inotify.add(f"/proc/self/fd/{watched.fd}", inotify.IN_MODIFY | inotify.IN_ONESHOT)
                self._by_watch[watched.watch] = watched
            if os.fstat(watched.fd).st_size != watched.size:
                self._gather(watched)
            elif watched.numbered < watched.size:
                watched.pending = self._loop.later(PARTIAL_AGE_S, lambda: self._flush(watched))

    def _flush(self, watched: Watched) -> None:
        watched.pending = None
        self._read(watched, final=True)

    def _read(self, watched: Watched, *, final: bool) -> bool | None:
        """Whether more waits; None when it did not work."""
        with _noted("log.not_indexed", watched.service_id):
            before = watched.size
            more_waits = watched.read(self._index(watched.service_id), self._buffer, self._clock.now(), final=final)
            self._space.grew(watched.service_id, max(0, watched.size - before))
            return more_waits
        return None

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
