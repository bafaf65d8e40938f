"""Several replicas over one database: one of them sends, and another takes over when it is killed with -9."""

import asyncio
import contextlib
import os
import signal
import sys

import pytest

from control_plane import clock, store
from control_plane.domain import values, webhook
from control_plane.services import leases
from tests import running_plane
from tests.delivery_fixtures import START, a_delivery
from tests.e2e.platform import free_port
from tests.receiver import a_receiver
from tests.waiting import wait_until_async

WHOLE = bool(os.environ.get("TEST_ALL"))
SUBJECTS = 5
EACH = 20
ALLOW = {"DPLOYR_WEBHOOK_ALLOW": "127.0.0.0/8"}


@contextlib.asynccontextmanager
async def a_store(database):
    opened = await store.open(database, clock.SystemClock())
    try:
        yield opened
    finally:
        await opened.close()


@contextlib.asynccontextmanager
async def a_replica(database, holder):
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.replica_child", str(database), holder)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@contextlib.asynccontextmanager
async def two_replicas(tmp_path):
    """(store, receiver of the one webhook, processes by name)"""
    database = tmp_path / "data" / "control-plane.db"
    async with (
        a_store(database) as opened,
        a_receiver() as receiver,
        a_replica(database, "rep_a") as a,
        a_replica(database, "rep_b") as b,
    ):
        async with opened.write() as tx:
            hook = values.Webhook("whk_1", "prj_1", receiver.url(), ("*",), "webhook-secret", "", "", START, START)
            await tx.insert_webhook(hook)
        yield opened, receiver, {"rep_a": a, "rep_b": b}


async def queue(opened, *deliveries):
    async with opened.write() as tx:
        for delivery in deliveries:
            await tx.insert_delivery(delivery)


async def holder_of(opened):
    async with opened.read() as tx:
        return await tx.get_lease(leases.WEBHOOKS)


async def delivered(opened):
    async with opened.read() as tx:
        every = await tx.list_deliveries("whk_1", None, 1000)
    return {one.event_id for one in every if one.state == webhook.DELIVERED}


async def is_delivered(opened, wanted):
    return await delivered(opened) == wanted


def in_order(ids):
    """For each object the numbers of its events as they came first."""
    numbers = [int(one.removeprefix("evt_")) for one in dict.fromkeys(ids)]
    return [[number for number in numbers if number % SUBJECTS == subject] for subject in range(SUBJECTS)]


async def test_when_the_sending_replica_is_killed_the_other_one_goes_on_and_no_id_is_lost_or_doubled(tmp_path):
    every = [a_delivery(number, subject=f"dep_{number % SUBJECTS}") for number in range(SUBJECTS * EACH)]
    async with two_replicas(tmp_path) as (opened, receiver, replicas):
        await queue(opened, *every[: len(every) // 2])
        await wait_until_async(lambda: len(receiver.ids) >= SUBJECTS * 3, what="a sender")
        first = (await holder_of(opened)).holder
        killed = replicas[first]
        killed.kill()
        await killed.wait()
        recorded = await delivered(opened)
        sent_before = len(receiver.ids)
        await queue(opened, *every[len(every) // 2 :])
        wanted = {delivery.event_id for delivery in every}
        await wait_until_async(lambda: is_delivered(opened, wanted), 60, "every delivery")
        second = (await holder_of(opened)).holder
    assert {first, second} == {"rep_a", "rep_b"}
    assert set(receiver.ids) == wanted
    twice = {one for one in wanted if receiver.ids.count(one) > 1}
    assert len(receiver.ids) == len(wanted) + len(twice)
    in_flight = set(receiver.ids[:sent_before]) - recorded
    assert twice <= in_flight
    assert in_order(receiver.ids) == [list(range(subject, len(every), SUBJECTS)) for subject in range(SUBJECTS)]


async def test_a_replica_that_stood_still_sends_nothing_more_when_it_goes_on(tmp_path):
    every = [a_delivery(number, subject=f"dep_{number % SUBJECTS}") for number in range(SUBJECTS * EACH)]
    third = len(every) // 3
    async with two_replicas(tmp_path) as (opened, receiver, replicas):
        await queue(opened, *every[:third])
        await wait_until_async(lambda: len(receiver.ids) >= third, what="a sender")
        await wait_until_async(lambda: is_delivered(opened, {one.event_id for one in every[:third]}))
        first = (await holder_of(opened)).holder
        stopped = replicas[first]
        stopped.send_signal(signal.SIGSTOP)
        await queue(opened, *every[third : 2 * third])

        async def changed_hands():
            return (await holder_of(opened)).holder != first

        await wait_until_async(changed_hands, 60, "the other replica")
        stopped.send_signal(signal.SIGCONT)
        await queue(opened, *every[2 * third :])
        wanted = {delivery.event_id for delivery in every}
        await wait_until_async(lambda: is_delivered(opened, wanted), 60, "every delivery")
        assert await changed_hands()
    assert sorted(receiver.ids) == sorted(wanted)
    assert in_order(receiver.ids) == [list(range(subject, len(every), SUBJECTS)) for subject in range(SUBJECTS)]


async def changes(plane, name):
    """Three events about one deployment, made on `plane`; its id."""
    body = {"name": name, "remote": "https://git.example.com/team/app", "runtime": "static", "static_dir": "public"}

    def make():
        made = plane.must("POST", "/v1/deployments", body)["id"]
        plane.must("PUT", f"/v1/deployments/{made}", {"description": "another"})
        plane.must("DELETE", f"/v1/deployments/{made}")
        return made

    return await asyncio.to_thread(make)


async def events_of(plane, subject):
    answer = await asyncio.to_thread(plane.must, "GET", f"/v1/events?subject={subject}&limit=200")
    return [one["id"] for one in answer["data"]]


@pytest.fixture
def planes(tmp_path):
    """Two daemons over one directory, and so over one database."""
    with running_plane.running(tmp_path, free_port(), settings=ALLOW) as one:
        other = running_plane.RunningPlane(tmp_path, free_port(), one.password)
        other.command = [part.replace(f"127.0.0.1:{one.port}", f"127.0.0.1:{other.port}") for part in one.command]
        other.environment = one.environment
        try:
            other.start()
            other.login()
            yield one, other
        finally:
            other.kill()


async def test_of_two_real_daemons_over_one_database_one_sends_what_both_queue(planes):
    one, other = planes
    async with a_receiver() as receiver:
        hook = {"url": receiver.url(), "events": ["*"]}
        await asyncio.to_thread(one.must, "POST", "/v1/webhooks", hook)
        made = [await changes(plane, f"app-{number}") for number, plane in enumerate((one, other) * 3)]
        if WHOLE:  # the lease of a daemon is half a minute
            one.kill()
            made += [await changes(other, f"more-{number}") for number in range(3)]
        wanted = {subject: await events_of(other, subject) for subject in made}
        ids = {one for events in wanted.values() for one in events}
        await wait_until_async(lambda: ids <= set(receiver.ids), 90, "every event")
        for events in wanted.values():
            assert len(events) >= 2
            assert [one for one in dict.fromkeys(receiver.ids) if one in events] == events
        if not WHOLE:
            assert len(receiver.ids) == len(set(receiver.ids))
