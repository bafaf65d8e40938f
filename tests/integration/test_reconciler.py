"""Workers over a real journal and the fakes of their neighbours: what a wish does, and what a disturbance does not."""

import asyncio
import contextlib
import dataclasses
import random

import pytest

from node_agent import clock, errors, ports
from node_agent.fakes.builder import FakeBuilder
from node_agent.fakes.proxy import FakeProxy
from node_agent.fakes.supervisor import FakeSupervisor
from node_agent.model import process, spec, status
from node_agent.model.source import Access
from node_agent.model.status import ReleaseState
from node_agent.paths import Paths
from node_agent.proxy.render import ProxySettings
from node_agent.proxy.requests import RequestCounts
from node_agent.reconciler import allotment, host
from node_agent.reconciler.branches import Branches
from node_agent.reconciler.host import Host
from node_agent.reconciler.owners import Owners
from node_agent.reconciler.reconciler import Reconciler
from node_agent.reconciler.sites import Sites
from node_agent.state.journal import Journal
from tests.unit.test_plan import ROUTES, SERVICE, a_release
from tests.waiting import wait_until_async

REMOTE = "https://git.test/x"
OTHER = "svc_01HZZZZZZZZZZZZZZZZZZZZZZY"


def a_static(number: int = 1, **changes: object) -> spec.ReleaseSpec:
    release = a_release(number, spec.Runtime.STATIC)
    return dataclasses.replace(release, static_dir="public", run_cmd="", **changes)


def a_wish(generation: int = 1, release: spec.ReleaseSpec | None = None, **changes: object) -> spec.ServiceSpec:
    wish = spec.ServiceSpec(SERVICE, generation, "app", spec.Run.RUNNING, 0, release or a_static(), ROUTES)
    return dataclasses.replace(wish, **changes)


class Branchy:
    """ports.Remote whose one branch a test moves; `asked` counts the looks."""

    def __init__(self) -> None:
        self.commit: str | None = "c" * 40
        self.asked: list[tuple[str, str, str]] = []

    async def resolve(self, remote: str, branch: str, token: str = "") -> str:
        self.asked.append((remote, branch, token))
        if self.commit is None:
            raise errors.ReleaseFailedError("fetch_failed", "cannot read it")
        return self.commit


class Rig:
    """One host with fakes; `begin` and `end` are the life of an agent on the same journal."""

    def __init__(self, root) -> None:
        paths = Paths(root)
        self.path = paths.journal
        self.builder = FakeBuilder({(REMOTE, "main"): "c" * 40})
        self.supervisor = FakeSupervisor()
        self.remote = Branchy()
        self.requests = RequestCounts()
        self.clock: clock.Clock = clock.SystemClock()
        self.proxy = FakeProxy(paths, ProxySettings("127.0.0.1", 8081))
        self._stack = contextlib.AsyncExitStack()

    async def begin(self) -> None:
        self.journal = await Journal.open(self.path)
        self._tasks = await self._stack.enter_async_context(asyncio.TaskGroup())
        host = Host(
            self.journal,
            self.supervisor,
            self.builder,
            Sites(self.proxy, self.journal),
            self.clock,
            self.requests,
            Owners(self.supervisor),
        )
        self.host = host
        self.reconciler = Reconciler(host, self._tasks)
        self._run = self._tasks.create_task(self.reconciler.run())
        system = clock.SystemClock()
        branches = Branches(self.journal, self.remote, host.heads, system, random.Random(1), self.reconciler.changed)
        self._looks = self._tasks.create_task(branches.run())

    async def end(self) -> None:
        self._run.cancel()
        self._looks.cancel()
        await self.reconciler.fence()
        await self._stack.aclose()
        await self.journal.close()

    async def report(self, service_id: str = SERVICE) -> status.ServiceReport | None:
        return next((r for _, r in await self.journal.pending() if r.service_id == service_id), None)

    async def until(self, condition, what: str = "the report", service_id: str = SERVICE) -> status.ServiceReport:
        async def look() -> status.ServiceReport | None:
            found = await self.report(service_id)
            return found if found is not None and condition(found) else None

        return await wait_until_async(look, 10, what)

    async def live(self, number: int) -> status.ServiceReport:
        return await self.until(lambda r: r.live_release == number, f"release {number} live")


