"""The presence of instances: who connected, who left, and whose lease ended in silence. Nothing is stopped because of it."""

import dataclasses

from control_plane import errors, ports
from control_plane.domain import instance, paging, values
from control_plane.services import events
from control_plane.services.context import Context


class Presence:
    """Told by the hub, and by a loop in wiring that looks for leases that ended."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def disconnected(self, instance_id: str, epoch: int) -> None:
        """End the session; nothing when a newer one has begun."""
        async with self._context.write() as tx:
            old = await tx.find_instance(instance_id)
            if old is not None and old.epoch == epoch and old.online:
                await self.set(tx, dataclasses.replace(old, online=False))

    async def heartbeat(self, instance_id: str, epoch: int) -> None:
        """Renew the lease of the session, also one that had ended in silence.

        Nothing when a newer session has begun, ForbiddenError when the instance was removed.
        """
        async with self._context.write() as tx:
            old = await tx.find_instance(instance_id)
            if old is None:
                raise errors.ForbiddenError(f"cannot go on as {instance_id}: the instance was removed; join again")
            if old.epoch != epoch:
                return
            alive = dataclasses.replace(old, online=True, last_seen=self._context.clock.now())
            await (tx.update_instance(alive) if old.online else self.set(tx, alive))

    async def lapse(self) -> int:
        """Tell of every instance whose lease has ended that it is offline; how many there were."""
        async with self._context.store.read() as tx:
            known = await tx.list_instances(None, paging.MAX_LIMIT)
        now = self._context.clock.now()
        silent = [one for one in known if one.online and not instance.is_online(one, now)]
        for one in silent:
            await self._lapse(one.id)
        return len(silent)

    async def _lapse(self, instance_id: str) -> None:
        async with self._context.write() as tx:
            one = await tx.find_instance(instance_id)
            if one is not None and one.online and not instance.is_online(one, self._context.clock.now()):
                await self.set(tx, dataclasses.replace(one, online=False))

    async def set(self, tx: ports.Transaction, new: values.Instance) -> None:
        """Store `new`, whose presence has changed, and tell of it."""
        word = "instance.online" if new.online else "instance.offline"
        await tx.update_instance(new)
        await self._context.audit(tx, new.id, word, new.id, epoch=new.epoch)
        await events.emit(self._context, tx, word, subject=new.id, name=new.name)
