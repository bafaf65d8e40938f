"""The queue of deliveries in memory, for tests and for a sender without a database. Used on one loop only."""

import asyncio
import dataclasses
from collections.abc import Collection, Iterator, Sequence

from control_plane import errors
from control_plane.domain import webhook


class MemoryDeliveries:
    """Scripted with `refuse`: that many of the next calls find the database busy."""

    def __init__(self) -> None:
        self.targets: dict[str, webhook.Target] = {}
        self.deliveries: dict[str, webhook.Delivery] = {}
        self.attempts: list[webhook.Attempt] = []
        self._busy = 0
        self._told = asyncio.Event()

    def put_target(self, target: webhook.Target) -> None:
        self.targets[target.webhook_id] = target

    def queue(self, *deliveries: webhook.Delivery) -> None:
        self.deliveries |= {delivery.id: delivery for delivery in deliveries}
        self._told.set()

    def remove(self, delivery_id: str) -> None:
        del self.deliveries[delivery_id]

    def refuse(self, calls: int) -> None:
        self._busy = calls

    async def due(
        self, now: float, limit: int, without: Collection[str] = ()
    ) -> Sequence[tuple[webhook.Delivery, webhook.Target]]:
        self._check()
        heads = [head for head in self._heads() if head.next_at <= now and head.webhook_id not in without]
        heads.sort(key=lambda head: (head.next_at, head.sequence))
        return [(head, self.targets[head.webhook_id]) for head in heads[:limit]]

    async def record(self, delivery: webhook.Delivery, attempt: webhook.Attempt, verdict: webhook.Verdict) -> None:
        self._check()
        stored = self.deliveries.get(delivery.id)
        if stored is None or stored.state != webhook.WAITING or stored.attempts >= attempt.number:
            return
        self.attempts.append(attempt)
        self.deliveries[stored.id] = webhook.after(stored, attempt, verdict)
        if verdict.outcome is webhook.Outcome.DISABLED:
            self._disable(delivery.webhook_id, attempt)

    async def next_wakeup(self, now: float) -> float | None:
        self._check()
        return min((head.next_at for head in self._heads() if head.next_at > now), default=None)

    async def wait(self, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                await self._told.wait()
        except TimeoutError:
            return False
        self._told.clear()
        return True

    def _heads(self) -> Iterator[webhook.Delivery]:
        """The first waiting delivery of each webhook and subject."""
        seen: set[tuple[str, str]] = set()
        for delivery in sorted(self.deliveries.values(), key=lambda delivery: delivery.sequence):
            key = (delivery.webhook_id, delivery.subject)
            if delivery.state != webhook.WAITING or key in seen or self.targets[delivery.webhook_id].disabled:
                continue
            seen.add(key)
            yield delivery

    def _disable(self, webhook_id: str, attempt: webhook.Attempt) -> None:
        self.targets[webhook_id] = dataclasses.replace(self.targets[webhook_id], disabled=True)
        for delivery in list(self.deliveries.values()):
            if delivery.webhook_id == webhook_id and delivery.state == webhook.WAITING:
                self.deliveries[delivery.id] = dataclasses.replace(
                    delivery, state=webhook.FAILED, changed_at=attempt.at
                )

    def _check(self) -> None:
        if self._busy:
            self._busy -= 1
            raise errors.UnavailableError("cannot use the queue: the database is busy; try again")
