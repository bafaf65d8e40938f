"""What is kept for a while and then goes. The rule for each table is in docs/reference/retention.md.

The audit stays: it is a chain, and never cut. What people made (projects, webhooks, tokens without an end) stays as well.
"""

import datetime

from control_plane.services import unit
from control_plane.services.context import Context
from control_plane.services.deliveries import Deliveries

EVENTS_DAYS = 90
DELIVERIES_DAYS = 30
ENDED_TOKENS_DAYS = 30
RELEASES = 200  # of a deployment
ENV_CHANGES = 1000  # of a service


class Housekeeping:
    """Called from time to time, by each replica: what another one dropped already is no work."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def run(self) -> None:
        """One round, in short transactions of its own, so that nobody waits long for the writer."""
        now = self._context.clock.now()
        write = self._context.write
        async with write() as tx:
            await tx.drop_answers(now.timestamp() - unit.KEPT_S)
        async with write() as tx:
            await tx.drop_events(now - datetime.timedelta(days=EVENTS_DAYS))
        async with write() as tx:
            await tx.drop_deliveries(now - datetime.timedelta(days=DELIVERIES_DAYS))
        async with write() as tx:
            await tx.drop_families(now)
            await tx.drop_tokens(now - datetime.timedelta(days=ENDED_TOKENS_DAYS))
            await tx.drop_join_tokens(now.timestamp())
        async with write() as tx:
            await tx.drop_releases(RELEASES)
        async with write() as tx:
            await tx.drop_env_changes(ENV_CHANGES)
        await Deliveries(self._context).give_up()
