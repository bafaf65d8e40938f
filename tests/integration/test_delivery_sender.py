"""The sender on a real client and real receivers, with an injected clock: schedule, order, isolation, survival (F18)."""

import asyncio
import contextlib
import datetime
import signal
import sys

import pytest
import standardwebhooks

from control_plane import errors
from control_plane.delivery import lanes
from control_plane.domain import retry, webhook
from control_plane.fakes.deliveries import MemoryDeliveries
from tests.delivery_child import FileDeliveries
from tests.delivery_fixtures import SECRET, START, a_delivery, a_sender, a_target, networks
from tests.receiver import a_receiver
from tests.waiting import wait_until_async

OFFSETS = [0, 5, 30, 120, 600, 3600, 21600, 86400]


async def run_the_schedule(world) -> list[webhook.Attempt]:
    """Move the clock to each hour, the moment before it included: nothing may be sent then."""
    for number in range(1, retry.ATTEMPTS):
        attempts = await world.attempts(number)
        gap = OFFSETS[number] - OFFSETS[number - 1]
        world.move(gap - 0.5)
        await asyncio.sleep(0.02)  # not to synchronise: a chance to send too early
        assert len(attempts) == number
        world.move(0.5)
    return await world.attempts(retry.ATTEMPTS)


async def test_an_event_is_delivered_once_when_it_is_taken():
    async with a_receiver("200") as receiver, a_sender(a_target(receiver.url())) as world:
        world.send(a_delivery())
        (attempt,) = await world.attempts(1)
        assert world.state() == webhook.DELIVERED
    assert (attempt.status, attempt.error, attempt.response, attempt.at) == (200, "", "answer 200", START)
    (request,) = receiver.received
    assert request.headers["webhook-id"] == "evt_1"
    assert request.headers["x-dployr-event"] == "deployment.succeeded"
    assert request.headers["user-agent"] == "dployr/1.2.3"
    assert request.body.decode() == a_delivery().body


async def test_a_receiver_verifies_each_attempt_with_the_library():
    now = datetime.datetime.now(datetime.UTC)  # the library's tolerance is five minutes around it
    async with a_receiver("500", "200") as receiver, a_sender(a_target(receiver.url()), start=now) as world:
        world.send(a_delivery())
        await world.attempts(1)
        world.move(5)
        await world.attempts(2)
    stamps = [request.headers["webhook-timestamp"] for request in receiver.received]
    assert int(stamps[1]) - int(stamps[0]) == 5
    for request in receiver.received:
        assert standardwebhooks.Webhook(SECRET.encode()).verify(request.body, request.headers)["id"] == "evt_1"


@pytest.mark.parametrize(
    ("mode", "status", "error"),
    [("500", 500, "answered 500"), ("redirect", 301, "redirects are not followed"), ("hangup", 0, "cannot reach")],
)
async def test_a_receiver_that_fails_is_tried_at_the_hours_of_the_contract_and_no_more(mode, status, error):
    async with a_receiver(mode) as receiver, a_sender(a_target(receiver.url())) as world:
        world.send(a_delivery())
        attempts = await run_the_schedule(world)
        assert world.offsets() == OFFSETS
        assert world.state() == webhook.FAILED
        world.move(10 * 86400)
        await asyncio.sleep(0.02)
        assert len(attempts) == retry.ATTEMPTS
    assert [attempt.number for attempt in attempts] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert {(attempt.status, error in attempt.error) for attempt in attempts} == {(status, True)}
    assert receiver.ids == ["evt_1"] * retry.ATTEMPTS
    assert len({request.body for request in receiver.received}) == 1
    assert {request.line for request in receiver.received} == {"POST /hook HTTP/1.1"}


async def test_a_receiver_that_is_down_gets_the_event_when_it_is_back():
    async with a_receiver() as receiver:
        port = receiver.port
    async with a_sender(a_target(f"http://127.0.0.1:{port}/hook")) as world:
        world.send(a_delivery())
        (first,) = await world.attempts(1)
        assert (first.status, first.error) == (0, "cannot reach 127.0.0.1: Connection refused")
        async with a_receiver(port=port) as receiver:
            world.move(5)
            await world.attempts(2)
        assert world.state() == webhook.DELIVERED
    assert receiver.ids == ["evt_1"]


async def test_an_error_then_a_success_is_delivered_under_the_same_id():
    async with a_receiver("500", "200") as receiver, a_sender(a_target(receiver.url())) as world:
        world.send(a_delivery())
        await world.attempts(1)
        world.move(5)
        await world.attempts(2)
        assert world.state() == webhook.DELIVERED
    assert receiver.ids == ["evt_1", "evt_1"]


