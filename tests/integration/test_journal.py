"""The journal on disk: newest wish wins, what returned is there after a new start, reports wait until acknowledged."""

import asyncio
import contextlib
import dataclasses
import json
import sqlite3
import stat

import pytest

from node_agent import errors, ports
from node_agent.model import spec, status
from node_agent.model.actions import Target
from node_agent.model.crash import Crash, Kind
from node_agent.state import codec, schema
from node_agent.state.journal import REST_S, Journal
from tests.unit.test_plan import ROUTES, SERVICE, a_release, a_wish


@pytest.fixture
async def journal(tmp_path):
    opened = await Journal.open(tmp_path / "journal.db")
    yield opened
    await opened.close()


def a_report(state: str = "running", service_id: str = SERVICE) -> status.ServiceReport:
    release = status.ReleaseReport(1, status.ReleaseState.LIVE, commit="c" * 40, changed_at=1.5)
    crash = Crash(Kind.SIGNALLED, 9, "", at=1.5, ran_s=2.5, lines=("one",))
    process = status.ProcessReport("web.1", 1, "running", 7, 20001, 1.5, 1, "signalled(9)", crash)
    return status.ServiceReport(service_id, 7, state, "healthy", 1, "", (release,), (process,), ())


FAREWELL = status.ServiceReport(SERVICE, 8, "stopped", "unknown", 0, "", (), (), (), removed=True)


async def test_a_wish_is_kept_word_for_word_over_a_restart(journal, tmp_path) -> None:
    release = dataclasses.replace(
        a_release(),
        env=(("A", "1"), ("B", "ü\n")),
        secret_keys=("B",),
        build_of=1,
        strategy=spec.Strategy("canary", 10, (20, 50), 3.0),
        resources=spec.Resources(1, 0.5, 3, 4, strict=True),
        processes=(("worker", "w"),),
    )
    options = spec.RouteOptions(basic_auth=(("a", "b"),), headers=(("X", "1"),), weights=((SERVICE, 5),))
    routes = (dataclasses.replace(ROUTES[0], options=options),)
    wish = dataclasses.replace(a_wish(routes=routes), release=release, cancelled=True, poll_s=60, pinned=(1, 3))
    assert await journal.put_wish(wish) == 7
    again = await Journal.open(tmp_path / "journal.db")
    try:
        assert await again.wish(SERVICE) == (wish, False)
        assert await again.generations() == {SERVICE: 7}
        ((kept, report),) = await again.releases(SERVICE)
        assert kept == release
        assert report.state is status.ReleaseState.PENDING
    finally:
        await again.close()


async def test_an_older_or_repeated_wish_changes_nothing(journal) -> None:
    await journal.put_wish(a_wish())
    older = dataclasses.replace(a_wish(run=spec.Run.REMOVED), generation=6)
    assert await journal.put_wish(older) == 7
    assert await journal.put_wish(dataclasses.replace(older, generation=7)) == 7
    assert (await journal.wish(SERVICE))[0].run is spec.Run.RUNNING


async def test_a_tombstone_stays_and_refuses_late_wishes(journal) -> None:
    await journal.put_wish(a_wish())
    await journal.put_wish(dataclasses.replace(a_wish(run=spec.Run.REMOVED), generation=8))
    await journal.forget(SERVICE, FAREWELL)
    assert (await journal.wish(SERVICE))[1] is True
    assert [waiting for _, waiting in await journal.pending()] == [FAREWELL]
    assert await journal.releases(SERVICE) == ()
    assert await journal.put_wish(a_wish()) == 8


async def test_a_tombstone_that_was_carried_out_holds_no_secret(journal, tmp_path) -> None:
    release = dataclasses.replace(a_release(), env=(("KEY", "hush-hush"),), secret_keys=("KEY",), git_token="hush-hush")
    await journal.put_wish(dataclasses.replace(a_wish(run=spec.Run.REMOVED), release=release))
    await journal.forget(SERVICE, FAREWELL)
    wish, forgotten = await journal.wish(SERVICE)
    assert (wish.run, wish.release, forgotten) == (spec.Run.REMOVED, None, True)
    with contextlib.closing(sqlite3.connect(tmp_path / "journal.db")) as database:
        assert not any("hush" in line for line in database.iterdump())


async def test_an_empty_commit_leaves_the_resolved_one(journal) -> None:
    await journal.put_wish(a_wish())
    first = status.ReleaseReport(1, status.ReleaseState.FETCHING, commit="c" * 40, changed_at=1.0)
    await journal.put_release(SERVICE, first)
    await journal.put_release(SERVICE, dataclasses.replace(first, state=status.ReleaseState.BUILDING, commit=""))
    ((_, report),) = await journal.releases(SERVICE)
    assert (report.state, report.commit) == (status.ReleaseState.BUILDING, "c" * 40)


async def test_what_serves_and_how_its_release_is_are_one_step(journal) -> None:
    """Killed between two steps, an agent would tell of a live release as of one that is switched to, for ever."""
    await journal.put_wish(a_wish())
    await journal.put_live(SERVICE, Target(1, 0), [status.ReleaseReport(1, status.ReleaseState.LIVE, changed_at=1.0)])
    assert await journal.live(SERVICE) == Target(1, 0)
    ((_, report),) = await journal.releases(SERVICE)
    assert report.state is status.ReleaseState.LIVE