@pytest.fixture
async def rig(tmp_path):
    made = Rig(tmp_path)
    await made.begin()
    yield made
    await made.end()


def states(report: status.ServiceReport) -> dict[int, ReleaseState]:
    return {release.number: release.state for release in report.releases}


async def test_the_limits_of_a_release_reach_its_process(rig: Rig) -> None:
    limited = dataclasses.replace(
        a_release(1), commit="c" * 40, resources=spec.Resources(64 << 20, 0.5, 32, 0, strict=True)
    )
    await rig.reconciler.accept(a_wish(1, limited))
    await wait_until_async(lambda: rig.supervisor.wanted)
    (wanted,) = rig.supervisor.wanted.values()
    assert wanted.limits == process.Limits(64 << 20, 0.5, 32, strict=True)


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        (spec.Resources(memory_bytes=1024), "limits.memory_bytes: a program needs at least 4194304 bytes"),
        (spec.Resources(cpu=0.001), "limits.cpu: at least 0.01 of a core"),
        (spec.Resources(pids=1), "limits.pids: at least 2"),
    ],
)
async def test_a_limit_that_no_program_can_live_with_fails_the_release_once(rig: Rig, resources, words) -> None:
    await rig.reconciler.accept(a_wish(1, dataclasses.replace(a_release(1), commit="c" * 40, resources=resources)))
    report = await rig.until(lambda r: states(r).get(1) is ReleaseState.FAILED, "the failure")
    assert (report.releases[0].reason, report.status) == ("impossible_limit", "failed")
    assert words in report.message
    assert rig.supervisor.wanted == {}


async def test_a_wish_becomes_a_live_release_with_its_commit(rig: Rig) -> None:
    assert await rig.reconciler.accept(a_wish()) == 1
    report = await rig.live(1)
    assert report.observed_generation == 1
    assert report.status == "running"
    assert report.releases[0].commit == "c" * 40
    assert report.routes == (status.RouteReport(ROUTES[0].id, "active"),)
    assert rig.proxy.upstream("app.test").release == 1


async def test_a_failed_build_ends_its_release_and_leaves_the_live_one(rig: Rig) -> None:
    await rig.reconciler.accept(a_wish())
    await rig.live(1)
    await rig.reconciler.accept(a_wish(2, a_static(2, build_cmd="fail")))
    report = await rig.until(lambda r: states(r).get(2) is ReleaseState.FAILED, "the failure")
    assert report.live_release == 1
    assert "exited with code 1" in report.releases[0].message
    assert "exited with code 1" in report.message
    assert rig.proxy.upstream("app.test").release == 1


def with_command(number: int, command: str) -> spec.ReleaseSpec:
    return a_static(number, processes=(("release", command),), env=(("URL", "db"),), secret_keys=("URL",))


async def test_a_release_command_runs_once_with_the_variables_of_the_app(rig: Rig) -> None:
    await rig.reconciler.accept(a_wish(1, with_command(1, "exit 0")))
    await rig.live(1)
    await rig.reconciler.accept(a_wish(2, with_command(1, "exit 0"), restart=1))
    await rig.until(lambda r: r.observed_generation == 2 and r.status == "running", "the restart")
    await rig.reconciler.accept(a_wish(3, with_command(1, "exit 0"), run=spec.Run.STOPPED))
    await rig.until(lambda r: r.status == "stopped", "the stop")
    await rig.end()
    await rig.begin()
    await rig.reconciler.accept(a_wish(4, with_command(1, "exit 0")))
    await rig.live(1)
    (job,) = rig.supervisor.ran
    assert (job.kind, job.command, job.env) == (process.JobKind.RELEASE, "exit 0", (("URL", "db"),))


async def test_a_release_command_that_fails_ends_its_release_and_nothing_of_it_starts(rig: Rig) -> None:
    await rig.reconciler.accept(a_wish(1, with_command(1, "exit 0")))
    await rig.live(1)
    await rig.reconciler.accept(a_wish(2, with_command(2, "echo no such table;exit 3")))
    report = await rig.until(lambda r: states(r).get(2) is ReleaseState.FAILED, "the failure")
    assert (report.live_release, report.releases[0].reason) == (1, "release_command_failed")
    assert "exited with code 3; last lines: no such table; mend it and deploy again" in report.message
    assert rig.proxy.upstream("app.test").release == 1


