"""The durable queue that the sender of webhooks works on: its rows, and what an attempt changes in them."""

import dataclasses
from collections.abc import Collection, Sequence

from control_plane import ports
from control_plane.domain import values, webhook
from control_plane.services.context import Context

MAX_WAITING = 2000  # for one webhook; the queue is looked through at each turn, so it must not grow with what is dead
BEHIND = f"more than {MAX_WAITING} events waited for the receiver; enable it again when it is back"
GONE = "the receiver answered that it is gone for good; enable it again when it is back"


class Deliveries:
    """Implements delivery.parts.Deliveries over the store."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def due(
        self, now: float, limit: int, without: Collection[str] = ()
    ) -> Sequence[tuple[webhook.Delivery, webhook.Target]]:
        async with self._context.store.read() as tx:
            rows = await tx.due_deliveries(now, limit, without)
            hooks = {one: await tx.get_webhook(one) for one in {row.webhook_id for row in rows}}
        return [(row, _target(hook)) for row in rows if (hook := hooks[row.webhook_id]) and not hook.disabled_reason]

    async def record(self, delivery: webhook.Delivery, attempt: webhook.Attempt, verdict: webhook.Verdict) -> None:
        async with self._context.write() as tx:
            stored = await tx.get_delivery(delivery.id)
            if stored is None or stored.state != webhook.WAITING or stored.attempts >= attempt.number:
                return
            await tx.insert_attempt(attempt)
            await tx.update_delivery(webhook.after(stored, attempt, verdict))
            if verdict.outcome is webhook.Outcome.DISABLED:
                await self._disable(tx, stored.webhook_id, attempt.at, GONE)

    async def give_up(self) -> None:
        """Disable the webhooks for which too much waits. Called from time to time."""
        async with self._context.write() as tx:
            for webhook_id in await tx.webhooks_behind(MAX_WAITING):
                await self._disable(tx, webhook_id, self._context.clock.now(), BEHIND)

    async def next_wakeup(self, now: float) -> float | None:
        async with self._context.store.read() as tx:
            return await tx.next_delivery_at(now)

    async def wait(self, timeout_s: float) -> bool:
        return await self._context.notifier.wait(ports.EVENTS, timeout_s)

    async def _disable(self, tx: ports.Transaction, webhook_id: str, at: values.Time, why: str) -> None:
        hook = await tx.get_webhook(webhook_id)
        if hook is None:
            return
        disabled = dataclasses.replace(hook, disabled_reason=why, generation=hook.generation + 1, updated_at=at)
        await tx.update_webhook(disabled)
        await tx.fail_deliveries(webhook_id, at)
        await self._context.audit(
            tx, "system", "webhook.disabled", hook.id, project=hook.project_id, summary=f"{hook.url}: {why}"
        )


def _target(hook: values.Webhook) -> webhook.Target:
    return webhook.Target(hook.id, hook.url, hook.secret)
