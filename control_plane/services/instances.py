"""Instances: who may join, who is there, and what it measured last."""

import dataclasses
import hashlib
import re
from typing import Any

from control_plane import errors
from control_plane.domain import instance, paging, permissions, values
from control_plane.services import events, lists
from control_plane.services.context import Context, instance_of

JOIN_TOKEN_S = 15 * 60
UNSAFE = re.compile(r"[^a-z0-9.-]+")
MAX_NAME = 63


class Instances:
    """The use cases of `/v1/instances`, and those of the hub (they name the instance that its certificate proved)."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def list(
        self, principal: values.Principal, cursor: str | None = None, limit: int = paging.DEFAULT_LIMIT
    ) -> values.Page:
        permissions.demand(principal, "instance:read")
        async with self._context.store.read() as tx:
            rows, following = await lists.page(tx.list_instances, cursor, limit)
        now = self._context.clock.now()
        return values.Page(tuple(instance.presented(row, now) for row in rows), following)

    async def get(self, principal: values.Principal, id_or_name: str) -> values.Instance:
        async with self._context.store.read() as tx:
            return instance.presented(
                await instance_of(tx, principal, id_or_name, "instance:read"), self._context.clock.now()
            )

    async def metrics(self, principal: values.Principal, id_or_name: str) -> values.Sample:
        """The newest sample; UnavailableError while there is none."""
        async with self._context.store.read() as tx:
            found = await instance_of(tx, principal, id_or_name, "instance:metrics")
            sample = await tx.get_sample(found.id)
        if sample is None:
            raise errors.UnavailableError(
                f"cannot show metrics of instance {found.name!r}: nothing was measured yet; try again in a few seconds",
                {"instance": found.id},
            )
        return sample

    async def mint_join_token(self, principal: values.Principal | None) -> str:
        """The secret part of a new token: 256 bits, one use, 15 minutes. None is the installation itself."""
        if principal is not None:
            permissions.demand(principal, "instance:write")
        secret = self._context.ids.secret(32)
        async with self._context.write() as tx:
            await tx.insert_join_token(_digest(secret), self._context.clock.now().timestamp() + JOIN_TOKEN_S)
            await self._context.audit(tx, principal or "system", "instance.token_minted", _digest(secret)[:12])
        return secret

    async def enrol(self, secret: str, hostname: str) -> values.Instance:
        """Spend the token and make the instance, both or neither. UnauthenticatedError when it cannot be spent."""
        now = self._context.clock.now()
        async with self._context.write() as tx:
            if not await tx.spend_join_token(_digest(secret), now.timestamp()):
                raise errors.UnauthenticatedError("cannot join: the token is unknown, used or expired; make a new one")
            new = self._joined(_name(hostname), now)
            if not await tx.insert_instance(new):
                new = dataclasses.replace(new, name=f"{new.name}-{new.id[-6:].lower()}")
                await tx.insert_instance(new)
            await self._context.audit(tx, new.id, "instance.joined", new.id, name=new.name)
            await events.emit(self._context, tx, "instance.joined", subject=new.id, name=new.name)
        return new

    async def connected(self, instance_id: str, agent_version: str, boot_id: str, facts: dict[str, Any]) -> int:
        """Begin a session and return its epoch, above all before. ForbiddenError when the instance is unknown."""
        async with self._context.write() as tx:
            old = await tx.find_instance(instance_id)
            if old is None or old.id != instance_id or old.revoked:
                raise errors.ForbiddenError(f"cannot connect as {instance_id}: no such instance; join again")
            new = dataclasses.replace(
                old,
                epoch=old.epoch + 1,
                online=True,
                last_seen=self._context.clock.now(),
                agent_version=agent_version,
                boot_id=boot_id,
                facts=facts,
            )
            await tx.update_instance(new)
            await self._context.audit(tx, instance_id, "instance.online", instance_id, epoch=new.epoch)
            await events.emit(self._context, tx, "instance.online", subject=new.id, name=new.name)
        return new.epoch

    async def disconnected(self, instance_id: str, epoch: int) -> None:
        """End the session; nothing when a newer one has begun."""
        async with self._context.write() as tx:
            old = await tx.find_instance(instance_id)
            if old is not None and old.epoch == epoch and old.online:
                await tx.update_instance(dataclasses.replace(old, online=False))
                await self._context.audit(tx, instance_id, "instance.offline", instance_id, epoch=epoch)
                await events.emit(self._context, tx, "instance.offline", subject=old.id, name=old.name)

    async def heartbeat(self, instance_id: str, epoch: int) -> None:
        """Renew the lease of the session; nothing when a newer one has begun."""
        async with self._context.write() as tx:
            old = await tx.find_instance(instance_id)
            if old is not None and old.epoch == epoch and old.online:
                await tx.update_instance(dataclasses.replace(old, last_seen=self._context.clock.now()))

    async def refused(self, instance_id: str, target: str, issue: str) -> None:
        """Write down that an instance tried what is not its own."""
        async with self._context.write() as tx:
            await self._context.audit(tx, instance_id, "instance.refused", target, issue=issue)

    async def record_sample(self, instance_id: str, sample: values.Sample) -> None:
        """Keep `sample` as the newest of `instance_id`, whatever instance it says itself."""
        async with self._context.write() as tx:
            if await tx.find_instance(instance_id) is not None:
                await tx.put_sample(dataclasses.replace(sample, instance_id=instance_id))

    def _joined(self, name: str, now: values.Time) -> values.Instance:
        return values.Instance(
            id=self._context.ids.new("ins"),
            name=name,
            epoch=0,
            online=False,
            last_seen=None,
            agent_version="",
            boot_id="",
            facts={},
            created_at=now,
        )


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _name(hostname: str) -> str:
    """A host's name for itself, cut down to what we show."""
    return UNSAFE.sub("-", hostname.lower()).strip("-.")[:MAX_NAME] or "instance"
