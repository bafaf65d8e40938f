"""Runs cron entries when they are due: jobs of the supervisor in the tree of the release that is live at that moment.

What is started is journalled before, so that no restart of the agent starts it twice. A run goes on without us; whoever
comes next asks the supervisor how it ended.
"""

import asyncio
import contextlib
import dataclasses
import functools
from collections.abc import Awaitable, Callable

import structlog

from node_agent import errors, ports
from node_agent.clock import Clock
from node_agent.model import cron, process, spec
from node_agent.model.cron import Run, Step
from node_agent.reconciler import launching
from node_agent.reconciler.entries import Entries, Live

log = structlog.get_logger()
MINUTE_S = 60.0
AWAY_S = 0.2
REPLACED = "replaced"


class Crons:
    """`recover`, then `run`. `changed(service_id)` is called when there is news to tell of its entries."""

    def __init__(
        self,
        entries: Entries,
        journal: ports.CronJournal,
        supervisor: ports.Supervisor,
        clock: Clock,
        changed: Callable[[str], None],
    ) -> None:
        self._entries, self._journal, self._supervisor = entries, journal, supervisor
        self._clock, self._changed = clock, changed
        self._left: tuple[Run, ...] = ()
        self._replaced: set[str] = set()

    async def recover(self) -> None:
        """Before anything is planned: which trees are in use, and what had its turn."""
        self._left = self._entries.remember(await self._journal.cron_runs())

    async def run(self) -> None:
        """For ever; cancelling it leaves what runs alone."""
        async with asyncio.TaskGroup() as tasks:
            for run in self._left:
                tasks.create_task(self._see_out(run, functools.partial(self._outcome, run.job_id)), name=run.job_id)
            while True:
                await self._look(tasks)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(MINUTE_S - self._clock.now() % MINUTE_S):
                        await self._entries.woken.wait()

    async def _look(self, tasks: asyncio.TaskGroup) -> None:
        """Start what is due in this minute."""
        self._entries.woken.clear()
        minute = int(self._clock.now() // MINUTE_S)
        for service_id, live, entry in self._entries.all():
            try:
                await self._consider(tasks, service_id, live, entry, minute)
            except errors.SupervisorUnavailableError as error:  # so it is for all of them; we are woken when it is back
                log.warning("cron.not_started", service=service_id, entry=entry.name, error=str(error))
                return
            except Exception as error:  # one entry's trouble must not touch the others
                log.warning("cron.not_started", service=service_id, entry=entry.name, error=str(error))

    async def _consider(
        self, tasks: asyncio.TaskGroup, service_id: str, live: Live, entry: spec.CronEntry, minute: int
    ) -> None:
        former = self._entries.under_way(service_id, entry.name)
        step = cron.next_step(entry, minute, self._entries.last_minute(service_id, entry.name), len(former))
        if step is Step.NOTHING or any(run.minute == minute for run in former):  # of a clock that was set back
            return
        if step is Step.SKIP:
            self._entries.decide(service_id, entry.name, minute)
            log.warning("cron.skipped", service=service_id, entry=entry.name, why="its last run is still under way")
        else:
            await self._supervisor.hello()  # one that is away is waited for: what was written down is not begun again
            run = Run(service_id, entry.name, live.release.number, minute, self._clock.now())
            await self._start(tasks, run, _job(run, entry, live), former if step is Step.REPLACE else ())
        self._changed(service_id)

    async def _start(self, tasks: asyncio.TaskGroup, run: Run, job: process.JobSpec, replaced: tuple[Run, ...]) -> None:
        await self._journal.put_cron_run(run)
        if not self._entries.knows(run.service_id, run.release):
            await self._journal.end_cron_run(dataclasses.replace(run, outcome="cancelled"))
            return  # it was stopped meanwhile
        self._entries.begin(run)
        log.info("cron.started", service=run.service_id, entry=run.entry, release=run.release)
        tasks.create_task(self._see_out(run, functools.partial(self._ending, job, replaced)), name=run.job_id)

    async def _see_out(self, run: Run, ending: Callable[[], Awaitable[str]]) -> None:
        try:
            outcome = await ending()
        except Exception as error:  # one entry's trouble must not touch the others
            outcome = f"start_failed: {error}"
        if run.job_id in self._replaced:
            self._replaced.discard(run.job_id)
            outcome = REPLACED if outcome == "cancelled" else outcome
        ended = dataclasses.replace(run, outcome=outcome)
        self._entries.end(ended)
        log.info("cron.ended", service=run.service_id, entry=run.entry, release=run.release, outcome=outcome)
        self._changed(run.service_id)
        try:
            await self._journal.end_cron_run(ended)
        except Exception as error:  # after a restart nobody will know how it ended; that is all
            log.warning("cron.not_written", service=run.service_id, entry=run.entry, error=str(error))

    async def _ending(self, job: process.JobSpec, replaced: tuple[Run, ...]) -> str:
        """Run it to the end, in the place of others if there are any."""
        still = self._entries.under_way(job.service_id, job.entry)
        self._replaced |= {one.job_id for one in replaced if one in still}
        try:
            for one in replaced:
                await self._supervisor.cancel_job(one.job_id)
            if job.id in self._replaced or not self._entries.may_begin(job.service_id):
                return "cancelled"  # meanwhile
            return cron.words(await self._supervisor.run_job(job))
        except errors.SupervisorUnavailableError:  # it may have been begun
            return await self._outcome(job.id)

    async def _outcome(self, job_id: str) -> str:
        """Of a run that was begun before, however long the supervisor is away."""
        while True:
            try:
                return cron.words(await self._supervisor.await_job(job_id))
            except errors.SupervisorRefusedError:  # an older one, which knows of none
                return cron.words(None)
            except errors.SupervisorUnavailableError:
                await asyncio.sleep(AWAY_S)


def _job(run: Run, entry: spec.CronEntry, live: Live) -> process.JobSpec:
    """As the release's own processes run."""
    return launching.job_of(
        process.JobKind.CRON,
        run.service_id,
        entry.command,
        entry.timeout_s,
        live.release,
        live.artifact,
        entry=run.entry,
        minute=run.minute,
        limits=launching.limits_of(live.release.resources),
    )
