"""Cron entries on a host: a real supervisor, a real journal, and a clock that moves when the test says so."""

import asyncio
import contextlib
import dataclasses
import os
import time

import pytest

from node_agent import errors
from node_agent.fakes.builder import FakeBuilder
from node_agent.fakes.proxy import FakeProxy
from node_agent.log_reader import LogReader
from node_agent.model import cron, process, spec, status
from node_agent.model.log import LogQuery
from node_agent.proxy.render import ProxySettings
from node_agent.proxy.requests import RequestCounts
from node_agent.reconciler.host import Host
from node_agent.reconciler.owners import Owners
from node_agent.reconciler.reconciler import Reconciler
from node_agent.reconciler.sites import Sites
from node_agent.state.journal import Journal
from node_agent.supervisor_client import SupervisorClient
from tests.integration.test_reconciler import REMOTE, a_static
from tests.supervisor_host import SERVICE, reach
from tests.supervisor_host import host as host  # noqa: PLC0414 - the fixture
from tests.waiting import wait_until_async

NOON = 1_795_608_000.0  # 2026-11-25 12:00
FOREVER = "trap 'echo asked to end; exit 0' TERM; echo begun; while :; do sleep 1000 & wait; done"


class SetClock:
    def __init__(self) -> None:
        self.seconds = NOON

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> float:
        return self.seconds


class Agent:
    """The part of an agent that runs entries; `begin` and `end` are its life, on one journal beside one supervisor."""

    def __init__(self, host) -> None:
        self.host, self.clock = host, SetClock()
        self.builder = FakeBuilder({(REMOTE, "main"): "c" * 40})
        self._stack = contextlib.AsyncExitStack()

    async def begin(self) -> None:
        self.journal = await Journal.open(self.host.paths.journal)
        self.client = SupervisorClient(self.host.paths)
        await self.client.connect(20)
        self._tasks = await self._stack.enter_async_context(asyncio.TaskGroup())
        sites = Sites(FakeProxy(self.host.paths, ProxySettings("127.0.0.1", 8081)), self.journal)
        parts = (self.journal, self.client, self.builder, sites, self.clock, RequestCounts(), Owners(self.client))
        self.parts = Host(*parts)
        self.reconciler = Reconciler(self.parts, self._tasks)
        self._run = self._tasks.create_task(self.reconciler.run())

    async def end(self) -> None:
        self._run.cancel()
        await self.reconciler.fence()
        await self._stack.aclose()
        await self.journal.close()
        await self.client.close()

    async def deploy(self, number: int, *entries: spec.CronEntry, **changes: object) -> None:
        """Release `number` with these entries, live."""
        self.host.paths.release_tree(SERVICE, number).mkdir(parents=True, exist_ok=True)
        release = a_static(number, cron=entries, commit="c" * 40, **changes)
        await self.wish(number, release)
        await self.until(lambda report: report.live_release == number, f"release {number} live")

    async def wish(self, generation: int, release: spec.ReleaseSpec, run: spec.Run = spec.Run.RUNNING) -> None:
        await self.reconciler.accept(spec.ServiceSpec(SERVICE, generation, "app", run, 0, release))

    async def move(self, seconds: float) -> None:
        """The clock goes on, and its watcher looks at it: what is due then is decided and begun."""
        self.clock.seconds += seconds
        for _ in range(2):  # the first look is over when the second begins
            self.parts.entries.woken.set()
            await wait_until_async(lambda: not self.parts.entries.woken.is_set())

    async def until(self, condition, what: str = "the report") -> status.ServiceReport:
        async def look() -> status.ServiceReport | None:
            found = next((report for _, report in await self.journal.pending()), None)
            return found if found is not None and condition(found) else None

        return await wait_until_async(look, what=what)

    async def told(self, outcome: str, started_at: float | None = None, name: str = "tidy") -> status.CronReport:
        """The entry once it is told with that outcome, of the run that was started then."""

        def of(report: status.ServiceReport) -> list[status.CronReport]:
            return [
                one
                for one in report.cron
                if (one.name, one.last_outcome) == (name, outcome) and started_at in {None, one.last_started_at}
            ]

        return of(await self.until(of, f"{name} {outcome}"))[0]

    async def lines(self, **query: object) -> list[tuple[str, int, bytes]]:
        batches = [batch async for batch in LogReader(self.host.paths).read(LogQuery(SERVICE, **query))]
        return [(line.process, line.release, line.line) for batch in batches for line in batch.lines]

    async def logged(self, line: bytes, count: int = 1) -> None:
        async def look() -> bool:
            return [found for _, _, found in await self.lines()].count(line) == count

        await wait_until_async(look, what=f"{count} times {line!r} in the log")

    def running(self) -> list[str]:
        return sorted(marker for marker in self.host.marked() if marker.startswith(SERVICE))


