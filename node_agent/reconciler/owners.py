"""Whether the port of a process is its own: what listens there now, by the kernel's table, is the process that we started.

While an app is down another user of the host may take its port. Requests go to a process only after it was seen to own
its port, and no longer once it ended: a new pid has to be seen anew.
"""

import asyncio
from collections.abc import Callable, Iterable

import structlog

from node_agent import errors, ports
from node_agent.model import formation
from node_agent.model.process import ProcessId, ProcessStatus
from node_agent.reconciler import sockets

log = structlog.get_logger()
SOON_S = 0.1  # while a process is still to be seen
LATER_S = 5.0


class Owners:
    """`run` it; `changed(service_id)` is called when a process was seen to own its port, or to have lost it."""

    def __init__(self, supervisor: ports.Supervisor) -> None:
        self._supervisor = supervisor
        self._seen: dict[ProcessId, int] = {}
        self._woken = asyncio.Event()

    def owns(self, process: ProcessStatus) -> bool:
        """Was this very process seen to listen on its port? One that was not is looked at soon."""
        owned = bool(process.pid) and self._seen.get(process.id) == process.pid
        if not owned:
            self._woken.set()
        return owned

    async def run(self, changed: Callable[[str], None]) -> None:
        """For ever."""
        while True:
            self._woken.clear()
            waiting = False
            try:
                services, waiting = await self.look()
                for service_id in services:
                    changed(service_id)
            except errors.AgentError as error:
                log.debug("owners.not_seen", error=str(error))
            if waiting:
                await asyncio.sleep(SOON_S)
                continue
            try:
                async with asyncio.timeout(LATER_S):
                    await self._woken.wait()
            except TimeoutError:
                pass

    async def look(self) -> tuple[frozenset[str], bool]:
        """The services of which a process gained or lost its port, and whether one that runs has none yet.

        Raises SupervisorUnavailableError.
        """
        processes = [one for one in await self._supervisor.processes() if formation.is_routed(one.id.name) and one.port]
        before, self._seen = self._seen, await asyncio.to_thread(_owned, processes, self._seen)
        changed = {name.service_id for name, pid in self._seen.items() if before.get(name) != pid}
        lost = {name for name in before if name not in self._seen}
        for name in lost:
            log.warning("process.port_lost", process=str(name))
        running = [one for one in processes if one.pid]
        return frozenset(changed | {name.service_id for name in lost}), len(running) > len(self._seen)


def _owned(processes: Iterable[ProcessStatus], before: dict[ProcessId, int]) -> dict[ProcessId, int]:
    listeners = sockets.listeners()
    found = {}
    for one in processes:
        known = before.get(one.id) == one.pid
        if one.pid and sockets.owns(one.pid, one.port, listeners, known=known):
            found[one.id] = one.pid
    return found
