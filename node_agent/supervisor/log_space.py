"""Keeps the logs within their budgets: what is oldest is given up, entry by entry, and the room goes back to the disk.

A service's log is a window over its numbers. What leaves it is punched out of the raw files, whose offsets stay; a file
of which nothing is left is deleted.
"""

import collections
import functools
import os
import pathlib
from collections.abc import Callable, Collection, Iterator

from node_agent import raw_log
from node_agent.clock import Clock
from node_agent.model import log_index, log_space
from node_agent.model.log_blocks import BLOCK
from node_agent.model.log_index import Entry, Source
from node_agent.model.log_space import Budgets, Cut
from node_agent.paths import ID, Paths
from node_agent.supervisor.background import Background
from node_agent.supervisor.log_holes import OldEnd, holds, punch
from node_agent.supervisor.log_packing import Packing
from node_agent.supervisor.loop import Loop, note
from node_agent.supervisor.raw_writers import TAIL
from node_agent.supervisor.service_index import ServiceIndex
from node_agent.supervisor.turns import Turns

FIRST_ROUND_S, ROUND_S = 10.0, 3600.0
IDLE_S = 3600.0  # a file that nobody wrote to for so long is closed
ENTRIES = 256  # looked at in one turn
LOOK_S = 0.02  # a flood is looked at no more often