@pytest.fixture
async def agent(host):
    host.start()
    made = Agent(host)
    await made.begin()
    yield made
    await made.end()


def an_entry(command: str, schedule: str = "*/5 * * * *", **changes: object) -> spec.CronEntry:
    return spec.CronEntry("tidy", schedule, command, **changes)


async def test_an_entry_runs_when_it_is_due_as_the_live_release_does_and_its_lines_are_logged(agent) -> None:
    agent.clock.seconds = NOON + 60
    command = "echo $GREETING $DPLOYR_RELEASE $DPLOYR_COMMIT; pwd; echo oops >&2"
    await agent.deploy(1, an_entry(command), env=(("GREETING", "hello"),))
    (before,) = (await agent.until(lambda report: report.cron)).cron
    assert before == status.CronReport("tidy", "*/5 * * * *", NOON + 300, 0.0, "")
    await agent.move(180)
    await agent.move(60.5)
    after = await agent.told("exited(0)")
    assert (after.last_started_at, after.next_at) == (NOON + 300.5, NOON + 600)
    lines = await agent.lines(process="cron.tidy")
    tree = os.fsencode(agent.host.paths.release_tree(SERVICE, 1))
    assert sorted(lines) == sorted(("cron.tidy", 1, line) for line in (b"hello 1 " + b"c" * 40, tree, b"oops"))
    assert await agent.lines(source="run", stream="stderr") == [("cron.tidy", 1, b"oops")]
    assert await agent.lines(source="build") == []
    assert agent.running() == []


async def test_an_entry_has_one_run_in_a_minute_and_what_was_missed_is_not_made_up(agent) -> None:
    await agent.deploy(1, an_entry("echo ran"))
    await agent.told("exited(0)", NOON)  # live in a minute that it names
    await agent.move(30)
    await agent.move(3 * 300 - 31)
    await agent.move(1)
    await agent.told("exited(0)", NOON + 900)
    await agent.logged(b"ran", 2)
    agent.clock.seconds = NOON + 60
    await agent.move(0)  # set back
    await agent.move(2000 * 60 - 60)
    await agent.told("exited(0)", NOON + 2000 * 60)
    await agent.logged(b"ran", 3)


async def test_a_run_of_a_clock_that_was_years_ahead_does_not_hide_those_after_it_from_the_next_agent(agent) -> None:
    ahead = 2000 * 24 * 60 * 60
    agent.clock.seconds += ahead
    await agent.deploy(1, an_entry("echo ran"))
    await agent.told("exited(0)", NOON + ahead)
    await agent.move(-ahead)
    await agent.told("exited(0)", NOON)
    await agent.end()
    await agent.begin()
    await agent.move(1)
    await agent.told("exited(0)", NOON)
    await agent.logged(b"ran", 2)
    assert [run.started_at for run in await agent.journal.cron_runs()] == [NOON]


async def test_what_is_due_after_a_jump_of_the_clock_begins_with_the_next_sweep(agent) -> None:
    agent.clock.seconds = NOON + 60
    await agent.deploy(1, an_entry("echo ran"))
    agent.clock.seconds = NOON + 310  # nothing wakes whoever sleeps until the minute is full
    agent.reconciler.changed("")
    await agent.told("exited(0)", NOON + 310)


@pytest.mark.parametrize(
    ("command", "changes", "outcome"),
    [
        ("exit 7", {}, "exited(7)"),
        ("kill -9 $$", {}, "signalled(9)"),
        ("exec sleep 1000", {"timeout_s": 1.0}, "timeout"),
    ],
)
async def test_how_a_run_ended_is_told(agent, command, changes, outcome) -> None:
    await agent.deploy(1, an_entry(command, **changes))
    await agent.told(outcome)
    assert agent.running() == []


async def test_a_run_that_cannot_start_says_why_and_a_bad_schedule_that_it_never_does(agent) -> None:
    entries = (an_entry("exit 0"), spec.CronEntry("later", "@someday", "exit 0"))
    await agent.deploy(1, *entries, working_dir="missing")
    missing = agent.host.tree / "missing"
    await agent.told(f"start_failed: No such file or directory: {missing}")
    (never,) = [one for one in (await agent.until(lambda report: report.cron)).cron if one.name == "later"]
    assert never.next_at == 0.0
    assert never.last_outcome.startswith("its schedule cannot be read here")


