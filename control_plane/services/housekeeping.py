"""What is kept for a while and then goes: answers of idempotency keys, old events and deliveries, ended logins."""

import datetime

from control_plane.services.context import Context
from control_plane.services.deliveries import Deliveries

EVENTS_DAYS = 90
DELIVERIES_DAYS = 30


class Housekeeping:
    """Called from time to time. The audit stays: it is a chain, and never cut."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def run(self) -> None:
        """One round, in short transactions of its own, so that nobody waits long for the writer."""
        now = self._context.clock.now()
        async with self._context.write() as tx:
            await tx.drop_answers(now.timestamp() - datetime.timedelta(days=1).total_seconds())
        async with self._context.write() as tx:
            await tx.drop_events(now - datetime.timedelta(days=EVENTS_DAYS))
        async with self._context.write() as tx:
            await tx.drop_deliveries(now - datetime.timedelta(days=DELIVERIES_DAYS))
        async with self._context.write() as tx:
            await tx.drop_families(now)
        await Deliveries(self._context).give_up()