@pytest.mark.parametrize("mode", ["slow", "half"])
async def test_a_receiver_that_does_not_answer_is_a_failed_attempt(mode):
    async with a_receiver(mode) as receiver, a_sender(a_target(receiver.url()), attempt_s=0.2) as world:
        world.send(a_delivery())
        (attempt,) = await world.attempts(1)
        assert (attempt.status, world.state()) == (0, webhook.WAITING)
        assert "no answer within 0.2 s" in attempt.error
        await wait_until_async(lambda: receiver.open == 0)


async def test_gone_disables_the_webhook_and_nothing_more_is_sent():
    async with a_receiver("410") as receiver, a_receiver() as other:
        async with a_sender(a_target(receiver.url()), a_target(other.url(), "whk_2")) as world:
            world.send(a_delivery(1), a_delivery(2), a_delivery(3, webhook_id="whk_2"))
            await world.attempts(2)
            assert world.deliveries.targets["whk_1"].disabled
            world.send(a_delivery(4), a_delivery(5, webhook_id="whk_2"))
            await world.attempts(3)
            assert [world.state(1), world.state(2), world.state(4)] == ["failed", "failed", "waiting"]
    assert receiver.ids == ["evt_1"]
    assert other.ids == ["evt_3", "evt_5"]


async def test_of_a_huge_answer_four_kib_are_kept():
    async with a_receiver("huge") as receiver, a_sender(a_target(receiver.url())) as world:
        world.send(a_delivery())
        (attempt,) = await world.attempts(1)
        assert attempt.response == "x" * 4096


async def test_a_binary_answer_is_kept_as_text():
    async with a_receiver("binary") as receiver, a_sender(a_target(receiver.url())) as world:
        world.send(a_delivery())
        (attempt,) = await world.attempts(1)
        assert attempt.response == "\ufffd\ufffdok"


async def test_the_events_of_an_object_arrive_in_order_also_over_failures():
    async with a_receiver("200", "500", "500", "200") as receiver, a_sender(a_target(receiver.url())) as world:
        world.send(*(a_delivery(number) for number in (3, 1, 5, 2, 4)))
        await world.attempts(2)
        world.move(5)
        await world.attempts(3)
        world.move(25)
        await world.attempts(7)
    assert receiver.ids == ["evt_1", "evt_2", "evt_2", "evt_2", "evt_3", "evt_4", "evt_5"]


async def test_an_object_that_waits_does_not_hold_up_another():
    async with a_receiver("500", "200") as receiver, a_sender(a_target(receiver.url())) as world:
        world.send(a_delivery(1))
        await world.attempts(1)
        world.send(a_delivery(2), a_delivery(3, subject="dep_2"))
        await world.attempts(2)
    assert receiver.ids == ["evt_1", "evt_3"]


async def test_one_slow_receiver_delays_no_other_webhook():
    async with a_receiver("held") as slow, a_receiver() as quick:
        async with a_sender(a_target(slow.url()), a_target(quick.url(), "whk_2")) as world:
            world.send(*(a_delivery(n, subject=f"dep_{n}") for n in range(1, 201)))
            await wait_until_async(lambda: slow.open == lanes.Limits().webhook)
            world.send(*(a_delivery(n, subject=f"dep_{n}", webhook_id="whk_2") for n in range(201, 221)))
            await world.attempts(20)
            assert len(quick.received) == 20
            assert len(slow.received) == lanes.Limits().webhook
            slow.released.set()
            await world.attempts(220)
    assert len(set(slow.ids)) == len(slow.ids) == 200


async def test_any_number_of_dead_receivers_delays_nobody_who_answers():
    limits = lanes.Limits(lane=4, webhook=2)
    async with contextlib.AsyncExitStack() as stack:
        dead = [await stack.enter_async_context(a_receiver("500", "held")) for _ in range(10)]
        quick = await stack.enter_async_context(a_receiver())
        targets = [a_target(receiver.url(), f"whk_{number}") for number, receiver in enumerate(dead)]
        world = await stack.enter_async_context(a_sender(*targets, a_target(quick.url(), "whk_quick"), limits=limits))
        world.send(*(a_delivery(1, webhook_id=target.webhook_id) for target in targets))
        await world.attempts(10)
        world.move(5)
        await wait_until_async(lambda: sum(receiver.open for receiver in dead) == limits.lane)
        world.send(*(a_delivery(n, subject=f"dep_{n}", webhook_id="whk_quick") for n in range(20)))
        await world.attempts(30)
        assert len(quick.received) == 20


async def test_a_target_that_is_not_allowed_is_a_failed_attempt_and_is_never_dialled():
    async with a_receiver() as receiver:
        target = a_target(receiver.url(host="hooks.example"))
        async with a_sender(target, allow=networks("10.0.0.0/8")) as world:
            world.send(a_delivery())
            (attempt,) = await world.attempts(1)
            assert attempt.status == 0
            assert "not a public address" in attempt.error
            assert world.state() == webhook.WAITING
    assert receiver.connections == 0


