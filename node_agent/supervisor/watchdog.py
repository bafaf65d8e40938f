"""The lowest rung of the limits: where no cage bounds a tree, it is looked at once a second and ended when it is over."""

from collections.abc import Callable, Iterable
from typing import Protocol

from node_agent.model.process import Limits, Usage
from node_agent.supervisor import procfs
from node_agent.supervisor.cages import Cage
from node_agent.supervisor.host import Host
from node_agent.supervisor.loop import note

PERIOD_S = 1.0


class Tree(Protocol):
    """A process or a job. `pid` is 0 while nothing of it runs, `over` what the watchdog ended it for."""

    cage: Cage | None
    over: str

    @property
    def marker(self) -> str: ...
    @property
    def main_pid(self) -> int: ...
    @property
    def limits(self) -> Limits: ...


class Watchdog:
    """Sleeps for good where there are cages, and while nothing that runs is limited."""

    def __init__(self, host: Host, trees: Callable[[], Iterable[Tree]]) -> None:
        self._host, self._trees = host, trees
        self._awake = False

    def wake(self) -> None:
        """Something was started or taken over."""
        if not self._awake and any(map(_is_watched, self._trees())):
            self._awake = True
            self._host.loop.later(PERIOD_S, self._look)

    def _look(self) -> None:
        self._awake = False
        snapshot = procfs.take_snapshot(str(self._host.paths.root))
        for watched in filter(_is_watched, self._trees()):
            tree = snapshot.tree(watched.marker, watched.main_pid)
            watched.over = excess(watched.limits, procfs.usage([member.pid for member in tree]))
            if watched.over:
                note("tree.over_its_limit", id=watched.marker, limit=watched.over)
                for member in sorted(tree, key=procfs.seniority):
                    procfs.kill(member.pid, member.started)
        self.wake()


def excess(limits: Limits, usage: Usage) -> str:
    """Which limit it is over, in words; empty when none."""
    if limits.memory_bytes and usage.memory_bytes > limits.memory_bytes:
        return limits.words_of_memory
    if limits.pids and usage.pids > limits.pids:
        return f"more than {limits.pids} processes"
    return ""


def _is_watched(tree: Tree) -> bool:
    return tree.cage is None and tree.main_pid > 0 and bool(tree.limits.memory_bytes or tree.limits.pids)
