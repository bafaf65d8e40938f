"""Builders for webhooks, and a sender on a real client, an injected clock and a queue of one's choice."""

import asyncio
import contextlib
import datetime
import json
import random
from collections.abc import AsyncIterator

from addresses import public
from control_plane import config
from control_plane.delivery import lanes
from control_plane.delivery.client import Client
from control_plane.delivery.guard import Guard
from control_plane.delivery.sender import Sender
from control_plane.domain import webhook
from control_plane.fakes.deliveries import MemoryDeliveries
from tests.waiting import wait_until_async

START = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
networks = config.PARSERS["webhook_allow"]
ALLOW = networks("127.0.0.0/8")
SECRET = "webhook-secret"


class ManualClock:
    """Stands until it is moved."""

    def __init__(self, start: datetime.datetime = START) -> None:
        self._now = start

    def advance(self, seconds: float) -> None:
        self._now += datetime.timedelta(seconds=seconds)

    def monotonic(self) -> float:
        return self._now.timestamp()

    def now(self) -> datetime.datetime:
        return self._now


class NoChance(random.Random):
    def random(self) -> float:
        return 0.0


class Names:
    """A resolver with answers of its own, one list after the other; the last one stays."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def a_delivery(number: int = 1, *, subject: str = "dep_1", webhook_id: str = "whk_1", **fields) -> webhook.Delivery:
    made = {
        "id": f"dlv_{webhook_id}_{number}",
        "webhook_id": webhook_id,
        "event_id": f"evt_{number}",
        "event_type": "deployment.succeeded",
        "subject": subject,
        "sequence": number,
        "body": json.dumps({"id": f"evt_{number}", "type": "deployment.succeeded", "data": {"number": number}}),
        "state": webhook.WAITING,
        "attempts": 0,
        "next_at": START.timestamp(),
        "created_at": START,
        "changed_at": START,
    }
    return webhook.Delivery(**(made | fields))


def a_target(url: str, webhook_id: str = "whk_1", secret: str = SECRET) -> webhook.Target:
    return webhook.Target(webhook_id, url, secret)


class World:
    """A running sender. `step` moves the clock to where the next attempt is due."""

    def __init__(self, deliveries: MemoryDeliveries, clock: ManualClock) -> None:
        self.deliveries = deliveries
        self.clock = clock

    def send(self, *deliveries: webhook.Delivery) -> None:
        self.deliveries.queue(*deliveries)

    def move(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.deliveries.queue()

    async def attempts(self, count: int) -> list[webhook.Attempt]:
        await wait_until_async(lambda: len(self.deliveries.attempts) >= count, what=f"attempt {count}")
        return self.deliveries.attempts

    def state(self, number: int = 1, webhook_id: str = "whk_1") -> str:
        return self.deliveries.deliveries[f"dlv_{webhook_id}_{number}"].state

    def offsets(self) -> list[float]:
        return [(attempt.at - START).total_seconds() for attempt in self.deliveries.attempts]


@contextlib.asynccontextmanager
async def a_sender(
    *targets: webhook.Target,
    deliveries: MemoryDeliveries | None = None,
    attempt_s: float = 10.0,
    limits: lanes.Limits | None = None,
    allow: public.Allow = ALLOW,
    start: datetime.datetime = START,
) -> AsyncIterator[World]:
    queue = deliveries or MemoryDeliveries()
    clock = ManualClock(start)
    for target in targets:
        queue.put_target(target)
    client = Client(Guard(Names(["127.0.0.1"]), allow), clock, attempt_s=attempt_s)
    sender = Sender(queue, lambda: True, client, clock, NoChance(), "1.2.3", limits, rest_s=0.01)
    running = asyncio.create_task(sender.run())
    try:
        yield World(queue, clock)
    finally:
        ended = running.done()
        running.cancel()
        (outcome,) = await asyncio.gather(running, return_exceptions=True)
        assert not ended, outcome
