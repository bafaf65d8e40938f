"""Instances, accounts, logs and wake-ups."""

import asyncio
import dataclasses
import datetime

import argon2
import pytest

from control_plane import errors
from control_plane.domain import values
from control_plane.fakes.store import MemoryStore
from control_plane.notifier import LocalNotifier
from control_plane.services import passwords
from control_plane.services.accounts import Accounts
from control_plane.services.context import Context
from control_plane.services.instances import JOIN_TOKEN_S, Instances
from control_plane.services.logs import Logs
from tests import builders
from tests.builders import OPERATOR

PASSWORD = "correct horse battery"


@pytest.fixture
def context():
    return Context(MemoryStore(), LocalNotifier(), builders.StillClock(), builders.CountingIds())


@pytest.fixture
async def accounts(context):
    made = Accounts(context)
    assert await made.ensure_admin(" Operator@Example.com ", PASSWORD)
    return made


async def test_a_token_joins_once(context):
    instances = Instances(context)
    secret = await instances.mint_join_token(OPERATOR)
    joined = await instances.enrol(secret, "Web-1.example.com")
    assert joined.name == "web-1.example.com"
    with pytest.raises(errors.UnauthenticatedError):
        await instances.enrol(secret, "other")
    assert len((await instances.list(OPERATOR)).items) == 1


async def test_of_fifty_joins_with_one_token_one_succeeds(context):
    instances = Instances(context)
    secret = await instances.mint_join_token(None)
    done = await asyncio.gather(*(instances.enrol(secret, f"h{n}") for n in range(50)), return_exceptions=True)
    assert sum(isinstance(one, values.Instance) for one in done) == 1
    assert sum(isinstance(one, errors.UnauthenticatedError) for one in done) == 49


async def test_a_token_expires_and_a_guess_does_not_join(context):
    instances = Instances(context)
    secret = await instances.mint_join_token(None)
    context.clock.advance(JOIN_TOKEN_S)
    for wrong in (secret, "guess", ""):
        with pytest.raises(errors.UnauthenticatedError):
            await instances.enrol(wrong, "host")


async def test_the_token_itself_is_stored_nowhere(context):
    secret = await Instances(context).mint_join_token(None)
    assert secret not in repr(context.store._tables)


async def test_two_hosts_of_one_name_are_told_apart(context):
    instances = Instances(context)
    names = [(await instances.enrol(await instances.mint_join_token(None), "web")).name for _ in range(2)]
    assert names[0] == "web"
    assert names[1].startswith("web-")
    odd = await instances.enrol(await instances.mint_join_token(None), "<script>;\n" + "x" * 300)
    assert len(odd.name) <= 63
    assert odd.name.startswith("script-x")


async def test_a_session_begins_with_a_higher_epoch_and_fences_the_former(context):
    instances = Instances(context)
    host = await instances.enrol(await instances.mint_join_token(None), "web")
    first = await instances.connected(host.id, "0.1.0", "boot-1", {"cpus": 2})
    second = await instances.connected(host.id, "0.1.0", "boot-1", {"cpus": 4})
    assert second > first
    await instances.disconnected(host.id, first)
    shown = await instances.get(OPERATOR, "web")
    assert (shown.online, shown.facts, shown.epoch) == (True, {"cpus": 4}, second)
    await instances.disconnected(host.id, second)
    assert not (await instances.get(OPERATOR, "web")).online


async def test_presence_needs_heartbeats_of_the_present_session(context):
    instances = Instances(context)
    host = await instances.enrol(await instances.mint_join_token(None), "web")
    epoch = await instances.connected(host.id, "0.1.0", "boot-1", {})
    context.clock.advance(30)
    await instances.heartbeat(host.id, epoch)
    context.clock.advance(30)
    assert (await instances.get(OPERATOR, host.id)).online
    await instances.heartbeat(host.id, epoch - 1)
    context.clock.advance(30)
    assert not (await instances.get(OPERATOR, host.id)).online


async def test_an_instance_that_never_joined_cannot_connect(context):
    with pytest.raises(errors.ForbiddenError):
        await Instances(context).connected("ins_none", "0.1.0", "boot", {})


