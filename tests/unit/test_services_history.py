"""Events and audit: who sees what, from where on, and how a follower is served and ended."""

import asyncio
import contextlib
import dataclasses

import pytest

from control_plane import errors
from control_plane.domain import event, moment, paging, values
from control_plane.fakes.store import MemoryStore
from control_plane.notifier import LocalNotifier
from control_plane.services import events
from control_plane.services.context import Context
from control_plane.services.history import BATCH, LOOK_AGAIN_S, History
from tests import builders
from tests.builders import OPERATOR

MINE, THEIRS = builders.an_id("prj"), builders.an_id("prj", 2)
MEMBER = values.Principal("usr_m", "m@example.com", roles={MINE: "viewer"})
ADMIN = values.Principal("usr_a", "a@example.com", roles={MINE: "admin", THEIRS: "developer"})


@pytest.fixture
async def context():
    made = Context(MemoryStore(), LocalNotifier(), builders.StillClock(), builders.CountingIds())
    async with made.store.write() as tx:
        await tx.insert_project(builders.a_project(id=MINE, name="mine"))
        await tx.insert_project(builders.a_project(id=THEIRS, name="theirs"))
    return made


@pytest.fixture
def history(context):
    return History(context)


async def emit(context, name="route.created", project=MINE, subject="rte_1", **data):
    async with context.store.write() as tx:
        return await events.emit(context, tx, name, subject=subject, project=project, **data)


async def some(context):
    """Three events, a second apart: of mine, of theirs, of the installation."""
    made = []
    for name, project in (("route.created", MINE), ("deployment.created", THEIRS), ("instance.joined", "")):
        made.append(await emit(context, name, project))
        context.clock.advance(1)
    return made


async def test_events_are_for_members_and_those_of_the_installation_for_operators(context, history):
    mine, theirs, own = await some(context)
    assert (await history.events(MEMBER)).items == (mine,)
    assert (await history.events(ADMIN)).items == (mine, theirs)
    assert (await history.events(OPERATOR)).items == (mine, theirs, own)
    assert (await history.events(builders.NOBODY)).items == ()
    with pytest.raises(errors.InvalidError):
        await history.events(MEMBER, project="theirs")


async def test_events_are_filtered_and_paged(context, history):
    mine, theirs, own = await some(context)
    assert (await history.events(OPERATOR, "route.*,instance.joined")).items == (mine, own)
    assert (await history.events(OPERATOR, subject="none")).items == ()
    assert (await history.events(OPERATOR, project="theirs")).items == (theirs,)
    first = await history.events(OPERATOR, limit=2)
    last = await history.events(OPERATOR, cursor=first.next_cursor, limit=2)
    assert (first.items, last.items, last.next_cursor) == ((mine, theirs), (own,), None)


@pytest.mark.parametrize("form", ["id", "sequence", "time"])
async def test_since_is_an_event_a_sequence_or_a_time(context, history, form):
    mine, theirs, own = await some(context)
    since = {"id": mine.id, "sequence": str(mine.sequence), "time": "2026-11-01T12:00:01.000Z"}[form]
    assert (await history.events(OPERATOR, since=since)).items == (theirs, own)


@pytest.mark.parametrize("since", ["evt_none", "yesterday", "2026-11-01", "-1", "1" * 19, "2026-11-01T12:00:00"])
async def test_a_since_that_says_nothing_is_refused(history, since):
    with pytest.raises(errors.InvalidError) as caught:
        await history.events(OPERATOR, since=since)
    assert caught.value.details["field"] == "since"


async def test_an_event_of_a_foreign_project_is_no_place_to_go_on(context, history):
    _, theirs, _ = await some(context)
    with pytest.raises(errors.InvalidError, match="cannot go on behind event"):
        await history.events(MEMBER, since=theirs.id)


async def test_a_cursor_of_another_list_and_an_unknown_type_are_refused(history):
    for arguments in ({"cursor": paging.encode("2026-11-01T12:00:00+00:00|x")}, {"cursor": "!"}, {"types": "route"}):
        with pytest.raises(errors.InvalidError):
            await history.events(OPERATOR, **arguments)


class Standing:
    """Says who the follower is; the test changes it."""

    def __init__(self, principal):
        self.principal, self.asked = principal, 0

    async def __call__(self):
        self.asked += 1
        if self.principal is None:
            raise errors.UnauthenticatedError("cannot act for this account")
        return self.principal


@contextlib.asynccontextmanager
async def following(history, principal, **arguments):
    standing = Standing(principal)
    stream = history.follow(await history.open(principal, **arguments), standing)
    try:
        yield stream, standing
    finally:
        await stream.aclose()


async def test_a_follower_gets_what_happens_from_now_on_at_once(context, history):
    await some(context)
    async with following(history, MEMBER) as (stream, _):
        waiting = asyncio.create_task(anext(stream))
        await asyncio.sleep(0)
        await emit(context, project=THEIRS)
        new = await emit(context, n=2)
        async with asyncio.timeout(LOOK_AGAIN_S / 2):
            assert await waiting == [new]


