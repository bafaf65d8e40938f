"""One replica's side of a lease: it looks, takes, renews and hands back; what it may do in between is `is_ours`."""

import asyncio
import math

import structlog

from control_plane import errors
from control_plane.domain import lease
from control_plane.services.context import Context

log = structlog.get_logger()

WEBHOOKS = "webhooks"
AGAIN_S = 1.0  # after the database could not be asked


class Leasehold:
    """For one lease and one process; `holder` is an id that no other process has had. Run by wiring."""

    def __init__(self, context: Context, name: str, holder: str, terms: lease.Terms | None = None) -> None:
        self._context = context
        self._name = name
        self._holder = holder
        self._terms = terms or lease.Terms()
        self._seen: lease.Sight | None = None
        self._until = -math.inf

    def is_ours(self) -> bool:
        """May something be begun now that only the holder does?"""
        return self._context.clock.monotonic() < self._until

    async def keep(self) -> None:
        """Take the lease as soon as it is free, and renew it, until cancelled."""
        while True:
            try:
                await self.look()
            except errors.DployrError as error:  # what we hold ends by itself
                log.warning("lease.unasked", lease=self._name, error=error.message)
                await asyncio.sleep(AGAIN_S)
            else:
                await asyncio.sleep(self._terms.renew_s)

    async def look(self) -> None:
        """One turn: renew what is ours, take what is free or has ended."""
        clock = self._context.clock
        began = (
            clock.monotonic()
        )  # what we hold counts from before the row was written, what others hold from behind it
        stored = await self._stored()
        self._seen = lease.sight(stored, self._seen, clock.monotonic())
        wanted = lease.claim(self._seen, self._holder, clock.monotonic(), self._terms)
        if wanted is None or not await self._swap(stored, wanted):
            self._until = -math.inf
            return
        if stored.holder != self._holder:
            log.info("lease.taken", lease=self._name, holder=self._holder, former=stored.holder)
        self._until = began + self._terms.usable_s

    async def hand_back(self) -> None:
        """At the end: the next replica need not wait. When it cannot be done, it waits."""
        self._until = -math.inf
        try:
            stored = await self._stored()
            if stored.holder == self._holder:
                await self._swap(stored, lease.Lease(self._name, lease.NOBODY, stored.beat + 1))
        except errors.DployrError as error:
            log.warning("lease.kept", lease=self._name, error=error.message)

    async def _stored(self) -> lease.Lease:
        async with self._context.store.read() as tx:
            return await tx.get_lease(self._name) or lease.Lease(self._name)

    async def _swap(self, old: lease.Lease, new: lease.Lease) -> bool:
        async with self._context.store.write() as tx:
            return await tx.swap_lease(old, new)
