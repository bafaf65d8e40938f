"""The lowest rung of the limits: where no cage bounds a tree, it is looked at once a second and ended when it is over."""

from node_agent.model.process import Usage
from node_agent.supervisor import procfs
from node_agent.supervisor.host import Host
from node_agent.supervisor.lives import Table
from node_agent.supervisor.loop import note
from node_agent.supervisor.process import Process

PERIOD_S = 1.0


class Watchdog:
    """Sleeps for good where there are cages, and while nothing that runs is limited."""

    def __init__(self, host: Host, table: Table) -> None:
        self._host, self._table = host, table
        self._awake = False

    def wake(self) -> None:
        """Something was started or taken over."""
        if not self._awake and any(map(_is_watched, self._table.values())):
            self._awake = True
            self._host.loop.later(PERIOD_S, self._look)

    def _look(self) -> None:
        self._awake = False
        snapshot = procfs.take_snapshot(str(self._host.paths.root))
        for process in filter(_is_watched, self._table.values()):
            tree = snapshot.tree(str(process.id), process.record.pid)
            process.over = excess(process, procfs.usage([member.pid for member in tree]))
            if process.over:
                note("process.over_its_limit", id=process.id, limit=process.over)
                for member in sorted(tree, key=procfs.seniority):
                    procfs.kill(member.pid, member.started)
        self.wake()


def excess(process: Process, usage: Usage) -> str:
    """Which limit it is over, in words; empty when none."""
    limits = process.record.spec.limits
    if limits.memory_bytes and usage.memory_bytes > limits.memory_bytes:
        return f"more than {limits.memory_bytes / (1 << 20):g} MiB of memory"
    if limits.pids and usage.pids > limits.pids:
        return f"more than {limits.pids} processes"
    return ""


def _is_watched(process: Process) -> bool:
    limits = process.record.spec.limits
    return process.cage is None and process.record.pid > 0 and bool(limits.memory_bytes or limits.pids)
