"""Services: what runs, and the wishes start, stop and restart. All three may be repeated."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from control_plane import errors, ports
from control_plane.domain import deployment as rules
from control_plane.domain import differences, instance, paging, release, service, values
from control_plane.services import events, lists, placement, releases
from control_plane.services.context import Context, service_of, shown_projects

LIST_BATCH = 200
Verb = Literal["start", "stop", "restart"]
ENDED_BADLY = frozenset({release.State.FAILED, release.State.CANCELLED})


@dataclasses.dataclass(frozen=True, slots=True)
class ServiceChanges:
    """What can change without a build; None is as it is. The keys of the mappings merge."""

    replicas: int | None = None
    process_replicas: Mapping[str, int | None] | None = None
    resources: Mapping[str, Any] | None = None
    health_check: Mapping[str, Any] | None = None


class Services:
    """The use cases of `/v1/services`. Answers carry the public words in `observed`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def list(
        self,
        principal: values.Principal,
        project: str | None = None,
        name: str | None = None,
        cursor: str | None = None,
        limit: int = paging.DEFAULT_LIMIT,
        status: str | None = None,
        instance_id: str | None = None,
    ) -> values.Page:
        """One page of ServiceViews, oldest first. `status` is a public word, `instance_id` an id or a name."""
        lists.checked_status(status, service.STATUSES)
        limit, after = paging.checked_limit(limit), paging.decode(cursor)
        found: list[values.ServiceView] = []
        batch = LIST_BATCH if status or instance_id else limit + 1
        async with self._context.store.read() as tx:
            projects = await shown_projects(tx, principal, "service:read", project)
            on = await _instance_id(tx, instance_id) if instance_id else None
            while len(found) <= limit:
                rows = await tx.list_services(projects, name, after, batch)
                shown = await self._all_presented(tx, [row for row in rows if on in {None, row.instance_id}])
                found += [one for one in shown if status in {None, one.observed.status}]
                if len(rows) < batch:
                    break
                after = paging.position(rows[-1].created_at, rows[-1].id)
        more = len(found) > limit
        return values.Page(tuple(found[:limit]), lists.cursor_of(found[limit - 1]) if more else None)

    async def get(self, principal: values.Principal, id_or_name: str) -> values.ServiceView:
        async with self._context.store.read() as tx:
            return await self._presented(tx, await service_of(tx, principal, id_or_name, "service:read"))

    status = get

    async def start(self, principal: values.Principal, id_or_name: str) -> values.ServiceView:
        """Wish it running. When its newest release failed and none is live, that release is tried again as a new one."""
        return await self._wish(principal, id_or_name, "start")

    async def stop(self, principal: values.Principal, id_or_name: str) -> values.ServiceView:
        return await self._wish(principal, id_or_name, "stop")

    async def restart(self, principal: values.Principal, id_or_name: str) -> values.ServiceView:
        """Replace its processes one after the other; a stopped service is started."""
        return await self._wish(principal, id_or_name, "restart")

    async def patch(
        self, principal: values.Principal, id_or_name: str, changes: ServiceChanges
    ) -> tuple[values.ServiceView, bool]:
        """Roll out what changes without a build: a new release on the newest build that fits.

        (view, False) and nothing written when nothing changes. Without a build that can be used again it builds.
        """
        async with self._context.write() as tx:
            old = await service_of(tx, principal, id_or_name, "service:write")
            self._context.match(old.generation)
            deployment = await _changeable(tx, old)
            wanted = rules.DeploymentChanges(**{name: getattr(changes, name) for name in changes.__slots__})
            fields = rules.merged(deployment.name, deployment.project_id, deployment.config, wanted)
            config = await placement.checked(self._context, tx, old, fields, wanted)
            if config == deployment.config:
                return await self._presented(tx, old), False
            build = await releases.build_to_use(tx, deployment, config)
            if build:
                built = await releases.release_of(tx, deployment, build)
                rules.demand_processes(config, built.decided)
            new = await releases.roll_out(self._context, tx, deployment, old, config, "patch", build)
            await self._tell_patch(tx, principal, old, deployment, new)
            shown = await self._presented(tx, await releases.service_of(tx, new))
        self._context.wake(old.instance_id)
        return shown, True

    async def _tell_patch(
        self,
        tx: ports.Transaction,
        principal: values.Principal,
        old: values.Service,
        before: values.Deployment,
        after: values.Deployment,
    ) -> None:
        changed = differences.of_configs(before.config, after.config)
        words = f"change {', '.join(one['field'] for one in changed)} of service {old.name}: release {after.release}"
        about = {"release": after.release, "changes": changed}
        await self._context.audit(
            tx, principal, "service.updated", old.id, project=old.project_id, summary=words, **about
        )
        said = {"name": old.name, "service_id": old.id, "release": after.release}
        await events.emit(self._context, tx, "deployment.updated", subject=after.id, project=after.project_id, **said)

    async def _wish(self, principal: values.Principal, id_or_name: str, verb: Verb) -> values.ServiceView:
        async with self._context.write() as tx:
            old = await service_of(tx, principal, id_or_name, "service:write")
            self._context.match(old.generation)
            if old.run is values.Run.REMOVED:
                raise errors.ConflictError(f"cannot {verb} service {old.name!r}: it is being deleted", {"id": old.id})
            new = self._wished(old, verb)
            if new is not None:
                await tx.update_service(new)
            if verb != "stop":
                new = await self._try_again(tx, new or old) or new
            if new is not None:
                await self._context.audit(
                    tx,
                    principal,
                    f"service.{verb}",
                    old.id,
                    project=old.project_id,
                    summary=f"{verb} service {old.name}",
                    generation=new.generation,
                )
            (shown,) = await self._all_presented(tx, [new or old])
        self._context.wake(old.instance_id)
        return shown

    def _wished(self, old: values.Service, verb: Verb) -> values.Service | None:
        """The service with the new wish; None when it is wished so already."""
        run = values.Run.STOPPED if verb == "stop" else values.Run.RUNNING
        if verb != "restart" and old.run is run:
            return None
        return self._context.wished(old, run=run, restart=old.restart + (verb == "restart"))

    async def _try_again(self, tx: ports.Transaction, wanted: values.Service) -> values.Service | None:
        """A release ends exactly once, so another attempt is another release. None when there is nothing to repeat."""
        if wanted.observed.live_release:
            return None
        deployment = await tx.find_deployment(wanted.deployment_id)
        newest = await tx.get_release(deployment.id, deployment.release) if deployment else None
        if deployment is None or newest is None or release.State(newest.state) not in ENDED_BADLY:
            return None
        await releases.roll_out(self._context, tx, deployment, wanted, deployment.config, "start")
        return await tx.find_service(wanted.id)

    async def _presented(self, tx: ports.Transaction, found: values.Service) -> values.ServiceView:
        """With what its processes use, which lists leave out."""
        (shown,) = await self._all_presented(tx, [found])
        sample = await tx.get_sample(found.instance_id)
        if sample is None:
            return shown
        return dataclasses.replace(shown, usage=service.usage_in(sample, found.id, self._context.clock.now()))

    async def _all_presented(
        self, tx: ports.Transaction, rows: Sequence[values.Service]
    ) -> Sequence[values.ServiceView]:
        now = self._context.clock.now()
        known = {one: await tx.find_instance(one) for one in {row.instance_id for row in rows}}
        online = {one: found is not None and instance.is_online(found, now) for one, found in known.items()}
        return [service.presented(row, online=online[row.instance_id], now=now) for row in rows]


async def _instance_id(tx: ports.Transaction, id_or_name: str) -> str:
    found = await tx.find_instance(id_or_name)
    if found is None:
        raise errors.InvalidError.field(f"cannot find instance {id_or_name[:100]!r}", "instance", "no such instance")
    return found.id


async def _changeable(tx: ports.Transaction, old: values.Service) -> values.Deployment:
    deployment = await tx.find_deployment(old.deployment_id)
    if deployment is None or old.run is values.Run.REMOVED:
        raise errors.ConflictError(f"cannot change service {old.name!r}: it is being deleted", {"id": old.id})
    return deployment
