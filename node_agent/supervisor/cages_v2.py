"""Cages of cgroup v2: one directory each, killed as a whole by the kernel."""

import contextlib
import errno
import os
import pathlib
import signal
from collections.abc import Callable, Iterator

from node_agent.model.process import Limits, Usage
from node_agent.supervisor import background, groups
from node_agent.supervisor.cages import LEAF
from node_agent.supervisor.groups import read, read_number, value_of, write

WANTED = ("memory", "cpu", "pids")
PERIOD_US = 100_000
OURS = background.MOST + 1  # threads of ours that move along, that of the loop included
# What a limit is for as long as we are inside, from what it was.
WIDER: dict[str, Callable[[str], str]] = {"cpu": lambda _: "max", "pids": lambda most: str(int(most) + OURS)}


class CagesV2:
    """Raises OSError when made where no group may be made. `place`: our own group.

    `required`: it must have limits, for otherwise v1 has them on this host.

    A group whose children are limited holds no process itself: unless ours is the root, we move into a leaf beside
    the cages.
    """

    words = "cgroup v2"

    def __init__(self, place: str, group: str, *, required: bool = False) -> None:
        if not place:
            raise OSError(errno.ENOENT, "cgroup v2 is not mounted")
        own = pathlib.Path(place)
        top = own.parent if own.name == LEAF else own
        self.limits = tuple(name for name in WANTED if name in read(f"{top}/cgroup.controllers").split())
        if required and not self.limits:
            raise OSError(errno.ENOTSUP, "it has none of the limits")
        self._group = top / group
        is_root = not (top / "cgroup.type").exists()
        home = top if is_root else top / LEAF
        try:
            home.mkdir(exist_ok=True)
            write(f"{home}/cgroup.procs", "0")
            self._hand_down(top)
            self._make_group()
        except OSError:  # nothing of the attempt stays
            self.close()
            with contextlib.suppress(OSError):
                write(f"{top}/cgroup.procs", "0")
                if not is_root:
                    home.rmdir()
            raise
        self._home = os.open(f"{home}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)

    def create(self, name: str, limits: Limits) -> "CageV2":
        directory = self._group / name
        try:
            directory.mkdir(exist_ok=True)
        except FileNotFoundError:
            self._make_group()
            directory.mkdir()
        cage = CageV2(self._home, str(directory), self.limits)
        cage.limit(limits)
        return cage

    def find(self, name: str) -> "CageV2 | None":
        directory = self._group / name
        return CageV2(self._home, str(directory), self.limits) if directory.is_dir() else None

    def names(self) -> list[str]:
        return groups.subdirectories(self._group)

    def _make_group(self) -> None:
        self._group.mkdir(exist_ok=True)
        self._hand_down(self._group)

    def _hand_down(self, directory: pathlib.Path) -> None:
        for name in self.limits:
            write(f"{directory}/cgroup.subtree_control", f"+{name}")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._group.rmdir()


class CageV2:
    """Implements cages.Cage. `enforced` names the controllers that its group has."""

    def __init__(self, home: int, directory: str, enforced: tuple[str, ...]) -> None:
        self._home, self.directory, self._enforced = home, directory, enforced

    def limit(self, limits: Limits) -> None:
        if "memory" in self._enforced:
            self._write("memory.max", str(limits.memory_bytes or "max"))
            self._write("memory.oom.group", "1")
            with contextlib.suppress(FileNotFoundError):
                self._write("memory.swap.max", "0" if limits.memory_bytes else "max")
        if "cpu" in self._enforced:
            self._write("cpu.max", f"{int(limits.cpu * PERIOD_US) or 'max'} {PERIOD_US}")
        if "pids" in self._enforced:
            self._write("pids.max", str(limits.pids or "max"))

    def members(self) -> list[int]:
        return groups.read_pids(f"{self.directory}/cgroup.procs")

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        with self._widened():
            try:
                self._write("cgroup.procs", "0")
                yield
            finally:
                os.write(self._home, b"0")

    @contextlib.contextmanager
    def _widened(self) -> Iterator[None]:
        """A former life may have used up the cage's time: we must not wait for more of it inside. And all our threads come
        along, which are none of the program's processes.
        """
        with contextlib.ExitStack() as back:
            for controller, wider in WIDER.items():
                before = read(f"{self.directory}/{controller}.max") if controller in self._enforced else "max"
                if not before.startswith("max"):
                    back.callback(self._write, f"{controller}.max", before)
                    self._write(f"{controller}.max", wider(before))
            yield

    def kill(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._write("cgroup.kill", "1")
            return
        for pid in self.members():  # before Linux 5.14
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def usage(self) -> Usage:
        path = self.directory
        return Usage(
            memory_bytes=read_number(f"{path}/memory.current") if "memory" in self._enforced else 0,
            cpu_s=value_of(read(f"{path}/cpu.stat"), "usage_usec") / 1e6,
            pids=read_number(f"{path}/pids.current") if "pids" in self._enforced else len(self.members()),
            oom_kills=self.oom_kills(),
        )

    def oom_kills(self) -> int:
        return value_of(read(f"{self.directory}/memory.events"), "oom_kill") if "memory" in self._enforced else 0

    def refused_forks(self) -> int:
        return groups.refused_forks(self.directory) if "pids" in self._enforced else 0

    def remove(self) -> None:
        groups.remove(self.directory)

    def _write(self, name: str, value: str) -> None:
        write(f"{self.directory}/{name}", value)