class LogSpace:
    """`index` opens the index of a service, `is_watched` says whether a process writes to a raw file, `flooded` which
    services grow as fast as they are numbered.
    """

    def __init__(
        self,
        loop: Loop,
        paths: Paths,
        clock: Clock,
        budgets: Budgets,
        index: Callable[[str], ServiceIndex],
        is_watched: Callable[[str, Source], bool],
        flooded: Callable[[], Collection[str]],
    ) -> None:
        self._loop, self._paths, self._clock, self._budgets = loop, paths, clock, budgets
        self._turns = Turns(loop)  # its own, beside those of the indexer: many writers must not outrun it
        self._index, self._is_watched, self._flooded = index, is_watched, flooded
        self._used: dict[str, int] = {}
        self._grown: dict[str, int] = {}
        self._busy: set[str] = set()
        self._held_up: set[str] = set()  # would give up more, once more of them is numbered
        self._freeing: collections.Counter[str] = collections.Counter()  # bytes of holes that are being made
        self._packing = Packing(loop)
        self._background = Background(loop)
        self.has_holes = raw_log.can_punch(paths.root)
        loop.later(FIRST_ROUND_S, self._round)

    def grew(self, service_id: str, size: int) -> None:
        """So much was written: every now and then it is time to look at the room."""
        grown = self._grown.get(service_id, 0) + size
        if grown >= self._budgets.step or service_id in self._held_up:
            self._look_at(service_id)
            grown = 0
        self._grown[service_id] = grown

    def forget(self, service_id: str) -> None:
        self._used.pop(service_id, None)
        self._grown.pop(service_id, None)

    def rotate(self, service_id: str, source: Source) -> None:
        """Where no hole can be made, a long file is begun anew when its process is. Raises OSError."""
        path = self._path(service_id, source)
        if self.has_holes or not path.exists():
            return
        size, index = path.stat().st_size, self._index(service_id)
        if size > self._budgets.service_bytes // 2 and index.positions.get(source) == size:
            self._delete(index, path, source)

    def _round(self) -> None:
        """Once an hour: every service, for the age of its lines and the room of all; then what can be compressed."""
        services = self._paths.root / "services"
        for name in sorted(os.listdir(services)) if services.is_dir() else ():  # noqa: PTH208 - names only
            if ID.fullmatch(name) and self._paths.logs(name).is_dir():
                self._look_at(name)
                self._turns.add(lambda name=name: self._pack(name))  # type: ignore[misc]
        self._loop.later(ROUND_S, self._round)

    def _look_at(self, service_id: str) -> None:
        if service_id not in self._busy:
            self._busy.add(service_id)
            self._loop.later(LOOK_S, lambda: self._turns.add(lambda: self._look(service_id)))

    def _look(self, service_id: str) -> None:
        """Measure one service, then cut whatever has more than it may."""
        self._busy.discard(service_id)
        self._held_up.discard(service_id)
        try:
            on_disk = sum(file.stat().st_blocks * 512 for file in os.scandir(self._paths.logs(service_id)))
            self._used[service_id] = max(0, on_disk - self._freeing[service_id])
        except OSError:  # it is being forgotten
            self._used.pop(service_id, None)
        for cut in log_space.plan(self._used, self._budgets, self._clock.now(), self._flooded()):
            if cut.free or cut.service_id == service_id:
                self._cut(cut)

    def _cut(self, cut: Cut) -> None:
        if cut.service_id in self._busy:
            return
        try:
            if not self.has_holes:
                self._delete_oldest(cut)
            elif self._give_up(cut):  # perhaps there is more to do
                self._look_at(cut.service_id)
        except OSError as error:
            note("log.not_cut", service=cut.service_id, error=error)

    def _give_up(self, cut: Cut) -> bool:
        """The oldest entries that `cut` takes; False for none.

        Files are deleted and positions that no entry tells any more are written down before it, holes are made after:
        killed in between, no line is numbered again, and what is gone is seen by its checksum.
        """
        index = self._index(cut.service_id)
        given = log_space.take(index.oldest(ENTRIES), cut, self._followed(cut.service_id, index))
        if given is None or given.freed < cut.free:
            self._held_up.add(cut.service_id)
        if given is None:
            return False
        known = len(index.positions)
        holes = self._let_go(cut.service_id, index, given.last)
        is_quiet = any(_is_all(index, source, last) for source, last in given.last.items())
        if is_quiet or len(index.positions) < known:
            index.write_positions(flushed=is_quiet)
        index.give_up(given.count, given.gap, raw_log.punch)
        for old in holes:
            share = given.freed // len(holes)
            self._freeing[cut.service_id] += share
            done = functools.partial(self._hollowed, cut.service_id, share)
            self._background.do(old.path, functools.partial(punch, old), done)
        return True

    def _followed(self, service_id: str, index: ServiceIndex) -> log_space.Ends:
        """Where more waits to be numbered. While the last entry of a file is kept, no note of its place has to be durable."""
        sizes = {file.name: file.stat().st_size for file in os.scandir(index.directory)}
        return frozenset(
            (source, at)
            for source, at in index.positions.items()
            if self._is_watched(service_id, source) and sizes.get(source.file_name, 0) > at + log_index.LINE_LIMIT
        )

    def _let_go(self, service_id: str, index: ServiceIndex, given: dict[Source, Entry]) -> list[OldEnd]:
        """Delete the files of which nothing is kept; up to where the others are hollow. One that does not hold its entry
        was deleted, damaged, or cut and written anew by its program: what stands there now is not to be touched.
        """
        holes: list[OldEnd] = []
        for source, last in given.items():
            path, is_all = self._path(service_id, source), _is_all(index, source, last)
            end = last.offset + last.length - TAIL * is_all
            if not holds(path, last):
                continue
            if is_all and self._is_closed(service_id, path, source):
                path.unlink()
                del index.positions[source]
            elif end >= BLOCK:
                holes.append(OldEnd(path, end // BLOCK * BLOCK, self._is_watched(service_id, source)))
        return holes

    def _hollowed(self, service_id: str, freed: int) -> None:
        self._freeing[service_id] -= freed
        self._look_at(service_id)

    def _delete_oldest(self, cut: Cut) -> None:
        """Without holes: whole files to which nobody writes."""
        index, freed = self._index(cut.service_id), 0
        for path, source in sorted(self._closed(cut.service_id, 0.0), key=lambda found: found[0].stat().st_mtime):
            found = path.stat()
            if freed >= cut.free and found.st_mtime >= cut.before:
                return
            freed += found.st_blocks * 512
            self._delete(index, path, source)

    def _delete(self, index: ServiceIndex, path: pathlib.Path, source: Source) -> None:
        path.unlink()
        index.append([log_index.lost(index.next_seq, 0, self._clock.now(), source)])

    def _pack(self, service_id: str) -> None:
        try:
            for path, source in self._closed(service_id, IDLE_S) if self.has_holes else ():
                self._packing.add(path, lambda source=source: not self._is_watched(service_id, source))  # type: ignore[misc]
        except OSError as error:
            note("log.not_packed", service=service_id, error=error)

    def _closed(self, service_id: str, idle_s: float) -> Iterator[tuple[pathlib.Path, Source]]:
        for path in sorted(self._paths.logs(service_id).iterdir()):
            source = log_index.parse_file_name(path.name)
            if source is not None and self._is_closed(service_id, path, source, idle_s):
                yield path, source

    def _is_closed(self, service_id: str, path: pathlib.Path, source: Source, idle_s: float = IDLE_S) -> bool:
        """No process writes to it, and neither does the builder, which tells nobody."""
        idle_s = max(idle_s, IDLE_S) if source.process == "build" else idle_s
        return not self._is_watched(service_id, source) and path.stat().st_mtime <= self._clock.now() - idle_s

    def _path(self, service_id: str, source: Source) -> pathlib.Path:
        return self._paths.log_file(service_id, source.process, source.release, source.stream)


def _is_all(index: ServiceIndex, source: Source, last: Entry) -> bool:
    """Whether nothing was numbered after `last` in its file."""
    return index.positions.get(source) == last.offset + last.length
