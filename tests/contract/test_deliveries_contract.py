"""What every queue of deliveries does; the sender relies on nothing else."""

import asyncio
import contextlib
import dataclasses
from collections.abc import Awaitable, Callable

import pytest

from control_plane import ports, store
from control_plane.delivery.parts import Deliveries
from control_plane.domain import values, webhook
from control_plane.fakes.deliveries import MemoryDeliveries
from control_plane.fakes.store import MemoryStore
from control_plane.notifier import LocalNotifier
from control_plane.services import deliveries as stored_deliveries
from control_plane.services.context import Context
from tests.builders import CountingIds
from tests.delivery_fixtures import START, ManualClock, a_delivery, a_target

NOW = START.timestamp()
RETRY = webhook.Verdict(webhook.Outcome.RETRY, NOW + 5)
DELIVERED = webhook.Verdict(webhook.Outcome.DELIVERED)
FAILED = webhook.Verdict(webhook.Outcome.FAILED)
DISABLED = webhook.Verdict(webhook.Outcome.DISABLED)


@dataclasses.dataclass
class World:
    """A queue, and how a test fills it and looks into it."""

    deliveries: Deliveries
    add_target: Callable[[webhook.Target], Awaitable[None]]
    queue: Callable[..., Awaitable[None]]
    remove: Callable[[str], Awaitable[None]]
    get: Callable[[str], Awaitable[webhook.Delivery]]
    target: Callable[[str], Awaitable[webhook.Target]]
    attempts: Callable[[str], Awaitable[list[webhook.Attempt]]]

    async def due(self, now: float = NOW, limit: int = 50, without: tuple[str, ...] = ()) -> list[str]:
        return [delivery.id for delivery, _target in await self.deliveries.due(now, limit, without)]


@contextlib.asynccontextmanager
async def in_memory(tmp_path):
    memory = MemoryDeliveries()

    async def add_target(target):
        memory.put_target(target)

    async def queue(*deliveries):
        memory.queue(*deliveries)

    async def remove(delivery_id):
        memory.remove(delivery_id)

    async def get(delivery_id):
        return memory.deliveries[delivery_id]

    async def target(webhook_id):
        return memory.targets[webhook_id]

    async def attempts(delivery_id):
        return [attempt for attempt in memory.attempts if attempt.delivery_id == delivery_id]

    yield World(memory, add_target, queue, remove, get, target, attempts)


@contextlib.asynccontextmanager
async def over(store):
    """The queue of the control plane over a store."""
    context = Context(store, LocalNotifier(), ManualClock(), CountingIds())

    async def add_target(target):
        reason = "disabled" if target.disabled else ""
        hook = values.Webhook(target.webhook_id, "prj_1", target.url, ("*",), target.secret, "", reason, START, START)
        async with store.write() as tx:
            known = await tx.get_webhook(hook.id)
            await (tx.update_webhook(hook) if known else tx.insert_webhook(hook))

    async def queue(*deliveries):
        async with store.write() as tx:
            for delivery in deliveries:
                await tx.insert_delivery(delivery)
        context.notifier.instance_changed(ports.EVENTS)

    async def remove(delivery_id):
        async with store.write() as tx:
            await tx.delete_webhook((await tx.get_delivery(delivery_id)).webhook_id)

    async def get(delivery_id):
        async with store.read() as tx:
            return await tx.get_delivery(delivery_id)

    async def target(webhook_id):
        async with store.read() as tx:
            hook = await tx.get_webhook(webhook_id)
        return webhook.Target(hook.id, hook.url, hook.secret, disabled=bool(hook.disabled_reason))

    async def attempts(delivery_id):
        async with store.read() as tx:
            return list((await tx.attempts_of([delivery_id])).get(delivery_id, ()))

    try:
        yield World(stored_deliveries.Deliveries(context), add_target, queue, remove, get, target, attempts)
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def over_memory(tmp_path):
    async with over(MemoryStore()) as made:
        yield made


@contextlib.asynccontextmanager
async def over_sqlite(tmp_path):
    async with over(await store.open(tmp_path / "data" / "control-plane.db", ManualClock())) as made:
        yield made


@pytest.fixture(params=[in_memory, over_memory, over_sqlite], ids=["memory", "store", "sqlite"])
async def world(request, tmp_path):
    async with request.param(tmp_path) as made:
        await made.add_target(a_target("https://example.com/1"))
        await made.add_target(a_target("https://example.com/2", "whk_2", "another"))
        yield made


def an_attempt(delivery: webhook.Delivery, status: int = 500, number: int = 1) -> webhook.Attempt:
    return webhook.Attempt(delivery.id, number, START, status, webhook.failure(status), "the answer", 12)


async def test_what_is_due_comes_with_its_target(world):
    delivery = a_delivery()
    await world.queue(delivery)
    assert list(await world.deliveries.due(NOW, 50)) == [(delivery, a_target("https://example.com/1"))]


async def test_nothing_comes_before_its_hour(world):
    await world.queue(a_delivery(next_at=NOW + 5))
    assert await world.due() == []
    assert await world.due(NOW + 5) == ["dlv_whk_1_1"]


async def test_of_an_object_only_the_first_comes(world):
    await world.queue(a_delivery(2), a_delivery(1), a_delivery(3, subject="dep_2"))
    assert sorted(await world.due()) == ["dlv_whk_1_1", "dlv_whk_1_3"]