async def test_while_a_run_is_under_way_the_next_is_skipped(agent) -> None:
    await agent.deploy(1, an_entry(FOREVER))
    await agent.logged(b"begun")
    await agent.move(300)
    report = await agent.until(lambda report: report.cron and report.cron[0].next_at == NOON + 600, "the skipped one")
    assert report.cron[0] == status.CronReport("tidy", "*/5 * * * *", NOON + 600, NOON, "running")
    assert len(agent.running()) == 1


async def test_or_runs_beside_it(agent) -> None:
    await agent.deploy(1, an_entry(FOREVER, overlap="allow"))
    await agent.logged(b"begun")
    await agent.move(300)
    await agent.logged(b"begun", 2)
    assert len(agent.running()) == 2


async def test_a_minute_that_comes_again_while_its_run_is_under_way_has_no_other(agent) -> None:
    await agent.deploy(1, an_entry(FOREVER, overlap="allow"))
    await agent.logged(b"begun")
    await agent.move(-2 * 60 * 60)
    await agent.logged(b"begun", 2)
    before = agent.host.marked()
    await agent.move(2 * 60 * 60)
    await agent.move(300)
    await agent.logged(b"begun", 3)
    after = agent.host.marked()
    assert len(after) == 3
    assert all(set(after[marker]) & set(pids) for marker, pids in before.items())


