"""All workers of a host, and the door through which wishes come in. A slow timer looks at everything again."""

import asyncio

import structlog

from node_agent import errors
from node_agent.model import spec
from node_agent.reconciler.crons import Crons
from node_agent.reconciler.host import Host
from node_agent.reconciler.worker import Worker

log = structlog.get_logger()
SWEEP_S = 10.0
AWAY_S = 0.2


class Reconciler:
    """`run` it; it implements ports.Inbox for the session."""

    def __init__(self, host: Host, tasks: asyncio.TaskGroup) -> None:
        self._host = host
        self._tasks = tasks
        self._workers: dict[str, tuple[Worker, asyncio.Task[None]]] = {}
        self._fenced = False
        self._crons = Crons(host.entries, host.journal, host.supervisor, host.clock, self.changed)

    async def accept(self, wanted: spec.ServiceSpec) -> int:
        """Journal the wish and wake its worker; the newest generation that is held. Raises FencedError."""
        if self._fenced:
            raise errors.FencedError(f"cannot accept a wish for {wanted.service_id}: a newer session took over")
        generation = await self._host.journal.put_wish(wanted)
        if generation == wanted.generation:
            log.info("wish.accepted", service=wanted.service_id, generation=generation, run=wanted.run.value)
            self._worker(wanted.service_id).wake()
            self._host.heads.woken.set()
        return generation

    async def generations(self) -> dict[str, int]:
        return await self._host.journal.generations()

    async def run(self) -> None:
        """Recover the proxy, begin every journalled service, then sweep for ever."""
        await self._crons.recover()
        await self._recover()
        await self._see_owners()
        self._host.supervisor.subscribe(self.changed)
        for wish, forgotten in await self._host.journal.wishes():
            if not forgotten:
                self._worker(wish.service_id)
        async with asyncio.TaskGroup() as own:
            own.create_task(self._host.owners.run(self.changed), name="owners")
            own.create_task(self._crons.run(), name="crons")
            while True:
                await asyncio.sleep(SWEEP_S)
                await self._sweep()

    async def fence(self) -> None:
        """A newer session holds this identity: stop changing things, leave the applications alone."""
        self._fenced = True
        self._host.entries.close()
        for _, task in self._workers.values():
            task.cancel()
        await asyncio.gather(*(task for _, task in self._workers.values()), return_exceptions=True)

    async def _see_owners(self) -> None:
        """Before anything is decided, however long the supervisor is away: what runs keeps its requests."""
        while True:
            try:
                await self._host.owners.look()
                return
            except errors.AgentError as error:
                log.warning("owners.not_seen", error=str(error))
                await asyncio.sleep(AWAY_S)

    async def _recover(self) -> None:
        while True:
            try:
                await self._host.sites.recover()
                return
            except Exception as error:  # nothing is served without the proxy: try until it comes
                log.warning("proxy.recover_failed", error=str(error), kind=type(error).__name__)
                await asyncio.sleep(1.0)

    async def _sweep(self) -> None:
        try:
            await self._host.supervisor.proxy_ensure()
        except Exception as error:  # the next sweep tries again
            log.warning("proxy.ensure_failed", error=str(error))
        self.changed("")

    def changed(self, service_id: str) -> None:
        """Something about the service ("": about any) may have changed: look at it again.

        About any: also at what is due, since a host that was suspended, or had its clock set, sleeps past a full minute.
        """
        if not service_id:
            self._host.entries.woken.set()
        for known, (worker, _) in self._workers.items():
            if service_id in {"", known}:
                worker.wake()

    def _worker(self, service_id: str) -> Worker:
        if service_id not in self._workers:
            worker = Worker(service_id, self._host)
            self._workers[service_id] = (worker, self._tasks.create_task(worker.run(), name=f"worker {service_id}"))
        return self._workers[service_id][0]
