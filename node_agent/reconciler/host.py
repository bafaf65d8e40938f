"""What a worker works with, observed and changed for one service: the effects behind the plan's actions."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable, Collection

import failpoints
from node_agent import errors, ports
from node_agent.clock import Clock
from node_agent.model import actions, decided, formation, health, process, spec, status
from node_agent.model.actions import Target
from node_agent.model.status import ReleaseState
from node_agent.reconciler import allotment, before, gate, launching, sockets, trial, vigil
from node_agent.reconciler.branches import Heads
from node_agent.reconciler.entries import Entries, Live
from node_agent.reconciler.owners import Owners
from node_agent.reconciler.plan import Facts, ProcessFact, Sealed
from node_agent.reconciler.sites import Sites

ATTEMPTS = 3
GRACE_S = 10.0
DRAIN_S = 30.0
DRAIN_QUIET_S = 1.0  # nginx's former workers stop accepting a moment after the new ones answer
UNSERVED_GRACE_S = 3.0  # for a process that never had a request


@dataclasses.dataclass(frozen=True, slots=True)
class Host:
    """The neighbours of a worker."""

    journal: ports.Journal
    supervisor: ports.Supervisor
    builder: ports.Builder
    sites: Sites
    clock: Clock
    requests: ports.Requests
    owners: Owners
    heads: Heads = dataclasses.field(default_factory=Heads)
    entries: Entries = dataclasses.field(default_factory=Entries)


@dataclasses.dataclass(slots=True)
class ServiceHost:
    """One service on this host. `changed` wakes its worker when a step became visible."""

    service_id: str
    host: Host
    changed: Callable[[], None]
    passed: set[Target] = dataclasses.field(default_factory=set)
    proven: set[Target] = dataclasses.field(default_factory=set)
    tried: set[int] = dataclasses.field(default_factory=set)
    trial: tuple[Target, int] | None = None
    seen: dict[process.ProcessId, process.ProcessStatus] = dataclasses.field(default_factory=dict)
    healths: dict[process.ProcessId, health.Health] = dataclasses.field(default_factory=dict)
    _sealed: dict[int, ports.Artifact] = dataclasses.field(default_factory=dict)

    async def processes(self) -> tuple[process.ProcessStatus, ...]:
        return tuple(p for p in await self.host.supervisor.processes() if p.id.service_id == self.service_id)

    async def observe(self, *, forgotten: bool) -> Facts:
        """Every fact that a plan may use. Raises SupervisorUnavailableError."""
        journal = self.host.journal
        found = await self.processes()
        self.seen = {one.id: one for one in found}
        self.healths = {name: known for name, known in self.healths.items() if name in self.seen}
        live = await journal.live(self.service_id)
        releases = await journal.releases(self.service_id)
        site = self.host.sites.site(self.service_id)
        if site is not None and site.upstream.canary is not None:
            self.tried.add(site.upstream.canary.release)
        return Facts(
            sealed=await self._sealed_releases(),
            processes=tuple(self._fact(one) for one in found),
            passed=frozenset(self.passed | ({live} if live else set())),
            failed=frozenset(await journal.failures(self.service_id)),
            live=live,
            site=site,
            forgotten=forgotten,
            served=frozenset(known.number for _, known in releases if known.state in status.SERVED),
            proven=frozenset(self.proven),
            trial=self.trial,
            busy=self.host.entries.busy(self.service_id),
        )

    def _fact(self, one: process.ProcessStatus) -> ProcessFact:
        target, known = Target(one.id.release, one.id.restart), self.healths.get(one.id)
        owned = self.host.owners.owns(one) and not (known and known.asked and known.pid == one.pid)
        return ProcessFact(target, one.id.name, one.state, one.port, owned=owned, unhealthy=known.why if known else "")

    async def _sealed_releases(self) -> tuple[Sealed, ...]:
        found = []
        for release, report in await self.host.journal.releases(self.service_id):
            if release.number not in self._sealed and report.state is not ReleaseState.FAILED:
                artifact = await self.host.builder.sealed(self.service_id, release.number)
                if artifact is not None:
                    self._sealed[release.number] = artifact
            if artifact := self._sealed.get(release.number):
                wanted = decided.effective(release, artifact.decided)
                members = tuple(member.name for member in launching.members(wanted, artifact))
                prepared = report.state in status.PREPARED or not formation.release_command(wanted)
                found.append(Sealed(release.number, members, artifact.static_root, prepared=prepared))
        return tuple(found)

    async def offer_entries(self, wish: spec.ServiceSpec, live: Target | None) -> None:
        """The cron entries of the live release may begin, while the service shall run."""
        number = live.release if live and wish.run is spec.Run.RUNNING else 0
        artifact = self._sealed.get(number)
        if artifact is None:
            self.host.entries.drop(self.service_id)
        elif not self.host.entries.knows(self.service_id, number):
            self.host.entries.know(self.service_id, Live(await self.release(number), artifact))

    async def release(self, number: int) -> spec.ReleaseSpec:
        """The journalled release, with its commit once that is known, and with what its source decided once it is built."""
        for release, report in await self.host.journal.releases(self.service_id):
            if release.number == number:
                known = dataclasses.replace(release, commit=report.commit or release.commit)
                artifact = self._sealed.get(number)
                return decided.effective(known, artifact.decided) if artifact else known
        raise errors.ReleaseFailedError("unknown_release", f"release {number} is not in the journal; deploy again")

    def artifact(self, number: int) -> ports.Artifact:
        """What a release that runs was built to."""
        return self._sealed[number]

    def decided_of(self, release: spec.ReleaseSpec) -> decided.Rows:
        """What the source of that release decided and its request leaves open; nothing until it is sealed."""
        artifact = self._sealed.get(release.number)
        return decided.still(artifact.decided, release) if artifact else ()

    async def note(self, number: int, state: ReleaseState, commit: str = "", message: str = "") -> None:
        """Journal a step of a release. One that went live once only moves on to draining and retired."""
        if state not in status.SERVED and await self._served(number):
            return
        await self.host.journal.put_release(self.service_id, self._step(number, state, commit, message))
        await self._told()

    def _step(self, number: int, state: ReleaseState, commit: str = "", message: str = "") -> status.ReleaseReport:
        return status.ReleaseReport(number, state, "", message, commit, self.host.clock.now())

    async def fail(self, target: Target, error: errors.ReleaseFailedError) -> None:
        """This target can never go live. One step, since the next plan may end whoever calls this."""
        number = target.release
        report = status.ReleaseReport(number, ReleaseState.FAILED, error.code, str(error), "", self.host.clock.now())
        served = await self._served(number)
        await self.host.journal.put_failure(self.service_id, target, None if served else report, str(error))
        await self._told()

    async def _served(self, number: int) -> bool:
        known = {report.number: report.state for _, report in await self.host.journal.releases(self.service_id)}
        return known.get(number) in status.SERVED

    async def _told(self) -> None:
        """A step became visible; the builder's words about it too, unless the supervisor is away just now."""
        with contextlib.suppress(errors.SupervisorUnavailableError):
            await self.host.supervisor.index_logs(self.service_id)
        self.changed()

    # the actions

    async def build(self, action: actions.Build) -> None:
        attempt = await self.host.journal.count_attempt(self.service_id, action.release)
        if attempt > ATTEMPTS:
            raise errors.ReleaseFailedError(
                "interrupted", f"the build was interrupted {ATTEMPTS} times by restarts of the host; deploy again"
            )
        release = await self.release(action.release)
        async with self._steps(action.release) as progress:
            artifact = await self.host.builder.build(self.service_id, release, progress)
        self._sealed[artifact.release] = artifact

    @contextlib.asynccontextmanager
    async def _steps(self, number: int) -> AsyncIterator[Callable[[ReleaseState, str], None]]:
        """A callback for the builder; each step is journalled in order, at the latest when the block ends."""
        steps: asyncio.Queue[tuple[ReleaseState, str] | None] = asyncio.Queue()

        async def write() -> None:
            while (step := await steps.get()) is not None:
                await self.note(number, step[0], commit=step[1])

        writer = asyncio.create_task(write(), name=f"steps {self.service_id} {number}")
        try:
            yield lambda state, commit: steps.put_nowait((state, commit))
        finally:
            steps.put_nowait(None)
            await writer

    @failpoints.around("release.prepare")
    async def prepare(self, action: actions.Prepare) -> None:
        """Run the release command, and write down that it was run."""
        release, artifact = await self.release(action.release), self._sealed[action.release]
        launching.demand_commands(launching.members(release, artifact))
        await before.run(self.host.supervisor, self.service_id, release, artifact)
        await self.note(action.release, ReleaseState.STARTING)

    async def start(self, target: Target) -> None:
        """Every process of `target` that does not exist yet."""
        release, artifact = await self.release(target.release), self._sealed[target.release]
        members = launching.members(release, artifact)
        launching.demand_commands(members)
        await self.note(target.release, ReleaseState.STARTING)
        there = {found.id for found in await self.processes()}
        for member in members:
            if self._process_id(target, member.name) not in there:
                await self._start(target, member, release, artifact)

    @failpoints.around("process.ask")
    async def _start(
        self, target: Target, member: formation.Member, release: spec.ReleaseSpec, artifact: ports.Artifact
    ) -> None:
        process_id = self._process_id(target, member.name)
        launching.demand_limits(release.resources)
        port = await allotment.port_of(self.host.journal, self.host.clock.now(), process_id, release)
        await self.host.supervisor.start(launching.process_of(process_id, member.command, port, release, artifact))

    @failpoints.around("gate.check")
    async def check(self, target: Target) -> None:
        release = await self.release(target.release)
        await self.note(target.release, ReleaseState.CHECKING)
        artifact = self._sealed[target.release]
        try:
            async with asyncio.TaskGroup() as tasks:
                for member in launching.members(release, artifact):
                    watched = gate.Watched(self._process_id(target, member.name), release, artifact)
                    tasks.create_task(gate.wait(self.host.supervisor, watched, self.host.clock), name=member.name)
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        await self.host.owners.look()
        self.passed.add(target)

    @failpoints.around("trial.run")
    async def try_out(self, target: Target) -> None:
        """Lead `target` through the steps of its trial; the plan spreads the requests as `trial` says.

        Raises ReleaseFailedError when it does worse than the release that is live. Cut off by a restart of the agent, a
        trial begins anew.
        """
        release, live = await self.release(target.release), await self.host.journal.live(self.service_id)
        if live is None:
            return
        await self.note(target.release, ReleaseState.SWITCHING)
        try:
            await trial.run(self, target, live, release.strategy)
            self.proven.add(target)
        finally:
            self.trial = None

    async def watch(self, target: Target) -> None:
        await vigil.watch(self, target)

    async def switch(self, target: Target, site: ports.Site | None) -> None:
        """Make `target` serve; without a site nothing is served. The former release drains from here on; a static one is
        retired at once.
        """
        former = await self.host.journal.live(self.service_id)
        await self.note(target.release, ReleaseState.SWITCHING)
        if site is not None:
            await self.host.sites.put(site)
        elif self.host.sites.site(self.service_id) is not None:
            await self.host.sites.drop(self.service_id)
        reports = [self._step(target.release, ReleaseState.LIVE)]
        if former is not None and former.release != target.release:
            runs = any(found.id.release == former.release for found in await self.processes())
            reports.append(self._step(former.release, ReleaseState.DRAINING if runs else ReleaseState.RETIRED))
        await self.host.journal.put_live(self.service_id, target, reports)
        await self._told()

    async def drain(self, target: Target) -> None:
        """Wait until nobody is served any more, 30 s at most, then stop the processes and free their ports.

        The processes of a release that was never live nor on trial have served nobody: they are stopped at once.
        """
        found = await self.of(target)
        served = await self._served(target.release) or target.release in self.tried
        routed = frozenset(p.port for p in found if formation.is_routed(p.id.name))
        if served and routed:
            await self._quiet(routed)
        grace_s = GRACE_S if served else UNSERVED_GRACE_S
        await asyncio.gather(*(self._stop(p.id, grace_s) for p in found))
        for known_targets in (self.passed, self.proven):
            known_targets.discard(target)
        self.tried.discard(target.release)

    @failpoints.around("release.vacate")
    async def vacate(self, target: Target) -> None:
        """Stop the processes of `target` without waiting for their clients: they may end what they have in their grace."""
        await asyncio.gather(*(self._stop(p.id, GRACE_S) for p in await self.of(target)))

    async def end_runs(self) -> None:
        runs = self.host.entries.under_way(self.service_id)
        await asyncio.gather(*(self.host.supervisor.cancel_job(run.job_id) for run in runs))

    async def of(self, target: Target) -> list[process.ProcessStatus]:
        return [p for p in await self.processes() if (p.id.release, p.id.restart) == (target.release, target.restart)]

    @failpoints.around("drain.stop")
    async def _stop(self, process_id: process.ProcessId, grace_s: float) -> None:
        await self.host.supervisor.stop(process_id, grace_s)
        await self._free_port(str(process_id))

    async def _free_port(self, process_id: str) -> None:
        if (port := await self.host.journal.port_of(process_id)) is not None:
            self.host.requests.drop(port)
        await self.host.journal.free_port(process_id, self.host.clock.now())

    async def free_ports(self, facts: Facts, wanted: Collection[Target | None]) -> None:
        """Those of processes that are gone, unless of a target that is `wanted`: whoever ended one may have died before
        it freed its port.
        """
        there = {str(self._process_id(found.target, found.name)) for found in facts.processes}
        for name in await self.host.journal.ports_of(self.service_id):
            found = process.ProcessId.parse(name)
            if name not in there and Target(found.release, found.restart) not in wanted:
                await self._free_port(name)

    @failpoints.around("drain.quiet")
    async def _quiet(self, served: frozenset[int]) -> None:
        """Until no connection to the ports is left, DRAIN_S at most."""
        deadline = self.host.clock.monotonic() + DRAIN_S
        await asyncio.sleep(DRAIN_QUIET_S)
        while sockets.established(served) and self.host.clock.monotonic() < deadline:  # noqa: ASYNC110 - the kernel sends no event
            await asyncio.sleep(0.1)

    @failpoints.around("release.cancelled")
    async def end_cancelled(self, number: int) -> None:
        """Nothing of the cancelled release runs any more: end a build that a former agent left, free its files, say so."""
        await self.host.supervisor.cancel_job(process.JobSpec.build_id(self.service_id, number))
        known = {report.number for _, report in await self.host.journal.releases(self.service_id)}
        await self.prune(frozenset(known - {number}))
        await self.note(number, ReleaseState.CANCELLED, message="cancelled before it was live")

    @failpoints.around("release.prune")
    async def prune(self, keep: frozenset[int]) -> None:
        await self.host.builder.prune(self.service_id, keep)
        self._sealed = {number: artifact for number, artifact in self._sealed.items() if number in keep}

    async def forget(self, farewell: status.ServiceReport) -> None:
        """Delete all that is left of a removed service, then confirm the tombstone with the report `farewell`."""
        await self.host.supervisor.forget(self.service_id)
        await self.host.builder.remove(self.service_id)
        await self.host.journal.forget(self.service_id, farewell)
        self.host.entries.forget(self.service_id)
        self._sealed.clear()

    def _process_id(self, target: Target, name: str) -> process.ProcessId:
        return process.ProcessId(self.service_id, target.release, target.restart, name)
