"""The sampler: one look after another, each told with what happened since the one before."""

import dataclasses
import socket
from collections.abc import Mapping
from typing import Any

from node_agent import ports
from node_agent.clock import Clock
from node_agent.metrics import exposition, families, host, rates, trees
from node_agent.metrics.reading import Member, Service, Tree
from node_agent.model.process import ProcessStatus

Root = tuple[int, float]  # pid and start: a pid alone may come again


@dataclasses.dataclass(slots=True)
class _Usage:
    """What a service used so far, and how much of it each of its trees had at the last look."""

    total: float = 0.0
    trees: dict[Root, float] = dataclasses.field(default_factory=dict)


class HostSampler:
    """Implements ports.Sampler. The first look is taken here, so that no sample ever means "since boot"."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._host = host.read()
        self._looked = clock.monotonic()
        self._usage: dict[str, _Usage] = {}

    def facts(self) -> tuple[str, str, int, int, int, tuple[str, ...]]:
        """See ports.Sampler; the disk is the one that holds the root directory."""
        return (
            socket.gethostname(),
            host.system(),
            host.cpus(),
            host.memory_bytes(),
            host.disk_bytes(),
            host.addresses(),
        )

    def sample(self, processes: tuple[ProcessStatus, ...], disk: Mapping[str, Any]) -> ports.HostSample:
        """See ports.Sampler. Not for two threads at once."""
        before, looked = self._host, self._looked
        self._host, self._looked = host.read(), self._clock.monotonic()
        seconds = self._looked - looked
        services = self._services(processes, seconds)
        now = self._clock.now()
        return ports.HostSample(
            time=now,
            families_json=families.encode(now, self._host, rates.rates(before, self._host, seconds), services, disk),
            exposition=exposition.encode(self._host, services),
        )

    def _services(self, processes: tuple[ProcessStatus, ...], seconds: float) -> dict[str, Service]:
        found = trees.read({process.pid for process in processes if process.pid})
        members: dict[str, list[ProcessStatus]] = {}
        for process in processes:
            members.setdefault(process.id.service_id, []).append(process)
        services = {name: self._service(name, members[name], found, seconds) for name in sorted(members)}
        self._usage = {name: self._usage[name] for name in services}
        return services

    def _service(self, name: str, processes: list[ProcessStatus], found: dict[int, Tree], seconds: float) -> Service:
        alive: dict[Root, Tree] = {(p.pid, p.started_at): found[p.pid] for p in processes if p.pid in found}
        known = name in self._usage
        usage = self._usage.setdefault(name, _Usage())
        used = {root: tree.cpu_seconds for root, tree in alive.items()}
        spent = rates.spent(usage.trees, used)
        members = tuple(_member(root, tree, usage.trees.get(root), seconds) for root, tree in alive.items())
        usage.total, usage.trees = usage.total + spent, used
        whole = trees.together(list(alive.values()))
        return Service(
            cpu_seconds=usage.total,
            cpu_percent=100.0 * rates.per_second(0.0, spent, seconds) if known else 0.0,
            rss_bytes=whole.rss_bytes,
            threads=whole.threads,
            fds=whole.fds,
            processes=whole.processes,
            restarts=sum(process.restarts for process in processes),
            members=members,
        )


def _member(root: Root, tree: Tree, before: float | None, seconds: float) -> Member:
    """What one process used since the look before; of a new one nothing is known yet."""
    spent = 0.0 if before is None else max(0.0, tree.cpu_seconds - before)
    return Member(root[0], 100.0 * rates.per_second(0.0, spent, seconds), tree.rss_bytes)
