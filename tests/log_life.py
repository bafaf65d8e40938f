"""Lives of an indexer: each is a process of its own that indexes, cuts and compresses in a hurry, and is killed."""

import os
import pathlib
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from node_agent.model import log_index
from node_agent.model.log_index import Source
from node_agent.model.log_space import Budgets
from node_agent.paths import Paths
from node_agent.supervisor.logs import LogStore
from node_agent.supervisor.loop import Loop
from tests.own_mounts import mounted
from tests.supervisor_host import SERVICE

WRITING = threading.Lock()

Step = Callable[[LogStore], None]


class HastyClock:
    """Each look at it is `step_s` later, so that nobody waits for hours."""

    def __init__(self, now: float, step_s: float = 0.5) -> None:
        self._now, self._monotonic, self._step_s = now, 0.0, step_s

    def monotonic(self) -> float:
        self._monotonic += self._step_s
        return self._monotonic

    def now(self) -> float:
        return self._now + self._monotonic


class Writer:
    """A program that writes to one raw file, and remembers what it wrote where no indexer gets at it."""

    def __init__(self, paths: Paths, source: Source, memory: pathlib.Path) -> None:
        self.paths, self.source, self.memory = paths, source, memory / source.file_name
        self.fd = -1

    @property
    def raw(self) -> pathlib.Path:
        return self.paths.log_file(SERVICE, self.source.process, self.source.release, self.source.stream)

    @property
    def is_deleted(self) -> bool:
        return self.memory.exists() and not self.raw.exists()

    def write(self, data: bytes) -> None:
        """No kill lies between the two writes: no audit event of this thread does, and those of others wait."""
        with self.memory.open("ab", buffering=0) as memory:
            fd = self.fd if self.fd >= 0 else os.open(self.raw, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with WRITING:
                memory.write(data)
                os.write(fd, data)
            if fd != self.fd:
                os.close(fd)

    def hold(self) -> None:
        """Keep the file open, as a living process does."""
        self.fd = os.open(self.raw, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1

    def written(self) -> list[bytes]:
        return log_index.split_lines(self.memory.read_bytes()) if self.memory.exists() else []


def live(
    paths: Paths, steps: Sequence[Step], budgets: Budgets, *, now: float, alive: Sequence[Source], kill_at: int = 0
) -> None:
    """One life with time between its steps, then time for a round of the space, then the end without a goodbye.
    `kill_at`: at this audit event instead.
    """
    pid = os.fork()
    if pid:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        return
    try:
        _live(paths, steps, budgets, now, alive, kill_at)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _live(
    paths: Paths, steps: Sequence[Step], budgets: Budgets, now: float, alive: Sequence[Source], kill_at: int
) -> None:
    left = kill_at

    def count(*_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            with WRITING:
                os._exit(0)

    loop = Loop(HastyClock(now))
    always, writer = os.pipe()
    os.write(writer, b"x")
    loop.watch(always, lambda: None)  # the loop never waits
    if kill_at:
        sys.addaudithook(count)
    store = LogStore(loop, paths, HastyClock(now), budgets)
    for source in alive:
        store.open(SERVICE, source.process, source.release)
    store.catch_up()
    for number, step in enumerate(steps, start=1):
        loop.later(30.0 * number, lambda step=step: step(store))
    loop.later(30.0 * len(steps) + 200.0, lambda: _stop_at_rest(loop, store))
    loop.run()


def _stop_at_rest(loop: Loop, store: LogStore, looks: int = 0) -> None:
    """Holes are made beside the loop, in a time of their own: wait until two looks in a row find none in the making."""
    if looks == 2:
        loop.stop()
    else:
        looks = 0 if store._space._freeing.total() else looks + 1
        loop.later(30.0, lambda: _stop_at_rest(loop, store, looks))


def without_holes(directory: pathlib.Path, work: Callable[[pathlib.Path], Any]) -> Any:
    """What `work` returns, done on a file system in memory that takes no holes and is gone with its process."""
    return mounted("ramfs", directory, "", work)