async def test_a_release_command_that_was_cut_off_runs_again_and_goes_with_a_newer_wish(rig: Rig) -> None:
    await rig.reconciler.accept(a_wish(1, with_command(1, "sleep 1000")))
    await wait_until_async(lambda: len(rig.supervisor.ran) == 1)
    await rig.end()
    await rig.begin()
    await wait_until_async(lambda: len(rig.supervisor.ran) == 2)
    await rig.reconciler.accept(a_wish(2, a_static(2)))
    assert states(await rig.live(2))[1] is ReleaseState.SUPERSEDED


async def test_a_supervisor_that_knows_no_release_commands_fails_the_release_with_its_words(rig: Rig) -> None:
    rig.supervisor.refuse("run_job", "cannot do 'run_release': unknown verb")
    await rig.reconciler.accept(a_wish(1, with_command(1, "exit 0")))
    report = await rig.until(lambda r: states(r).get(1) is ReleaseState.FAILED, "the failure")
    assert "cannot run the release command: cannot do 'run_release'" in report.message


async def test_replicas_of_a_process_that_nothing_knows_fail_the_release_before_it_starts(rig: Rig) -> None:
    release = dataclasses.replace(a_release(1), commit="c" * 40, process_replicas=(("wrker", 3),))
    await rig.reconciler.accept(a_wish(1, dataclasses.replace(release, processes=(("worker", "work"),))))
    report = await rig.until(lambda r: states(r).get(1) is ReleaseState.FAILED, "the failure")
    assert report.releases[0].reason == "no_such_process"
    assert report.message.startswith("cannot run wrker: neither the deployment nor its source")
    assert rig.supervisor.wanted == {}


async def test_a_process_runs_as_often_as_is_said(rig: Rig) -> None:
    release = dataclasses.replace(a_release(1), run_cmd="", commit="c" * 40, processes=(("worker", "work"),))
    await rig.reconciler.accept(a_wish(1, dataclasses.replace(release, process_replicas=(("worker", 3),))))
    await wait_until_async(lambda: len(rig.supervisor.wanted) == 3)
    assert [wanted.name for wanted in rig.supervisor.wanted] == ["worker.1", "worker.2", "worker.3"]


async def test_a_newer_wish_ends_a_build_that_hangs(rig: Rig) -> None:
    await rig.reconciler.accept(a_wish(1, a_static(1, build_cmd="hang")))
    await rig.until(lambda r: states(r).get(1) is ReleaseState.BUILDING, "the build")
    await rig.reconciler.accept(a_wish(2, a_static(2)))
    report = await rig.live(2)
    assert states(report) == {2: ReleaseState.LIVE, 1: ReleaseState.SUPERSEDED}


async def test_routes_change_while_a_build_hangs(rig: Rig) -> None:
    await rig.reconciler.accept(a_wish())
    await rig.live(1)
    hanging = a_static(2, build_cmd="hang")
    await rig.reconciler.accept(a_wish(2, hanging))
    await rig.until(lambda r: states(r).get(2) is ReleaseState.BUILDING, "the build")
    other = (spec.RouteSpec("rte_01HZZZZZZZZZZZZZZZZZZZZZZY", "other.test"),)
    await rig.reconciler.accept(a_wish(3, hanging, routes=other))
    await rig.until(lambda r: r.observed_generation == 3 and r.routes[0].state == "active", "the route")
    assert rig.proxy.upstream("other.test").release == 1
    assert rig.proxy.upstream("app.test") is None
    assert await rig.journal.count_attempt(SERVICE, 2) == 2  # one build went on through it all


async def test_a_service_that_hangs_does_not_hold_another_up(rig: Rig) -> None:
    await rig.reconciler.accept(a_wish(1, a_static(1, build_cmd="hang")))
    routes = (spec.RouteSpec("rte_01HZZZZZZZZZZZZZZZZZZZZZZY", "other.test"),)
    await rig.reconciler.accept(a_wish(1, service_id=OTHER, routes=routes))
    await rig.until(lambda r: r.live_release == 1, "the other service", OTHER)


