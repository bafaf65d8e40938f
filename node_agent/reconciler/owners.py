"""Whether the port of a process is its own: what listens there now, by the kernel's table, is the process that we started.

While an app is down another user of the host may take its port. Requests go to a process only after it was seen to own
its port, and no longer once it ended: a new pid has to be seen anew.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable

import structlog

from node_agent import errors, ports
from node_agent.model import formation
from node_agent.model.process import ProcessId, ProcessStatus
from node_agent.reconciler import sockets

log = structlog.get_logger()
SOON_S = 0.1  # while a process is still to be seen: at first, then by a tenth slower each time
SLOWER = 1.1
SLOWEST_S = 1.0
LATER_S = 5.0


class Owners:
    """`run` it; `changed(service_id)` is called when a process was seen to own its port, or to have lost it."""

    def __init__(self, supervisor: ports.Supervisor) -> None:
        self._supervisor = supervisor
        self._seen: dict[ProcessId, int] = {}
        self._news: set[str] = set()
        self._woken = asyncio.Event()
        self._looking = asyncio.Lock()

    def owns(self, process: ProcessStatus) -> bool:
        """Was this very process seen to listen on its port? One that was not is looked at soon."""
        owned = bool(process.pid) and self._seen.get(process.id) == process.pid
        if not owned:
            self._woken.set()
        return owned

    async def run(self, changed: Callable[[str], None]) -> None:
        """For ever."""
        pause_s = SOON_S
        while True:
            self._woken.clear()
            waiting = False
            try:
                waiting = await self.look()
            except errors.AgentError as error:
                log.debug("owners.not_seen", error=str(error))
            news, self._news = self._news, set()
            for service_id in news:
                changed(service_id)
            if await self._woken_within(pause_s if waiting else LATER_S) or not waiting:
                pause_s = SOON_S
            else:
                pause_s = min(pause_s * SLOWER, SLOWEST_S)

    async def look(self) -> bool:
        """Whether a process that runs has no port yet. What changed is told by `run`, whoever looked.

        Raises AgentError when it cannot be seen: then everybody owns what they owned.
        """
        async with self._looking:  # an older look must not end after a newer one
            every = await self._supervisor.processes()
            processes = [one for one in every if formation.is_routed(one.id.name) and one.port]
            try:
                seen = await asyncio.to_thread(_owned, processes, self._seen)
            except OSError as error:
                raise errors.AgentError(f"cannot see who listens where: {error}") from error
            before, self._seen = self._seen, seen
        running = {one.id: one.pid for one in processes if one.pid}
        for name in before.keys() - seen.keys():
            if running.get(name) == before[name]:
                log.warning("process.port_lost", process=str(name))
        names = before.keys() | seen.keys()
        if news := {name.service_id for name in names if before.get(name) != seen.get(name)}:
            self._news |= news
            self._woken.set()
        return len(running) > len(seen)

    async def _woken_within(self, wait_s: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                return await self._woken.wait()
        return False


def _owned(processes: Iterable[ProcessStatus], before: dict[ProcessId, int]) -> dict[ProcessId, int]:
    running = [one for one in processes if one.pid]
    found = _listening(running, before)
    if lost := [one for one in running if before.get(one.id) == one.pid and one.id not in found]:
        found |= _listening(lost, before)  # the kernel gives its table page by page: one line may have been skipped
    return found


def _listening(running: Iterable[ProcessStatus], before: dict[ProcessId, int]) -> dict[ProcessId, int]:
    table = sockets.listeners()
    return {
        one.id: one.pid
        for one in running
        if sockets.owns(one.pid, one.port, table, known=before.get(one.id) == one.pid)
    }