async def test_or_takes_its_place_once_it_had_the_chance_to_end(agent) -> None:
    await agent.deploy(1, an_entry(FOREVER, overlap="replace"))
    await agent.logged(b"begun")
    await agent.move(300)
    await agent.logged(b"begun", 2)
    assert [line for _, _, line in await agent.lines()] == [b"begun", b"asked to end", b"begun"]
    assert [marker.split(".")[3] for marker in agent.running()] == [str(int(NOON + 300) // 60)]


async def test_a_service_that_is_stopped_while_a_run_makes_room_does_not_begin_the_next(agent) -> None:
    slow = "echo begun; trap 'while [ ! -e go ]; do sleep 0.05; done; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    await agent.deploy(1, an_entry(slow, overlap="replace"))
    await agent.logged(b"ready")
    await agent.move(300)
    await agent.told("running", NOON + 300)
    await agent.wish(2, a_static(1), spec.Run.STOPPED)
    await wait_until_async(lambda: list(agent.parts.entries.all()) == [], what="the stop")
    (agent.host.tree / "go").touch()

    async def outcomes() -> bool:
        return [run.outcome for run in await agent.journal.cron_runs()] == ["cancelled"]

    await wait_until_async(outcomes, what="the end of both runs")
    await agent.logged(b"begun")


async def test_a_run_outlives_the_agent_and_is_not_doubled_by_the_next_which_tells_its_end(agent) -> None:
    command = "echo begun; while [ ! -e go ]; do sleep 0.05; done; exit 3"
    await agent.deploy(1, an_entry(command, "* * * * *"))
    await agent.logged(b"begun")
    (marker,) = agent.running()
    await agent.end()
    assert agent.running() == [marker]
    await agent.begin()
    await agent.move(30)
    await agent.told("running", NOON)
    (agent.host.tree / "go").touch()
    await agent.told("exited(3)", NOON)
    await agent.logged(b"begun")


async def test_the_end_of_a_run_is_kept_for_an_agent_that_was_away(agent) -> None:
    command = "echo begun; while [ ! -e go ]; do sleep 0.05; done; exit 3"
    await agent.deploy(1, an_entry(command))
    await agent.logged(b"begun")
    await agent.end()
    (agent.host.tree / "go").touch()
    await wait_until_async(lambda: agent.running() == [], what="the end of the run")
    await agent.begin()
    await agent.told("exited(3)", NOON)


async def test_a_run_that_an_agent_wrote_down_and_did_not_begin_is_not_begun_by_the_next(agent) -> None:
    agent.clock.seconds = NOON + 60
    await agent.deploy(1, an_entry("echo ran"))
    await agent.journal.put_cron_run(cron.Run(SERVICE, "tidy", 1, int(NOON + 300) // 60, NOON + 300))
    await agent.end()
    agent.clock.seconds = NOON + 301
    await agent.begin()
    await agent.told("interrupted", NOON + 300)
    await agent.move(1)
    assert await agent.lines() == []
    await agent.move(300)
    await agent.told("exited(0)", NOON + 602)
    assert len(await agent.journal.cron_runs()) == 1


async def test_a_fenced_agent_begins_nothing(agent) -> None:
    agent.clock.seconds = NOON + 60
    await agent.deploy(1, an_entry("echo ran"))
    await agent.reconciler.fence()
    await agent.move(240)
    assert await agent.journal.cron_runs() == ()


async def test_a_supervisor_that_dies_ends_its_runs_and_nobody_knows_how_they_ended(agent) -> None:
    await agent.deploy(1, an_entry(FOREVER))
    await agent.logged(b"begun")
    agent.host.kill()
    agent.host.start()
    await reach(agent.host, agent.client)
    await agent.told("interrupted", NOON)
    await wait_until_async(lambda: agent.running() == [], what="the end of the run")
    await agent.move(300)
    await agent.told("running", NOON + 300)


async def test_what_is_due_while_the_supervisor_is_away_begins_when_it_is_back(agent) -> None:
    agent.clock.seconds = NOON + 60
    await agent.deploy(1, an_entry(FOREVER))
    agent.host.kill()
    await agent.move(240)
    agent.clock.seconds += 5
    agent.host.start()
    await agent.told("running", NOON + 305)
    await agent.logged(b"begun")


@pytest.mark.parametrize("run", [spec.Run.STOPPED, spec.Run.REMOVED])
async def test_a_service_that_is_stopped_or_removed_runs_nothing(agent, run) -> None:
    await agent.deploy(1, an_entry(FOREVER))
    await agent.logged(b"begun")
    await agent.wish(2, a_static(1), run)
    await agent.until(lambda report: report.removed or report.status == "stopped", "the end of the service")
    await wait_until_async(lambda: agent.running() == [], what="the end of the run")
    await agent.move(300)
    assert list(agent.parts.entries.all()) == []
    if run is spec.Run.REMOVED:
        assert await agent.journal.cron_runs() == ()
        assert not agent.host.paths.logs(SERVICE).exists()


async def test_a_run_goes_on_in_the_tree_of_its_release_while_others_come_and_go(agent) -> None:
    await agent.deploy(1, an_entry(FOREVER))
    await agent.logged(b"begun")
    for number in range(2, 9):
        await agent.deploy(number, an_entry(FOREVER))

    async def sealed() -> set[int]:
        return {number for number in range(1, 9) if await agent.builder.sealed(SERVICE, number) is not None}

    async def pruned() -> bool:
        return await sealed() == {1, 4, 5, 6, 7, 8}

    await wait_until_async(pruned, what="the pruning of the others")
    (marker,) = agent.running()
    assert marker.startswith(f"{SERVICE}.r1.")
    await agent.client.cancel_job(marker)
    await agent.told("cancelled", NOON)

    async def gone() -> bool:
        return await sealed() == {4, 5, 6, 7, 8}

    await wait_until_async(gone, what="the pruning of its tree")


async def test_a_run_has_the_volumes_of_its_release_and_none_is_restored_under_it(agent) -> None:
    await agent.deploy(1, an_entry('echo kept >"$DPLOYR_VOLUME_DATA/file"; ' + FOREVER), volumes=(("data", "data"),))
    await agent.logged(b"begun")
    assert (agent.host.paths.volume(SERVICE, "data") / "file").read_text() == "kept\n"
    restore = process.JobSpec(
        SERVICE, 0, "", (), "", "", 60.0, process.JobKind.RESTORE, run_id="run_" + "0" * 26, volumes=("data",), volume="data"
    )  # fmt: skip
    with pytest.raises(errors.SupervisorRefusedError, match="a command of it runs"):
        await agent.client.run_job(restore)


async def test_an_entry_keeps_to_the_limits_of_the_release(agent) -> None:
    rung = dict((await agent.client.hello()).capabilities)
    if not rung["limits_rung"].startswith("cgroup") or "pids" not in rung["limits"].split(","):
        pytest.skip(f"this host cannot limit pids by a control group: {rung['limits_rung']}")
    command = "for n in 1 2 3 4 5 6 7 8 9; do sleep 1000 & done; echo all of them"
    await agent.deploy(1, an_entry(command), resources=spec.Resources(pids=4))
    assert (await agent.told("exited(2)")).last_outcome
    assert b"all of them" not in [line for _, _, line in await agent.lines()]


async def test_the_journal_keeps_of_each_entry_the_newest_run_and_those_under_way(agent) -> None:
    await agent.deploy(1)
    runs = [cron.Run(SERVICE, "tidy", 1, minute, minute * 60.0) for minute in (1, 2, 3)]
    for run in runs:
        await agent.journal.put_cron_run(run)
    ended = dataclasses.replace(runs[1], outcome="exited(0)")
    await agent.journal.end_cron_run(ended)
    assert set(await agent.journal.cron_runs()) == {runs[0], runs[2]}
    newest = dataclasses.replace(runs[2], outcome="exited(0)")
    await agent.journal.end_cron_run(newest)
    assert set(await agent.journal.cron_runs()) == {runs[0], newest}
    await agent.journal.put_cron_run(cron.Run("svc_" + "9" * 26, "tidy", 1, 4, 240.0))
    assert len(await agent.journal.cron_runs()) == 2