async def test_settling_forgets_what_was_live_and_what_failed(journal) -> None:
    await journal.put_live(SERVICE, Target(1, 0))
    await journal.put_failure(SERVICE, Target(2, 0), None, "why")
    assert await journal.live(SERVICE) == Target(1, 0)
    assert await journal.failures(SERVICE) == {Target(2, 0): "why"}
    await journal.settle(SERVICE)
    assert await journal.live(SERVICE) is None
    assert await journal.failures(SERVICE) == {}


async def test_a_freed_port_rests_before_it_is_given_again(journal) -> None:
    await journal.take_port("p", 20000)
    assert await journal.port_of("p") == 20000
    await journal.free_port("p", 1000.0)
    assert await journal.port_of("p") is None
    assert await journal.taken_ports(1000.0 + REST_S - 1) == {20000}
    assert await journal.taken_ports(1000.0 + REST_S + 1) == frozenset()


async def test_a_site_comes_back_as_it_was(journal) -> None:
    site = ports.Site(SERVICE, ports.Upstream(3, static_root="public"), ROUTES)
    await journal.put_site(site)
    assert await journal.sites() == (site,)
    await journal.drop_site(SERVICE)
    assert await journal.sites() == ()


async def test_a_newer_report_takes_the_place_of_an_older_one_under_a_higher_number(journal) -> None:
    await journal.spool(a_report("starting"))
    ((first, _),) = await journal.pending()
    await journal.spool(a_report())
    ((second, report),) = await journal.pending()
    assert second > first
    assert report == a_report()
    await journal.acknowledge(first)
    assert len(await journal.pending()) == 1
    await journal.acknowledge(second)
    assert await journal.pending() == ()


async def test_who_waits_for_a_report_is_woken_by_it(journal) -> None:
    waiting = asyncio.create_task(journal.wait(0))
    await asyncio.sleep(0)
    assert not waiting.done()
    await journal.spool(a_report())
    await asyncio.wait_for(waiting, 5)


async def test_a_cancelled_caller_leaves_the_journal_usable(journal) -> None:
    for _ in range(200):
        task = asyncio.create_task(journal.spool(a_report()))
        for _ in range(len(journal.writes) + 3):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await journal.spool(a_report("stopped"))
    assert (await journal.pending())[0][1].status == "stopped"


async def test_the_file_is_private(journal, tmp_path) -> None:
    assert stat.S_IMODE((tmp_path / "journal.db").stat().st_mode) == 0o600


NEW_FIELDS = (
    "secret_keys",
    "build_of",
    "source",
    "archive",
    "git_token",
    "git_key",
    "git_host_key",
    "submodules",
    "replicas",
    "resources",
    "strategy",
    "processes",
)


def _without(data: dict, *names: str) -> dict:
    return {name: value for name, value in data.items() if name not in names}


async def test_a_journal_of_the_first_version_opens_with_defaults(tmp_path) -> None:
    path = tmp_path / "journal.db"
    wish = json.loads(codec.dump(a_wish()))
    release = _without(wish["release"], *NEW_FIELDS)
    release["health_check"] = _without(release["health_check"], "command")
    routes = [_without(route, "options") for route in wish["routes"]]
    old = {**_without(wish, "cancelled", "poll_s", "pinned"), "release": release, "routes": routes}
    report = _without(json.loads(codec.dump(a_report())), "branch_head")
    site = {"service_id": SERVICE, "upstream": {"release": 1, "port": 20001, "static_root": None}, "routes": routes}
    with contextlib.closing(sqlite3.connect(path)) as database:
        for statement in schema.UPGRADES[0]:
            database.execute(statement)
        database.execute("INSERT INTO wishes VALUES (?, 7, ?, 0)", (SERVICE, json.dumps(old)))
        database.execute(
            "INSERT INTO releases VALUES (?, 1, ?, 'pending', '', '', '', 0, 0)", (SERVICE, json.dumps(release))
        )
        database.execute("INSERT INTO sites VALUES (?, ?)", (SERVICE, json.dumps(site)))
        database.execute("INSERT INTO spool (service_id, report) VALUES (?, ?)", (SERVICE, json.dumps(report)))
        database.execute("PRAGMA user_version = 1")
        database.commit()
    opened = await Journal.open(path)
    try:
        assert await opened.wish(SERVICE) == (a_wish(), False)
        assert (await opened.releases(SERVICE))[0][0] == a_release()
        assert await opened.sites() == (ports.Site(SERVICE, ports.Upstream(1, (20001,)), ROUTES),)
        assert (await opened.pending())[0][1] == a_report()
    finally:
        await opened.close()


async def test_a_newer_schema_is_refused(tmp_path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "journal.db")) as database:
        database.execute(f"PRAGMA user_version = {len(schema.UPGRADES) + 1}")
    with pytest.raises(errors.JournalTooNewError, match="newer agent"):
        await Journal.open(tmp_path / "journal.db")