async def test_metrics_are_unavailable_until_there_are_some(context):
    instances = Instances(context)
    host = await instances.enrol(await instances.mint_join_token(None), "web")
    with pytest.raises(errors.UnavailableError):
        await instances.metrics(OPERATOR, "web")
    await instances.record_sample(host.id, values.Sample("ins_other", 1.0, {"a": 1}, "# text"))
    assert await instances.metrics(OPERATOR, "web") == values.Sample(host.id, 1.0, {"a": 1}, "# text")
    await instances.record_sample("ins_none", values.Sample("ins_none", 1.0, {}, ""))


async def test_samples_of_hours_are_kept_as_series_in_a_bounded_number_of_rows(context):
    instances = Instances(context)
    host = await instances.enrol(await instances.mint_join_token(None), "web")
    for number in range(3 * 360):  # three hours
        families = {"load": [float(number), 0.0, 0.0]}
        await instances.record_sample(host.id, values.Sample(host.id, 1.0, families, ""))
        context.clock.advance(10)
    hour = await instances.series(OPERATOR, "web")
    assert (len(hour.times), hour.window.step_s) == (360, 10)
    assert next(one.values for one in hour.series if one.labels == {"period": "1m"}) == tuple(range(720, 1080))
    since = (builders.START + datetime.timedelta(hours=1)).isoformat()
    longer = await instances.series(OPERATOR, "web", since)
    assert (len(longer.times), longer.window.step_s) == (120, 60)
    assert longer.series[1].labels == {"period": "1m"}
    assert longer.series[1].values[:2] == (362.5, 368.5)
    async with context.store.read() as tx:
        assert len(await tx.list_points(host.id, 10, 0.0, 1e12)) == 360
    assert (await instances.series(OPERATOR, "web", since, since.replace("13:00", "13:01"))).series != ()
    await instances.remove(OPERATOR, "web")
    with pytest.raises(errors.NotFoundError):
        await instances.series(OPERATOR, "web")


async def test_the_first_operator_is_made_once(context, accounts):
    assert await accounts.has_admin()
    assert not await accounts.ensure_admin("second@example.com", PASSWORD)
    user = await accounts.verify("OPERATOR@example.com", PASSWORD)
    assert user.email == "operator@example.com"
    assert (await accounts.principal(user.id)).operator


@pytest.mark.parametrize(("email", "password"), [("nobody", PASSWORD), ("a@b@c", PASSWORD), ("a@b.c", "short")])
async def test_a_bad_first_operator_is_refused(context, email, password):
    accounts = Accounts(context)
    with pytest.raises(errors.InvalidError):
        await accounts.ensure_admin(email, password)
    assert not await accounts.has_admin()


async def test_unknown_disabled_and_wrong_get_one_answer(context, accounts):
    async with context.store.write() as tx:
        user = await tx.find_user("operator@example.com")
        gone = dataclasses.replace(user, id="usr_gone", email="gone@example.com", disabled=True)
        await tx.insert_user(gone)
    answers = set()
    for email, password in (
        ("operator@example.com", "wrong password"),
        ("operator@example.com", PASSWORD + "x" * 2000),
        ("unknown@example.com", PASSWORD),
        ("gone@example.com", PASSWORD),
    ):
        with pytest.raises(errors.UnauthenticatedError) as caught:
            await accounts.verify(email, password)
        answers.add((caught.value.message, tuple(caught.value.details)))
    assert len(answers) == 1
    for user_id in ("usr_gone", "usr_none"):
        with pytest.raises(errors.UnauthenticatedError):
            await accounts.principal(user_id)


async def test_an_outdated_hash_is_replaced_after_a_good_login(context, accounts):
    weak = argon2.PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD)
    async with context.store.write() as tx:
        user = await tx.find_user("operator@example.com")
        await tx.update_user(dataclasses.replace(user, password_hash=weak))
    await accounts.verify("operator@example.com", PASSWORD)
    async with context.store.read() as tx:
        renewed = (await tx.find_user("operator@example.com")).password_hash
    assert renewed != weak
    assert "m=19456,t=2,p=1" in renewed
    await accounts.verify("operator@example.com", PASSWORD)


async def test_too_many_password_checks_at_once_are_refused():
    checker = passwords.Passwords()
    stored = await checker.hash(PASSWORD)
    room = passwords.AT_ONCE + passwords.QUEUE
    done = await asyncio.gather(*(checker.verify(stored, PASSWORD) for _ in range(room + 5)), return_exceptions=True)
    assert sum(one is True for one in done) == room
    assert sum(isinstance(one, errors.RateLimitedError) for one in done) == 5
    assert await checker.verify(stored, PASSWORD)


