"""Cages of cgroup v1: one directory in the hierarchy that tells the tree, one more for each limit that is set.

A thread that writes itself into `tasks` moves without the lock that makes moving a whole process slow.
"""

import contextlib
import dataclasses
import errno
import os
import pathlib
import signal
from collections.abc import Iterable, Iterator, Mapping

from node_agent.model.process import Limits, Usage
from node_agent.supervisor import groups, procfs
from node_agent.supervisor.groups import read, value_of, write

PERIOD_US = 100_000
UNLIMITED = "-1"


class CagesV1:
    """Raises OSError when made where no group may be made. `places`: our own group, by controller."""

    words = "cgroup v1"

    def __init__(self, places: Mapping[str, str], group: str) -> None:
        if not places:
            raise OSError(errno.ENOENT, "no controller of cgroup v1 is mounted")
        self._groups = {name: pathlib.Path(place, group) for name, place in places.items()}
        self._tree = "pids" if "pids" in places else next(iter(places))
        self.limits = tuple(name for name in ("memory", "cpu", "pids") if name in places)
        try:
            for directory in self._groups.values():
                directory.mkdir(exist_ok=True)
            self._home = {name: os.open(f"{place}/tasks", os.O_WRONLY | os.O_CLOEXEC) for name, place in places.items()}
        except OSError:
            self.close()
            raise

    def create(self, name: str, limits: Limits) -> "CageV1":
        wanted = {self._tree, *limits.named()} & set(self._groups)
        made = [groups.make(f"{self._groups[controller]}/{name}") for controller in sorted(wanted)]
        cage = self._cage(name)
        if not all(made) or limits.named() or len(cage.directories) > len(wanted):
            cage.limit(limits)
        return cage

    def find(self, name: str) -> "CageV1 | None":
        cage = self._cage(name)
        return cage if cage.directories else None

    def names(self) -> list[str]:
        return sorted({name for directory in self._groups.values() for name in groups.subdirectories(directory)})

    def close(self) -> None:
        for directory in self._groups.values():
            with contextlib.suppress(OSError):
                directory.rmdir()

    def _cage(self, name: str) -> "CageV1":
        directories = {
            controller: f"{directory}/{name}"
            for controller, directory in self._groups.items()
            if (directory / name).is_dir()
        }
        home = {controller: self._home[controller] for controller in directories}
        return CageV1(home, directories, str(self._groups[self._tree] / name))


class CageV1:
    """Implements cages.Cage. During a kill nobody may fork; `_pids` is the limit to go back to afterwards."""

    def __init__(self, home: Mapping[str, int], directories: Mapping[str, str], tree: str) -> None:
        self._home, self.directories = home, directories
        self._procs = f"{tree}/cgroup.procs"
        self._pids = ""

    def limit(self, limits: Limits) -> None:
        if memory := self.directories.get("memory"):
            wanted = str(limits.memory_bytes or UNLIMITED)
            if not limits.memory_bytes:  # the wider of the two first, whichever way it goes
                self._swap(memory, wanted)
            write(f"{memory}/memory.limit_in_bytes", wanted)
            self._swap(memory, wanted)
        if cpu := self.directories.get("cpu"):
            write(f"{cpu}/cpu.cfs_period_us", str(PERIOD_US))
            write(f"{cpu}/cpu.cfs_quota_us", str(int(limits.cpu * PERIOD_US) or UNLIMITED))
        if pids := self.directories.get("pids"):
            write(f"{pids}/pids.max", str(limits.pids or "max"))

    def members(self) -> list[int]:
        return groups.read_pids(self._procs)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        if self._pids:
            write(f"{self.directories['pids']}/pids.max", self._pids)
            self._pids = ""
        with self._unthrottled():
            try:
                for directory in self.directories.values():
                    write(f"{directory}/tasks", "0")
                yield
            finally:
                leave(self._home.values())

    @contextlib.contextmanager
    def _unthrottled(self) -> Iterator[None]:
        """A former life may have used up the cage's time: we must not wait for more of it inside."""
        if "cpu" not in self.directories:
            yield
            return
        file = f"{self.directories['cpu']}/cpu.cfs_quota_us"
        quota = read(file)
        write(file, UNLIMITED)
        try:
            yield
        finally:
            write(file, quota)

    def kill(self) -> None:
        if not self._pids and "pids" in self.directories:
            self._pids = read(f"{self.directories['pids']}/pids.max").strip()
            write(f"{self.directories['pids']}/pids.max", "0")
        for pid in self.members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def usage(self) -> Usage:
        memory = self.directories.get("memory")
        used = dataclasses.replace(procfs.usage(self.members()), oom_kills=self.oom_kills())
        return (
            dataclasses.replace(used, memory_bytes=value_of(read(f"{memory}/memory.stat"), "rss")) if memory else used
        )

    def oom_kills(self) -> int:
        memory = self.directories.get("memory")
        return value_of(read(f"{memory}/memory.oom_control"), "oom_kill") if memory else 0

    def refused_forks(self) -> int:
        pids = self.directories.get("pids")
        return groups.refused_forks(pids) if pids else 0

    def remove(self) -> None:
        for directory in self.directories.values():
            groups.remove(directory)

    @staticmethod
    def _swap(memory: str, wanted: str) -> None:
        with contextlib.suppress(FileNotFoundError, PermissionError):  # not every kernel counts swap
            write(f"{memory}/memory.memsw.limit_in_bytes", wanted)


def leave(home: Iterable[int]) -> None:
    """Back into our own groups: all of them, whatever one says."""
    failed = None
    for fd in home:
        try:
            os.write(fd, b"0")
        except OSError as error:
            failed = error
    if failed is not None:
        raise failed