async def test_an_older_or_repeated_wish_changes_nothing(rig: Rig) -> None:
    await rig.reconciler.accept(a_wish(5))
    await rig.live(1)
    assert await rig.reconciler.accept(a_wish(4, run=spec.Run.REMOVED)) == 5
    assert await rig.reconciler.accept(a_wish(5)) == 5
    assert rig.builder.built == [(SERVICE, 1)]
    assert rig.proxy.upstream("app.test").release == 1


async def test_stopping_takes_the_route_away_and_starting_brings_it_back_without_a_build(rig: Rig) -> None:
    await rig.reconciler.accept(a_wish())
    await rig.live(1)
    await rig.reconciler.accept(a_wish(2, run=spec.Run.STOPPED))
    await rig.until(lambda r: r.status == "stopped" and r.live_release == 0, "the stop")
    assert rig.proxy.upstream("app.test") is None
    await rig.reconciler.accept(a_wish(3))
    await rig.live(1)
    assert rig.builder.built == [(SERVICE, 1)]


async def test_a_tombstone_is_carried_out_and_confirmed(rig: Rig) -> None:
    await rig.reconciler.accept(a_wish())
    await rig.live(1)
    await rig.reconciler.accept(a_wish(2, run=spec.Run.REMOVED, routes=()))
    await rig.until(lambda r: r.removed, "the confirmation")
    assert rig.proxy.live == ()
    assert rig.supervisor.forgotten == [SERVICE]


async def test_what_the_proxy_refuses_fails_the_release_in_nginx_words(rig: Rig) -> None:
    rig.proxy.broken = "listen port is taken"
    await rig.reconciler.accept(a_wish())
    report = await rig.until(lambda r: states(r).get(1) is ReleaseState.FAILED, "the failure")
    assert "listen port is taken" in report.message
    assert (report.releases[0].reason, report.routes[0].state) == ("proxy_failed", "failed")


async def test_a_new_agent_goes_on_with_the_journal(rig: Rig) -> None:
    await rig.reconciler.accept(a_wish())
    await rig.live(1)
    await rig.reconciler.accept(a_wish(2, a_static(2, build_cmd="hang")))
    await rig.until(lambda r: states(r).get(2) is ReleaseState.BUILDING, "the build")
    await rig.end()
    assert rig.proxy.upstream("app.test").release == 1
    await rig.begin()
    await rig.until(lambda r: states(r).get(2) is ReleaseState.BUILDING, "the build again")
    await rig.reconciler.accept(a_wish(3, a_static(3)))
    await rig.live(3)


async def test_a_release_whose_last_process_ended_unseen_is_retired_by_the_next_agent(rig: Rig) -> None:
    """The former agent stopped it, and died before it wrote that down."""
    await rig.reconciler.accept(a_wish())
    await rig.live(1)
    await rig.reconciler.accept(a_wish(2, a_static(2)))
    await rig.live(2)
    await rig.end()
    journal = await Journal.open(rig.path)
    await journal.put_release(SERVICE, status.ReleaseReport(1, ReleaseState.DRAINING, "", "", "", 0.0))
    await journal.close()
    await rig.begin()
    await rig.until(lambda report: states(report)[1] is ReleaseState.RETIRED, "the end of release 1")


async def test_a_port_whose_process_ended_unseen_is_freed_and_others_are_kept(rig: Rig) -> None:
    """The former agent stopped it, and died before it freed the port."""
    await rig.reconciler.accept(a_wish(1, a_release(1)))
    (name,) = await wait_until_async(lambda: rig.journal.ports_of(SERVICE), what="a port")
    gone = str(process.ProcessId(SERVICE, 7, 0, "web.1"))
    await rig.end()
    journal = await Journal.open(rig.path)
    await journal.take_port(gone, 29000)
    await journal.take_port(str(process.ProcessId(OTHER, 7, 0, "web.1")), 29001)
    await journal.close()
    await rig.begin()

    async def freed() -> bool:
        return await rig.journal.ports_of(SERVICE) == (name,)

    await wait_until_async(freed, what="the port to be free")
    assert len(await rig.journal.ports_of(OTHER)) == 1