async def test_a_damaged_hash_matches_nothing():
    assert not await passwords.Passwords().verify("damaged", PASSWORD)


async def test_the_signing_key_is_made_once(context):
    accounts = Accounts(context)
    keys = await asyncio.gather(*(accounts.signing_key() for _ in range(5)))
    assert len(set(keys)) == 1
    assert len(keys[0][1]) == 64
    assert await Accounts(context).signing_key() == keys[0]


class ScriptedRelay:
    """Answers with one line and remembers what was asked."""

    def __init__(self):
        self.asked = []

    async def read(self, instance_id, query):
        self.asked.append((instance_id, query))
        yield (values.LogLine(1, 1.0, "stdout", "web.1", 1, b"hello"),)


async def logged(context, **changes):
    async with context.store.write() as tx:
        await tx.insert_instance(builders.an_instance(**changes))
        await tx.insert_service(builders.a_service())
    relay = ScriptedRelay()
    return Logs(context, relay), relay


async def test_a_log_is_read_from_the_instance_of_the_service(context):
    logs, relay = await logged(context)
    batches = await logs.open(OPERATOR, "app", tail=5, follow=True, source="build", release=2)
    assert [line.line for batch in [batch async for batch in batches] for line in batch] == [b"hello"]
    query = values.LogQuery(builders.an_id("svc"), 5, follow=True, after_seq=0, source="build", release=2)
    assert relay.asked == [(builders.an_id("ins"), query)]


async def test_the_log_of_an_instance_that_is_away_is_unavailable_before_the_first_line(context):
    logs, _ = await logged(context, online=False)
    with pytest.raises(errors.UnavailableError) as caught:
        await logs.open(OPERATOR, "app")
    assert caught.value.details == {"instance": builders.an_id("ins")}


async def test_a_log_needs_permission_and_good_options(context):
    logs, _ = await logged(context)
    with pytest.raises(errors.NotFoundError):
        await logs.open(builders.NOBODY, "app")
    with pytest.raises(errors.NotFoundError):
        await logs.open(OPERATOR, "none")
    for option in ({"tail": 5001}, {"tail": -1}, {"source": "x"}, {"after_seq": -1}, {"release": -1}):
        with pytest.raises(errors.InvalidError) as caught:
            await logs.open(OPERATOR, "app", **option)
        assert caught.value.details["field"] in option


async def test_who_waits_is_woken_and_who_comes_later_too():
    notifier = LocalNotifier()
    waiting = [asyncio.create_task(notifier.wait("ins_1", 5)) for _ in range(2)]
    await asyncio.sleep(0)
    notifier.instance_changed("ins_2")
    notifier.instance_changed("ins_1")
    assert await asyncio.gather(*waiting) == [True, True]
    assert await notifier.wait("ins_2", 5)
    assert not await notifier.wait("ins_2", 0)
    assert not await notifier.wait("ins_1", 0.01)


async def test_of_many_who_count_none_takes_a_wake_up_from_another():
    notifier = LocalNotifier()
    waiting = [asyncio.create_task(notifier.wait_beyond("events", 0, 5)) for _ in range(3)]
    await asyncio.sleep(0)
    notifier.instance_changed("events")
    assert await asyncio.gather(*waiting) == [1, 1, 1]
    assert await notifier.wait("events", 0)  # the one consumer was busy, and is told all the same
    assert await notifier.wait_beyond("events", 0, 5) == 1  # so is one who counted before
    assert await notifier.wait_beyond("events", 1, 0.01) == 1
    one = asyncio.create_task(notifier.wait("events", 5))
    await asyncio.sleep(0)
    notifier.instance_changed("events")
    assert await one
    assert await notifier.wait_beyond("events", notifier.count("events") - 1, 5) == 2


async def test_a_waiter_that_is_cancelled_leaves_nothing():
    notifier = LocalNotifier()
    for wait in (notifier.wait("ins_1", 5), notifier.wait_beyond("ins_1", 0, 5)):
        task = asyncio.create_task(wait)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert not notifier._waiting
    assert not notifier._beyond
    notifier.instance_changed("ins_1")
    assert await notifier.wait("ins_1", 5)