async def test_a_secret_that_cannot_sign_fails_its_own_deliveries_only():
    async with a_receiver() as receiver:
        async with a_sender(a_target(receiver.url(), secret="whsec_a"), a_target(receiver.url(), "whk_2")) as world:
            world.send(a_delivery(1), a_delivery(2, webhook_id="whk_2"))
            attempts = await world.attempts(2)
            assert sorted((attempt.status, "whsec_a" in attempt.error) for attempt in attempts) == [
                (0, False),
                (200, False),
            ]


async def test_what_the_busy_queue_did_not_take_is_recorded_later_and_not_sent_again():
    queue = MemoryDeliveries()
    async with a_receiver("held") as receiver, a_sender(a_target(receiver.url()), deliveries=queue) as world:
        world.send(a_delivery(1), a_delivery(2))
        await wait_until_async(lambda: receiver.open == 1)
        queue.refuse(3)
        receiver.released.set()
        await world.attempts(2)
    assert receiver.ids == ["evt_1", "evt_2"]


async def test_a_queue_that_cannot_be_read_is_asked_again():
    queue = MemoryDeliveries()
    queue.refuse(5)
    async with a_receiver() as receiver, a_sender(a_target(receiver.url()), deliveries=queue) as world:
        world.send(a_delivery())
        await world.attempts(1)


async def test_a_defect_in_one_delivery_holds_up_no_other():
    async with a_receiver() as receiver, a_sender(a_target(receiver.url())) as world:
        world.send(a_delivery(1, event_type="no\nheader"), a_delivery(2, subject="dep_2", body="\ud800"))
        world.send(a_delivery(3, subject="dep_3"))
        attempts = await world.attempts(3)
        assert sorted(attempt.status for attempt in attempts) == [0, 0, 200]


async def test_a_sender_that_is_stopped_leaves_no_connection_and_the_delivery_waiting():
    queue = MemoryDeliveries()
    async with a_receiver("slow", "200") as receiver:
        async with a_sender(a_target(receiver.url()), deliveries=queue) as world:
            world.send(a_delivery())
            await wait_until_async(lambda: receiver.received)
        await wait_until_async(lambda: receiver.open == 0)
        assert (world.state(), queue.attempts) == (webhook.WAITING, [])
        async with a_sender(deliveries=queue) as world:
            await world.attempts(1)
    assert receiver.ids == ["evt_1", "evt_1"]


async def test_the_queue_is_asked_for_no_more_than_events_demand():
    class Counted(MemoryDeliveries):
        asked = 0

        async def due(self, *args):
            self.asked += 1
            return await super().due(*args)

    queue = Counted()
    async with a_receiver() as receiver, a_sender(a_target(receiver.url()), deliveries=queue) as world:
        world.send(a_delivery())
        await world.attempts(1)
        await asyncio.sleep(0.1)  # not to synchronise: time in which a busy loop would show
        assert queue.asked <= 6


@contextlib.asynccontextmanager
async def a_child(*args: str):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.delivery_child", *args, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("records", [0, 1, 4])
async def test_a_sender_that_is_killed_before_its_record_sends_the_same_ids_again_and_misses_none(records, tmp_path):
    file = tmp_path / "queue.json"
    every = [a_delivery(number, subject=f"dep_{number % 2}") for number in range(1, 7)]
    async with a_receiver() as receiver:
        queue = FileDeliveries(file)
        queue.put_target(a_target(receiver.url()))
        queue.queue(*every)
        queue.save()
        async with a_child(str(file), str(records)) as child:
            async with asyncio.timeout(30):
                while (line := await child.stdout.readline()) != b"recording\n":
                    assert line, "the sender ended"
            child.send_signal(signal.SIGKILL)
            assert await child.wait() == -signal.SIGKILL
        stored = FileDeliveries(file).deliveries.values()
        recorded = [one.event_id for one in stored if one.state == webhook.DELIVERED]
        assert len(recorded) == records
        async with a_child(str(file)):
            await wait_until_async(
                lambda: {one.state for one in FileDeliveries(file).deliveries.values()} == {webhook.DELIVERED}
            )
    assert set(receiver.ids) == {delivery.event_id for delivery in every}
    assert [event_id for event_id in recorded if receiver.ids.count(event_id) != 1] == []
    twice = [event_id for event_id in set(receiver.ids) if receiver.ids.count(event_id) == 2]
    assert twice
    assert len(receiver.ids) == len(every) + len(twice)
    for subject in ("dep_0", "dep_1"):
        expected = [delivery.event_id for delivery in every if delivery.subject == subject]
        arrived = [event_id for event_id in receiver.ids if event_id in expected]
        assert list(dict.fromkeys(arrived)) == expected
    assert {request.body.decode() for request in receiver.received} == {delivery.body for delivery in every}


def test_a_busy_queue_is_an_error_that_may_be_repeated():
    queue = MemoryDeliveries()
    queue.refuse(1)
    with pytest.raises(errors.UnavailableError):
        asyncio.run(queue.next_wakeup(0.0))