async def test_a_cancelled_build_ends_and_the_live_release_serves_on(rig: Rig) -> None:
    await rig.reconciler.accept(a_wish())
    await rig.live(1)
    hanging = a_static(2, build_cmd="hang")
    await rig.reconciler.accept(a_wish(2, hanging))
    await rig.until(lambda r: states(r).get(2) is ReleaseState.BUILDING, "the build")
    await rig.reconciler.accept(a_wish(3, hanging, cancelled=True))
    report = await rig.until(lambda r: states(r).get(2) is ReleaseState.CANCELLED, "the cancellation")
    assert (report.live_release, report.status, report.observed_generation) == (1, "running", 3)
    assert rig.proxy.upstream("app.test").release == 1


async def test_a_cancelled_start_leaves_no_process(rig: Rig) -> None:
    release = a_release(1)  # its fake process never listens, so it stays in its check
    release = dataclasses.replace(release, commit="c" * 40)
    await rig.reconciler.accept(a_wish(1, release))
    await rig.until(lambda r: states(r).get(1) is ReleaseState.CHECKING, "the check")
    await rig.reconciler.accept(a_wish(2, release, cancelled=True))
    report = await rig.until(lambda r: states(r).get(1) is ReleaseState.CANCELLED, "the cancellation")
    assert (report.status, report.live_release, report.processes) == ("stopped", 0, ())
    assert await rig.supervisor.processes() == ()
    assert await rig.builder.sealed(SERVICE, 1) is None


async def test_cancelling_a_live_release_changes_nothing(rig: Rig) -> None:
    await rig.reconciler.accept(a_wish())
    await rig.live(1)
    await rig.reconciler.accept(a_wish(2, cancelled=True))
    report = await rig.until(lambda r: r.observed_generation == 2, "the answer")
    assert (states(report), report.live_release) == ({1: ReleaseState.LIVE}, 1)
    await rig.reconciler.accept(a_wish(3, cancelled=True, run=spec.Run.STOPPED))
    await rig.until(lambda r: r.live_release == 0, "the stop")
    await rig.reconciler.accept(a_wish(4, cancelled=True))
    await rig.live(1)


async def test_a_cancellation_outlives_the_agent(rig: Rig) -> None:
    hanging = a_static(1, build_cmd="hang")
    await rig.reconciler.accept(a_wish(1, hanging))
    await rig.until(lambda r: states(r).get(1) is ReleaseState.BUILDING, "the build")
    await rig.end()
    rig.journal = await Journal.open(rig.path)
    await rig.journal.put_wish(a_wish(2, hanging, cancelled=True))  # stored, and the agent was killed
    await rig.journal.close()
    await rig.begin()
    report = await rig.until(lambda r: states(r).get(1) is ReleaseState.CANCELLED, "the cancellation")
    assert report.status == "stopped"
    assert rig.builder.built == []


async def test_variables_change_without_a_build(rig: Rig) -> None:
    await rig.reconciler.accept(a_wish())
    await rig.live(1)
    await rig.reconciler.accept(a_wish(2, a_static(2, env=(("A", "1"),), build_of=1, build_cmd="hang")))
    report = await rig.live(2)
    assert rig.builder.built == [(SERVICE, 1)]
    assert report.releases[0].commit == "c" * 40


async def test_a_branch_that_moves_is_reported(rig: Rig) -> None:
    await rig.reconciler.accept(a_wish(1, a_static(git_token="t"), poll_s=1))
    await rig.until(lambda r: r.branch_head == "c" * 40, "the first look")
    rig.remote.commit = "d" * 40
    await rig.until(lambda r: r.branch_head == "d" * 40, "the next look")
    assert set(rig.remote.asked) == {(REMOTE, "main", Access("t"))}


async def test_a_look_that_fails_is_no_trouble_of_the_service(rig: Rig) -> None:
    rig.remote.commit = None
    await rig.reconciler.accept(a_wish(1, poll_s=1))
    await wait_until_async(lambda: rig.remote.asked)
    report = await rig.live(1)
    assert (report.status, report.health, report.branch_head) == ("running", "healthy", "")


