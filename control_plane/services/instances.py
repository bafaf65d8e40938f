"""Instances: who may join, who is there, and what it measured."""

import dataclasses
import datetime
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from control_plane import errors, ports
from control_plane.domain import instance, paging, permissions, series, values
from control_plane.services import events, lists
from control_plane.services.context import Context, instance_of
from control_plane.services.presence import Presence

JOIN_TOKEN_S = 15 * 60
AGENT_DIR = "/var/lib/dployr-agent"
UNSAFE = re.compile(r"[^a-z0-9.-]+")
MAX_NAME = 63


@dataclasses.dataclass(frozen=True, slots=True)
class Entrance:
    """What an agent that joins must know: both addresses as HOST:PORT, and the fingerprint of the enrolment listener."""

    hub: str
    enrol: str
    fingerprint: str


@dataclasses.dataclass(frozen=True, slots=True)
class JoinToken:
    """`command` is to be run on the host that shall join. The token works once."""

    token: str = dataclasses.field(repr=False)
    expires_at: values.Time
    command: str = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True, slots=True)
class InstanceChanges:
    """None is as it is. `labels` merge by key; None there deletes one."""

    labels: Mapping[str, str | None] | None = None
    cordoned: bool | None = None


class Instances:
    """The use cases of `/v1/instances`, and those of the hub (they name the instance that its certificate proved)."""

    def __init__(self, context: Context, entrance: Callable[[], Entrance] | None = None) -> None:
        self._context = context
        self._entrance = entrance
        self._presence = Presence(context)

    async def list(
        self,
        principal: values.Principal,
        cursor: str | None = None,
        limit: int = paging.DEFAULT_LIMIT,
        status: str | None = None,
        name: str | None = None,
    ) -> values.Page:
        """One page of InstanceViews, oldest first."""
        permissions.demand(principal, "instance:read")
        lists.checked_status(status, instance.STATUSES)
        found: list[values.InstanceView] = []
        limit, after = paging.checked_limit(limit), paging.decode(cursor)
        async with self._context.store.read() as tx:
            counts = await tx.count_services()
            while len(found) <= limit:
                rows = await tx.list_instances(after, limit + 1)
                shown = [self._view(row, counts.get(row.id, 0)) for row in rows]
                found += [one for one in shown if status in {None, one.status} and name in {None, one.name}]
                if len(rows) <= limit:
                    break
                after = paging.position(rows[-1].created_at, rows[-1].id)
        more = len(found) > limit
        return values.Page(tuple(found[:limit]), lists.cursor_of(found[limit - 1]) if more else None)

    async def get(self, principal: values.Principal, id_or_name: str) -> values.InstanceView:
        async with self._context.store.read() as tx:
            return await self._shown(tx, await instance_of(tx, principal, id_or_name, "instance:read"))

    async def update(
        self, principal: values.Principal, id_or_name: str, changes: InstanceChanges
    ) -> values.InstanceView:
        """Change labels, or whether it takes new services. One that takes some again is no longer draining."""
        async with self._context.write() as tx:
            old = await self._changeable(tx, principal, id_or_name)
            new = instance.changed(old, changes.labels or {}, changes.cordoned)
            if new != old:
                new = await self._store(tx, new)
                words = f"change {', '.join(instance.differing(old, new))} of instance {old.name}"
                labels = dict(new.labels)
                await self._context.audit(
                    tx, principal, "instance.updated", old.id, summary=words, labels=labels, cordoned=new.cordoned
                )
            return await self._shown(tx, new)

    async def drain(
        self, principal: values.Principal, id_or_name: str
    ) -> tuple[values.InstanceView, Sequence[values.Service]]:
        """Place nothing new on it; the services that are still there are for their owners to move. May be repeated."""
        async with self._context.write() as tx:
            old = await self._changeable(tx, principal, id_or_name)
            services = await tx.list_services_of_instance(old.id)
            new = old
            if not old.draining:
                new = await self._store(tx, dataclasses.replace(old, cordoned=True, draining=True))
                words = f"drain instance {old.name}: {len(services)} services are on it"
                await self._context.audit(tx, principal, "instance.drained", old.id, summary=words)
                if not services:
                    await events.emit(self._context, tx, "instance.drained", subject=old.id, name=old.name)
            return await self._shown(tx, new), services

    async def remove(self, principal: values.Principal, id_or_name: str) -> None:
        """Forget it: its certificate lets it in no more. ConflictError while services are on it."""
        async with self._context.write() as tx:
            old = await self._changeable(tx, principal, id_or_name)
            services = await tx.list_services_of_instance(old.id)
            if services:
                names = [service.name for service in services[:20]]
                raise errors.ConflictError(
                    f"cannot remove instance {old.name!r}: {len(services)} services are on it; delete them first",
                    {"services": names, "count": len(services)},
                )
            await tx.delete_instance(old.id)
            words = f"remove instance {old.name}: its certificate is refused from now on"
            await self._context.audit(tx, principal, "instance.removed", old.id, summary=words, name=old.name)
            await events.emit(self._context, tx, "instance.removed", subject=old.id, name=old.name)
        self._context.wake(old.id)

    async def invite(self, principal: values.Principal, seconds: int = JOIN_TOKEN_S) -> JoinToken:
        """A new join token with the command that uses it. UnavailableError when agents cannot join here."""
        if self._entrance is None:
            raise errors.UnavailableError("cannot make a join token: the hub does not listen; start it and try again")
        at = self._entrance()
        expires_at = self._context.clock.now() + datetime.timedelta(seconds=seconds)
        token = f"{await self.mint_join_token(principal, seconds)}.{at.fingerprint}"
        return JoinToken(token, expires_at, _command(at, token))

    async def _changeable(self, tx: ports.Transaction, principal: values.Principal, id_or_name: str) -> values.Instance:
        found = await instance_of(tx, principal, id_or_name, "instance:write")
        self._context.match(found.generation)
        return found

    async def _store(self, tx: ports.Transaction, new: values.Instance) -> values.Instance:
        counted = dataclasses.replace(new, generation=new.generation + 1)
        await tx.update_instance(counted)
        return counted

    async def _shown(self, tx: ports.Transaction, found: values.Instance) -> values.InstanceView:
        return self._view(found, (await tx.count_services()).get(found.id, 0))

    def _view(self, found: values.Instance, services: int) -> values.InstanceView:
        return instance.view(found, services, self._context.clock.now())

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

    async def series(
        self,
        principal: values.Principal,
        id_or_name: str,
        since: str | None = None,
        until: str | None = None,
        step_s: int | None = None,
    ) -> series.Answer:
        """What it measured in a time; see domain/series.py. InvalidError when the times cannot be meant."""
        asked = series.window(since, until, step_s, self._context.clock.now())
        async with self._context.store.read() as tx:
            found = await instance_of(tx, principal, id_or_name, "instance:metrics")
            points = await tx.list_points(found.id, asked.ring.step_s, asked.ring.slot(asked.since), asked.until)
        return series.answer(points, asked)

    async def measured(self, principal: values.Principal) -> Sequence[values.InstanceView]:
        """All instances, for who may read what they measure."""
        permissions.demand(principal, "instance:metrics")
        found: list[values.InstanceView] = []
        after = None
        async with self._context.store.read() as tx:
            counts = await tx.count_services()
            while rows := await tx.list_instances(after, paging.MAX_LIMIT):
                found += [self._view(row, counts.get(row.id, 0)) for row in rows]
                after = paging.position(rows[-1].created_at, rows[-1].id)
        return found

    async def mint_join_token(self, principal: values.Principal | None, seconds: int = JOIN_TOKEN_S) -> str:
        """The secret part of a new token: 256 bits, one use, 15 minutes or so many `seconds`. None is the installation itself."""
        if principal is not None:
            permissions.demand(principal, "instance:write")
        secret = self._context.ids.secret(32)
        async with self._context.write() as tx:
            await tx.insert_join_token(_digest(secret), self._context.clock.now().timestamp() + seconds)
            words = "make a join token for one instance"
            await self._context.audit(
                tx, principal or "system", "instance.token_minted", _digest(secret)[:12], summary=words
            )
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
            await self._presence.connected(tx, new)
        return new.epoch

    async def disconnected(self, instance_id: str, epoch: int) -> None:
        """See Presence."""
        await self._presence.disconnected(instance_id, epoch)

    async def heartbeat(self, instance_id: str, epoch: int) -> None:
        """See Presence."""
        await self._presence.heartbeat(instance_id, epoch)

    async def refused(self, instance_id: str, target: str, issue: str) -> None:
        """Write down that an instance tried what is not its own."""
        async with self._context.write() as tx:
            await self._context.audit(tx, instance_id, "instance.refused", target, issue=issue)

    async def record_sample(self, instance_id: str, sample: values.Sample) -> None:
        """Keep `sample` as the newest of `instance_id`, whatever instance it says itself, and its numbers in the rings.

        Their times are ours: a host whose clock is wrong has its points where others have theirs.
        """
        numbers, now = series.numbers(sample.families), self._context.clock.now().timestamp()
        async with self._context.write() as tx:
            if await tx.find_instance(instance_id) is None:
                return
            await tx.put_sample(dataclasses.replace(sample, instance_id=instance_id))
            for ring in series.RINGS:
                key = (instance_id, ring.step_s, ring.place(now))
                point = series.merged(await tx.get_point(*key), series.Point(ring.slot(now), 1, numbers))
                await tx.put_point(*key, point)

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


def _command(at: Entrance, token: str) -> str:
    """What is run on the host. The token goes by a file of its own, so that it stands in no list of processes."""
    file = f"{AGENT_DIR}/join-token"
    agent = f"dployr-agent run --data-dir {AGENT_DIR} --hub {at.hub} --enrol {at.enrol} --proxy-listen 0.0.0.0:80"
    return f"umask 077; mkdir -p {AGENT_DIR} && echo {token} > {file} && {agent} --join-token-file {file}"