async def test_a_later_event_waits_for_an_earlier_one_that_is_not_due(world):
    await world.queue(a_delivery(1, next_at=NOW + 60), a_delivery(2))
    assert await world.due() == []


async def test_webhooks_do_not_wait_for_each_other(world):
    await world.queue(a_delivery(1, next_at=NOW + 60), a_delivery(2, webhook_id="whk_2"))
    assert await world.due() == ["dlv_whk_2_2"]


async def test_the_longest_due_come_first_and_no_more_than_asked_for(world):
    await world.queue(*(a_delivery(n, subject=f"dep_{n}", next_at=NOW - n) for n in range(1, 5)))
    assert await world.due(limit=2) == ["dlv_whk_1_4", "dlv_whk_1_3"]


async def test_webhooks_can_be_left_out(world):
    await world.queue(a_delivery(1), a_delivery(2, webhook_id="whk_2"))
    assert await world.due(without=("whk_1",)) == ["dlv_whk_2_2"]
    assert await world.due(without=("whk_1", "whk_2", "whk_unknown")) == []


async def test_a_delivered_one_makes_way_for_the_next(world):
    first, second = a_delivery(1), a_delivery(2)
    await world.queue(first, second)
    await world.deliveries.record(first, an_attempt(first, 200), DELIVERED)
    assert await world.due() == [second.id]
    stored = await world.get(first.id)
    assert (stored.state, stored.attempts, stored.changed_at) == (webhook.DELIVERED, 1, START)
    assert await world.attempts(first.id) == [an_attempt(first, 200)]


async def test_a_failed_one_makes_way_for_the_next(world):
    first, second = a_delivery(1), a_delivery(2)
    await world.queue(first, second)
    await world.deliveries.record(first, an_attempt(first), FAILED)
    assert await world.due() == [second.id]
    assert (await world.get(first.id)).state == webhook.FAILED


async def test_a_retry_comes_again_at_its_hour_with_what_was_sent_before(world):
    delivery = a_delivery()
    await world.queue(delivery)
    await world.deliveries.record(delivery, an_attempt(delivery), RETRY)
    assert await world.due(NOW + 4) == []
    ((again, _target),) = await world.deliveries.due(NOW + 5, 50)
    assert dataclasses.replace(again, attempts=0, next_at=NOW) == delivery
    assert again.attempts == 1


async def test_the_same_record_may_come_twice(world):
    delivery = a_delivery()
    await world.queue(delivery)
    for _ in range(2):
        await world.deliveries.record(delivery, an_attempt(delivery), RETRY)
    assert (await world.get(delivery.id)).attempts == 1
    assert len(await world.attempts(delivery.id)) == 1
    await world.deliveries.record(delivery, an_attempt(delivery, 200, 2), DELIVERED)
    await world.deliveries.record(delivery, an_attempt(delivery, 500, 3), RETRY)
    assert (await world.get(delivery.id)).state == webhook.DELIVERED
    assert [attempt.number for attempt in await world.attempts(delivery.id)] == [1, 2]


async def test_gone_ends_the_webhook_and_what_waits_for_it_and_nothing_else(world):
    done, first, second, other = (
        a_delivery(1),
        a_delivery(2),
        a_delivery(3, subject="b"),
        a_delivery(4, webhook_id="whk_2"),
    )
    await world.queue(done, first, second, other)
    await world.deliveries.record(done, an_attempt(done, 200), DELIVERED)
    await world.deliveries.record(first, an_attempt(first, 410), DISABLED)
    assert (await world.target("whk_1")).disabled
    assert not (await world.target("whk_2")).disabled
    states = [(await world.get(delivery.id)).state for delivery in (done, first, second, other)]
    assert states == [webhook.DELIVERED, webhook.FAILED, webhook.FAILED, webhook.WAITING]
    assert await world.due() == [other.id]


async def test_a_disabled_webhook_is_sent_nothing(world):
    await world.queue(a_delivery(1), a_delivery(2, webhook_id="whk_2"))
    await world.add_target(dataclasses.replace(a_target("https://example.com/1"), disabled=True))
    assert await world.due() == ["dlv_whk_2_2"]
    await world.queue(a_delivery(3, subject="b", next_at=NOW + 5))
    assert await world.deliveries.next_wakeup(NOW) is None


async def test_a_record_of_what_is_gone_changes_nothing(world):
    delivery = a_delivery()
    await world.queue(delivery)
    await world.remove(delivery.id)
    await world.deliveries.record(delivery, an_attempt(delivery), RETRY)
    assert await world.due(NOW + 100) == []


async def test_the_next_wakeup_is_the_earliest_hour_ahead(world):
    assert await world.deliveries.next_wakeup(NOW) is None
    await world.queue(
        a_delivery(1),
        a_delivery(2, subject="b", next_at=NOW + 60),
        a_delivery(3, subject="c", next_at=NOW + 30),
        a_delivery(4, subject="c", next_at=NOW + 10),
    )
    assert await world.deliveries.next_wakeup(NOW) == NOW + 30
    assert await world.deliveries.next_wakeup(NOW + 30) == NOW + 60
    assert await world.deliveries.next_wakeup(NOW + 60) is None


async def test_waiting_ends_when_something_is_queued_before_or_meanwhile(world):
    await world.queue(a_delivery(1))
    assert await world.deliveries.wait(10)
    assert not await world.deliveries.wait(0.01)
    waiting = asyncio.create_task(world.deliveries.wait(10))
    await asyncio.sleep(0)
    await world.queue(a_delivery(2))
    assert await waiting