async def test_nobody_looks_while_a_release_is_unfinished_or_unasked(rig: Rig) -> None:
    await rig.reconciler.accept(a_wish(1, a_static(1, build_cmd="hang"), poll_s=1))
    routes = (spec.RouteSpec("rte_01HZZZZZZZZZZZZZZZZZZZZZZY", "other.test"),)
    await rig.reconciler.accept(a_wish(1, a_static(1, branch="other"), service_id=OTHER, routes=routes, poll_s=1))
    rig.builder.branches[REMOTE, "other"] = "e" * 40
    third = OTHER[:-1] + "X"
    await rig.reconciler.accept(a_wish(1, a_static(1, branch="third"), service_id=third, routes=()))
    await wait_until_async(lambda: len(rig.remote.asked) >= 2)
    assert {branch for _, branch, _ in rig.remote.asked} == {"other"}


async def test_a_fenced_agent_takes_no_wish_and_leaves_what_runs(rig: Rig) -> None:
    await rig.reconciler.accept(a_wish())
    await rig.live(1)
    await rig.reconciler.fence()
    with pytest.raises(errors.FencedError, match="newer session"):
        await rig.reconciler.accept(a_wish(2))
    assert rig.proxy.upstream("app.test").release == 1


async def test_a_supervisor_that_refuses_once_is_asked_again(rig: Rig) -> None:
    rig.supervisor.refuse("processes", "not now")
    await rig.reconciler.accept(a_wish())
    await rig.live(1)


def test_ports_of_two_processes_begin_at_different_places_and_name_each_once():
    one, other = (list(allotment.ports_for(f"svc_{name}.r1.n0.web.1")) for name in ("A", "B"))
    assert one[0] != other[0]
    assert sorted(one) == sorted(other) == list(range(allotment.FIRST_PORT, allotment.LAST_PORT + 1))


async def test_an_agent_that_begins_while_the_supervisor_is_away_changes_nothing_before_it_saw_who_owns_which_port(
    rig: Rig,
) -> None:
    await rig.reconciler.accept(a_wish())
    await rig.live(1)
    await rig.end()
    before = rig.proxy.applied
    rig.supervisor.refuse("processes", "not yet")
    await rig.begin()
    assert await rig.live(1)
    assert rig.proxy.applied == before


async def test_a_fixed_port_that_this_host_may_give_to_another_app_is_refused(rig: Rig) -> None:
    fixed = dataclasses.replace(a_release(1), commit="c" * 40, port=allotment.FIRST_PORT, port_mode="fixed")
    await rig.reconciler.accept(a_wish(1, fixed))
    report = await rig.until(lambda r: states(r).get(1) is ReleaseState.FAILED, "the failure")
    assert (report.releases[0].reason, rig.supervisor.wanted) == ("port_in_use", {})
    assert "20000 to 29999" in report.message


async def test_a_route_whose_change_cannot_be_served_goes_on_as_before_also_after_a_restart(rig: Rig) -> None:
    await rig.reconciler.accept(a_wish())
    await rig.live(1)
    bad = dataclasses.replace(ROUTES[0], options=spec.RouteOptions(headers=(("Connection", "close"),)))
    await rig.reconciler.accept(a_wish(2, routes=(bad,)))
    report = await rig.until(lambda r: r.observed_generation == 2 and r.routes[0].state == "quarantined", "the words")
    assert "Connection" in report.routes[0].message
    assert "goes on as it was before" in report.routes[0].message
    assert rig.proxy.upstream("app.test").release == 1
    await rig.end()
    rig.proxy.live = ()
    await rig.begin()
    await wait_until_async(lambda: rig.proxy.upstream("app.test"))
    await rig.reconciler.accept(a_wish(3, a_static(2), routes=(bad,)))
    await rig.live(2)
    assert rig.proxy.upstream("app.test").release == 2
    await rig.reconciler.accept(a_wish(4, a_static(2), routes=()))
    await wait_until_async(lambda: rig.proxy.upstream("app.test") is None, what="the end of the route")


async def test_a_new_agent_knows_that_a_canary_had_requests_and_lets_its_clients_end(rig: Rig) -> None:
    trial = ports.Upstream(1, (20001,), canary=ports.Canary(2, (20002,), 10))
    await rig.journal.put_site(ports.Site(SERVICE, trial, ROUTES))
    await rig.end()
    await rig.begin()
    service = host.ServiceHost(SERVICE, rig.host, lambda: None)
    await wait_until_async(lambda: rig.host.sites.site(SERVICE))
    await service.observe(forgotten=False)
    assert service.tried == {2}
