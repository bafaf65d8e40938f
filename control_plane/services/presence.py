"""The presence of instances: who connected, who left, and whose lease ended in silence. Nothing is stopped because of it.

It is told (audit, events) when it changes by the lease, not with every stream: an agent that comes and goes all the time
is shown as what it is at the moment, and told of once.
"""

import dataclasses

from control_plane import errors, ports
from control_plane.domain import instance, paging, values
from control_plane.services import events
from control_plane.services.context import Context


class Presence:
    """Told by the hub, and by a loop in wiring that looks for leases that ended."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def connected(self, tx: ports.Transaction, new: values.Instance) -> None:
        """Store `new`, which is alive, and tell of it when its absence was told, or nothing yet."""
        await (tx.update_instance(new) if new.announced else self._tell(tx, new, online=True))

    async def disconnected(self, instance_id: str, epoch: int) -> None:
        """End the session; nothing when a newer one has begun. Told by `lapse`, should it not come back in time."""
        async with self._context.write() as tx:
            old = await tx.find_instance(instance_id)
            if old is not None and old.epoch == epoch and old.online:
                await tx.update_instance(dataclasses.replace(old, online=False))

    async def heartbeat(self, instance_id: str, epoch: int) -> None:
        """Renew the lease of the session, also one that had ended in silence.

        Nothing when a newer session has begun, ForbiddenError when the instance was removed.
        """
        async with self._context.write() as tx:
            old = await tx.find_instance(instance_id)
            if old is None:
                raise errors.ForbiddenError(f"cannot go on as {instance_id}: the instance was removed; join again")
            if old.epoch == epoch:
                await self.connected(tx, dataclasses.replace(old, online=True, last_seen=self._context.clock.now()))

    async def lapse(self) -> int:
        """Tell of every instance whose lease has ended that it is offline; how many there were."""
        silent: list[str] = []
        after, now = None, self._context.clock.now()
        async with self._context.store.read() as tx:
            while rows := await tx.list_instances(after, paging.MAX_LIMIT):
                silent += [one.id for one in rows if one.announced and instance.has_lapsed(one, now)]
                after = paging.position(rows[-1].created_at, rows[-1].id)
        for instance_id in silent:
            await self._lapse(instance_id)
        return len(silent)

    async def _lapse(self, instance_id: str) -> None:
        async with self._context.write() as tx:
            one = await tx.find_instance(instance_id)
            if one is not None and one.announced and instance.has_lapsed(one, self._context.clock.now()):
                await self._tell(tx, one, online=False)

    async def _tell(self, tx: ports.Transaction, one: values.Instance, *, online: bool) -> None:
        word = "instance.online" if online else "instance.offline"
        await tx.update_instance(dataclasses.replace(one, online=online, announced=online))
        await self._context.audit(tx, one.id, word, one.id, epoch=one.epoch)
        await events.emit(self._context, tx, word, subject=one.id, name=one.name)
