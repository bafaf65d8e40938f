"""One round of housekeeping drops what is past its time, and nothing else."""

import pytest

from control_plane.domain import values, webhook
from control_plane.fakes.store import MemoryStore
from control_plane.notifier import LocalNotifier
from control_plane.services import events, housekeeping
from control_plane.services.context import Context
from control_plane.services.housekeeping import Housekeeping
from tests import builders

DAY = 24 * 3600.0
NAMES = ("old", "new")


@pytest.fixture
def context():
    return Context(MemoryStore(), LocalNotifier(), builders.StillClock(), builders.CountingIds())


def go_to(context, day):
    """Move the clock to `day` days behind the beginning."""
    context.clock.seconds = day * DAY


async def fill(context, tx, name):
    """A row of each kind that goes with time, as of now."""
    now = context.clock.now()
    ended = {"created_at": now, "expires_at": now}
    await tx.insert_answer(values.StoredAnswer("u", "POST /x", name, "f", 201, {}, "{}", now.timestamp()))
    await tx.insert_family(values.Family(f"fam_{name}", "usr", "j", revoked=False, **ended))
    await tx.insert_token(values.Token(f"tok_{name}", "usr", name, name, (), "", last_used_at=None, **ended))
    await tx.insert_join_token(name, now.timestamp())
    done = builders.an_id("dlv", NAMES.index(name) + 1)
    await tx.insert_delivery(
        webhook.Delivery(done, "whk", done, "x", "x", 1, "{}", webhook.DELIVERED, 1, 0.0, now, now)
    )
    await events.emit(context, tx, "route.created", subject=name)
    await context.audit(tx, "system", name, "x")


async def test_what_is_past_its_time_goes_and_the_audit_stays(context):
    for name, day in (("old", 0), ("new", 200)):
        go_to(context, day)
        async with context.store.write() as tx:
            await fill(context, tx, name)
    await Housekeeping(context).run()  # at the moment in which the new ones end
    async with context.store.write() as tx:
        assert await tx.find_answer("u", "POST /x", "old") is None
        assert await tx.find_answer("u", "POST /x", "new") is not None
        assert [await tx.get_family(f"fam_{name}") is not None for name in NAMES] == [False, True]
        assert [one.name for one in await tx.list_tokens("usr", None, 9)] == ["new"]
        assert [one.subject for one in await tx.list_events(None, values.EventQuery(), 0, 9)] == ["new"]
        assert len(await tx.list_deliveries("whk", None, 9)) == 1
        assert not await tx.spend_join_token("old", 0.0)
    assert [entry.action for entry in context.store.audit] == ["old", "new"]


@pytest.mark.parametrize(("days", "left"), [(housekeeping.EVENTS_DAYS, 2), (housekeeping.EVENTS_DAYS + 1, 1)])
async def test_events_stay_for_their_days(context, days, left):
    async with context.store.write() as tx:
        await events.emit(context, tx, "route.created", subject="first")
    go_to(context, days)
    async with context.store.write() as tx:
        await events.emit(context, tx, "route.created", subject="second")
    await Housekeeping(context).run()
    async with context.store.read() as tx:
        assert len(await tx.list_events(None, values.EventQuery(), 0, 9)) == left


async def test_a_deployment_that_is_rolled_out_for_ever_keeps_its_newest_releases_and_changes(context):
    newest = 3 * housekeeping.RELEASES
    async with context.store.write() as tx:
        await tx.insert_deployment(builders.a_deployment(release=newest))
        await tx.insert_service(builders.a_service())
        for number in range(1, newest + 1):
            state = "live" if number == 1 else "retired"
            await tx.insert_release(builders.a_release(id=builders.an_id("rel", number), number=number, state=state))
        for number in range(housekeeping.ENV_CHANGES + 5):
            change = values.EnvChange(
                builders.an_id("svc"), builders.START, "u", f"K{number}", "set", secret=False, release=1
            )
            await tx.append_env_change(change)
    await Housekeeping(context).run()
    async with context.store.read() as tx:
        kept = [one.number for one in await tx.list_releases(builders.an_id("dep"))]
        changes = await tx.list_env_changes(builders.an_id("svc"), None, 10**6)
    assert kept == [1, *range(newest - housekeeping.RELEASES + 1, newest + 1)]
    assert len(changes) == housekeeping.ENV_CHANGES
