"""One replica's sender in a process of its own, to be killed: `python -m tests.replica_child DATABASE HOLDER`.

The parts are those of the daemon, over the real store; only the lease is shorter.
"""

import asyncio
import pathlib
import sys

from control_plane import clock, config, store
from control_plane.delivery.client import Client
from control_plane.delivery.guard import Guard
from control_plane.delivery.resolver import SystemResolver
from control_plane.delivery.sender import Sender
from control_plane.domain import lease
from control_plane.notifier import LocalNotifier
from control_plane.services import leases
from control_plane.services.context import Context
from control_plane.services.deliveries import Deliveries

TERMS = lease.Terms(lease_s=5.0, renew_s=0.5)


async def main(database: str, holder: str) -> None:
    now = clock.SystemClock()
    opened = await store.open(pathlib.Path(database), now)
    context = Context(opened, LocalNotifier(), now, clock.SystemIds())
    turn = leases.Leasehold(context, leases.WEBHOOKS, holder, TERMS)
    client = Client(Guard(SystemResolver(), config.PARSERS["webhook_allow"]("127.0.0.0/8")), now)
    sender = Sender(Deliveries(context), turn.is_ours, client, now, clock.system_chance(), "1.2.3")
    async with asyncio.TaskGroup() as group:
        group.create_task(turn.keep())
        group.create_task(sender.run())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