async def test_followers_lose_nothing_however_many_and_slow_they_are(context, history):
    async with contextlib.AsyncExitStack() as stack:
        streams = [(await stack.enter_async_context(following(history, OPERATOR)))[0] for _ in range(20)]
        made = [await emit(context, n=n) for n in range(3 * BATCH)]

        async def read(stream, pause):
            got = []
            while len(got) < len(made):
                got += await anext(stream)
                await asyncio.sleep(pause)
            return got

        found = await asyncio.gather(*(read(stream, 0.001 * n) for n, stream in enumerate(streams)))
    assert all(got == made for got in found)


async def test_a_stream_goes_on_where_a_page_ended(context, history):
    mine, theirs, own = await some(context)
    async with following(history, OPERATOR, since=str(mine.sequence)) as (stream, _):
        assert await anext(stream) == [theirs, own]
    async with following(history, OPERATOR, since=theirs.id, types="instance.*") as (stream, _):
        assert await anext(stream) == [own]


async def test_who_is_nobody_any_more_or_no_member_loses_the_stream_unasked(context, history):
    for lost in (None, dataclasses.replace(MEMBER, roles={})):
        async with following(history, MEMBER, project="mine") as (stream, standing):
            await emit(context)
            await anext(stream)
            standing.principal = lost
            context.clock.advance(LOOK_AGAIN_S)
            with pytest.raises(errors.UnauthenticatedError if lost is None else errors.NotFoundError):
                await anext(stream)


async def test_a_role_that_is_gone_hides_what_happens_from_then_on(context, history):
    async with following(history, ADMIN) as (stream, standing):
        await emit(context, project=THEIRS)
        assert len(await anext(stream)) == 1
        standing.principal = dataclasses.replace(ADMIN, roles={MINE: "admin"})
        context.clock.advance(LOOK_AGAIN_S)
        await emit(context, project=THEIRS)
        seen = await emit(context, project=MINE)
        assert await anext(stream) == [seen]


async def test_a_follower_of_nothing_that_happens_does_not_read_it_again(context, history):
    async with following(history, MEMBER, types="route.deleted") as (stream, standing):
        waiting = asyncio.create_task(anext(stream))
        for _ in range(5):
            await emit(context)
        gone = await emit(context, "route.deleted")
        assert await waiting == [gone]
        assert standing.asked == 1


async def audit(context, action, project="", actor=OPERATOR, target="x"):
    async with context.store.write() as tx:
        await context.audit(tx, actor, action, target, project=project, summary=action)
    context.clock.advance(1)


async def test_the_audit_is_for_admins_of_projects_and_whole_for_operators(context, history):
    for action, project in (("a", MINE), ("b", THEIRS), ("c", "")):
        await audit(context, action, project)
    seen = {
        name: [one.action for one in (await history.audit(who, values.AuditQuery())).items]
        for name, who in (("operator", OPERATOR), ("admin", ADMIN), ("viewer", MEMBER))
    }
    assert seen == {"operator": ["c", "b", "a"], "admin": ["a"], "viewer": []}
    assert [one.action for one in (await history.audit(OPERATOR, values.AuditQuery(), "theirs")).items] == ["b"]
    for who, error in ((MEMBER, errors.ForbiddenError), (builders.NOBODY, errors.InvalidError)):
        with pytest.raises(error):
            await history.audit(who, values.AuditQuery(), "mine")


async def test_the_audit_is_paged_newest_first_and_stays_put_when_more_comes(context, history):
    for number in range(5):
        await audit(context, f"a{number}")
    first = await history.audit(OPERATOR, values.AuditQuery(), limit=2)
    await audit(context, "later")
    rest = await history.audit(OPERATOR, values.AuditQuery(), cursor=first.next_cursor, limit=9)
    assert [one.action for one in (*first.items, *rest.items)] == ["a4", "a3", "a2", "a1", "a0"]
    assert rest.next_cursor is None


def test_types_are_told_by_name_or_by_kind():
    assert event.matching("*") == ()
    assert event.matching("route.created, instance.*")[:2] == ("instance.joined", "instance.online")
    with pytest.raises(errors.InvalidError, match=r"deployment\.exploded"):
        event.matching("route.*,deployment.exploded")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-11-24T09:30:00Z", "2026-11-24T09:30:00+00:00"),
        ("2026-11-24t10:30:00.5+01:00", "2026-11-24T09:30:00.500000+00:00"),
        ("2026-11-24T09:30:00.123456789Z", "2026-11-24T09:30:00.123456+00:00"),
    ],
)
def test_times_of_clients_are_read_as_utc(text, shown):
    assert moment.parsed(text, "since").isoformat() == shown


@pytest.mark.parametrize("text", ["", "now", "2026-11-24", "2026-13-24T09:30:00Z", "0001-01-01T00:00:00+23:59", "٢"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(errors.InvalidError) as caught:
        moment.parsed(text, "until")
    assert caught.value.details["field"] == "until"
