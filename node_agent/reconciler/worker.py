"""One worker per service: observe, plan, execute, report, sleep until something changes. Newest wish wins.

Short actions run in order, then the facts are looked at again. Long ones are tasks beside the loop; a new plan that no
longer names one cancels it. An unforeseen error is logged and tried again with back-off; it never leaves this service.
"""

import asyncio
import dataclasses
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import structlog

from node_agent import errors
from node_agent.model import actions, spec, status
from node_agent.model.actions import Action, LongAction, Target
from node_agent.model.status import ReleaseState
from node_agent.reconciler import plan, report
from node_agent.reconciler.host import Host, ServiceHost

log = structlog.get_logger()
RETRY_S = (0.2, 0.5, 1.0, 2.0, 5.0)
NOT_ROUTED = "the live release has no process that takes requests; give it a run_cmd"


class Worker:
    """`run` it as a task; `wake` it when anything about the service may have changed."""

    def __init__(self, service_id: str, host: Host) -> None:
        self._id = service_id
        self._host = host
        self._service = ServiceHost(service_id, host, self.wake)
        self._works: Mapping[type, Callable[[Target], Coroutine[Any, Any, None]]] = {
            actions.Check: self._service.check,
            actions.Try: self._service.try_out,
            actions.Watch: self._service.watch,
            actions.Drain: self._service.drain,
            actions.Vacate: self._service.vacate,
        }
        self._woken = asyncio.Event()
        self._long: dict[Action, asyncio.Task[None]] = {}
        self._ended_count = 0
        self._told: status.ServiceReport | None = None
        self._proxy_words = ""
        self._log = log.bind(service=service_id)

    def wake(self) -> None:
        self._woken.set()

    async def run(self) -> None:
        """For ever; cancelling it cancels its long actions and leaves the applications alone."""
        failures = 0
        try:
            while True:
                self._woken.clear()
                try:
                    again = await self._turn()
                    failures = 0
                except Exception as error:  # one service's trouble must not end the worker: it is tried again
                    self._log.warning("service.turn_failed", error=str(error), kind=type(error).__name__)
                    delay = RETRY_S[min(failures, len(RETRY_S) - 1)]
                    failures += 1
                    await asyncio.sleep(delay)
                    continue
                if not again:
                    await self._woken.wait()
        finally:
            await self._cancel(tuple(self._long))

    async def _turn(self) -> bool:
        """One look and what follows from it; True when the facts have changed and want another look at once."""
        ended = self._ended_count
        wish, forgotten = await self._wish()
        facts = await self._service.observe(forgotten=forgotten)
        await self._service.offer_entries(wish, facts.live)
        steps = plan.plan(wish, facts)
        steps += plan.standing(wish, facts, steps)
        await self._end_former(wish, facts)
        await self._service.free_ports(facts, {facts.live, plan.goal_of(wish, facts)} - facts.failed)
        await self._cancel(tuple(action for action in self._long if action not in steps))
        await self._end_cancelled(wish, facts)
        short = [action for action in steps if not isinstance(action, actions.LONG)]
        try:
            for action in short:
                self._log.info("service.action", action=type(action).__name__.lower(), **_words(action))
                await self._execute(action, wish, facts)
        finally:
            await self._tell()
        if ended != self._ended_count:
            return True  # a long action ended after the facts were observed: they may say that it is still to do
        for step in steps:
            if isinstance(step, actions.LONG) and step not in self._long:
                self._log.info("service.action", action=type(step).__name__.lower(), **_words(step))
                self._begin(step, wish)
        return bool(short)

    async def _wish(self) -> tuple[spec.ServiceSpec, bool]:
        found = await self._host.journal.wish(self._id)
        if found is None:
            raise errors.AgentError(f"cannot work on {self._id}: the journal has no wish for it")
        return found

    async def _end_former(self, wish: spec.ServiceSpec, facts: plan.Facts) -> None:
        """Unfinished releases older than the wished one end here, and one that drains when none of its processes is left.

        By the facts, not by whoever stopped the last of them: that one may have died right after.
        """
        newest = wish.release.number if wish.release else 0
        still = {found.target.release for found in facts.processes} | ({facts.live.release} if facts.live else set())
        for _, known in await self._host.journal.releases(self._id):
            if known.number < newest and known.state in status.UNFINISHED:
                await self._service.note(
                    known.number, ReleaseState.SUPERSEDED, message="a newer release took its place"
                )
            elif known.state is ReleaseState.DRAINING and known.number not in still:
                await self._service.note(known.number, ReleaseState.RETIRED)

    async def _end_cancelled(self, wish: spec.ServiceSpec, facts: plan.Facts) -> None:
        """The cancelled release ends when none of its processes is left; its build was ended just before."""
        if wish.release is None or not plan.is_cancelled(wish, facts):
            return
        number = wish.release.number
        states = {known.number: known.state for _, known in await self._host.journal.releases(self._id)}
        runs = any(found.target.release == number for found in facts.processes)
        if not runs and states.get(number) in status.UNFINISHED:
            await self._service.end_cancelled(number)

    # short actions

    async def _execute(self, action: Action, wish: spec.ServiceSpec, facts: plan.Facts) -> None:
        service = self._service
        match action:
            case actions.Start(target):
                await self._guarded(target, facts, service.start(target))
            case actions.Switch(target):
                await self._switch(target, wish, facts)
            case actions.Unroute():
                await self._host.sites.drop(self._id)
            case actions.Settle():
                await self._host.journal.settle(self._id)
            case actions.Prune(keep):
                await service.prune(keep)
            case actions.Forget():
                gone = dataclasses.replace(facts, forgotten=True)
                await service.forget(report.service_report(wish, gone, (), (), (), ""))
            case _:
                raise errors.AgentError(f"cannot execute {action}: it is a long action")

    async def _guarded(self, target: Target, facts: plan.Facts, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except errors.ReleaseFailedError as error:
            if target == facts.live:
                raise
            await self._service.fail(target, error)

    async def _switch(self, target: Target, wish: spec.ServiceSpec, facts: plan.Facts) -> None:
        try:
            await self._service.switch(target, facts.site_of(wish, target))
            self._proxy_words = ""
        except errors.ProxyError as error:
            self._proxy_words = str(error)
            if target == facts.live:
                raise
            await self._service.fail(target, errors.ReleaseFailedError("proxy_failed", str(error)))

    # long actions

    def _begin(self, action: LongAction, wish: spec.ServiceSpec) -> None:
        task = asyncio.create_task(self._carry_out(action, wish), name=f"{self._id} {action}")
        self._long[action] = task
        task.add_done_callback(lambda _: self._ended(action, task))

    def _ended(self, action: Action, task: asyncio.Task[None]) -> None:
        self._ended_count += 1
        if self._long.get(action) is task:
            del self._long[action]
        self.wake()

    async def _carry_out(self, action: LongAction, wish: spec.ServiceSpec) -> None:
        try:
            match action:
                case actions.Build(number):
                    await self._for(Target(number, wish.restart), self._service.build(action))
                case actions.Prepare(number):
                    await self._for(Target(number, wish.restart), self._service.prepare(action))
                case actions.EndRuns():
                    await self._service.end_runs()
                case _:
                    await self._for(action.target, self._works[type(action)](action.target))
        except asyncio.CancelledError:
            if isinstance(action, actions.Build):
                await self._host.journal.reset_attempts(self._id, action.release)
            raise
        except Exception as error:  # a long action is named again by the next plan: tried again, slowly
            self._log.warning("service.action_failed", action=str(action), error=str(error), kind=type(error).__name__)
            await asyncio.sleep(RETRY_S[2])

    async def _for(self, target: Target, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except errors.ReleaseFailedError as error:
            await self._service.fail(target, error)

    async def _cancel(self, ended: tuple[Action, ...]) -> None:
        tasks = [self._long.pop(action) for action in ended]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # what is told

    async def _tell(self) -> None:
        """Spool the present truth when it differs from what was told last."""
        wish, forgotten = await self._wish()
        facts = await self._service.observe(forgotten=forgotten)
        newest = wish.release.number if wish.release else 0
        releases = await self._releases(newest)
        failures = await self._host.journal.failures(self._id)
        now = report.service_report(
            wish,
            facts,
            await self._service.processes(),
            releases,
            tuple(self._route(route, facts) for route in wish.routes),
            next((why for target, why in failures.items() if target.release == newest), ""),
            self._host.heads.head(self._id, wish.release),
            self._host.entries.told(self._id, self._host.clock.now()),
        )
        if now != self._told:
            await self._host.journal.spool(now)
            self._told = now

    async def _releases(self, newest: int) -> tuple[status.ReleaseReport, ...]:
        """What the source decided is told of the wished one alone: the others were told while they were it."""
        return tuple(
            dataclasses.replace(known, decided=self._service.decided_of(release)) if known.number == newest else known
            for release, known in await self._host.journal.releases(self._id)
        )

    def _route(self, route: spec.RouteSpec, facts: plan.Facts) -> status.RouteReport:
        if words := self._host.sites.words(route.id):
            return status.RouteReport(route.id, "quarantined", words)
        if facts.site is not None and route in facts.site.routes:
            return status.RouteReport(route.id, "active")
        if facts.live is not None and facts.site is None and not self._proxy_words:
            return status.RouteReport(route.id, "failed", NOT_ROUTED)
        return status.RouteReport(route.id, "failed" if self._proxy_words else "pending", self._proxy_words)


def _words(action: Action) -> dict[str, object]:
    words: dict[str, object] = {"reason": action.reason}
    if isinstance(action, actions.Build | actions.Prepare):
        words["release"] = action.release
    elif isinstance(
        action,
        actions.Start | actions.Check | actions.Try | actions.Watch | actions.Switch | actions.Drain | actions.Vacate,
    ):
        words["release"] = action.target.release
    return words
