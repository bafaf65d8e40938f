"""Services: what runs, and the wishes start, stop and restart. All three may be repeated."""

import dataclasses
from typing import Literal

from control_plane import errors, ports
from control_plane.domain import instance, paging, release, service, values
from control_plane.services import lists, releases
from control_plane.services.context import Context, service_of, shown_projects

Verb = Literal["start", "stop", "restart"]
ENDED_BADLY = frozenset({release.State.FAILED, release.State.CANCELLED})


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
    ) -> values.Page:
        async with self._context.store.read() as tx:
            projects = await shown_projects(tx, principal, "service:read", project)
            rows, following = await lists.page(
                lambda after, count: tx.list_services(projects, name, after, count), cursor, limit
            )
            now = self._context.clock.now()
            known = {one: await tx.find_instance(one) for one in {row.instance_id for row in rows}}
        online = {one: found is not None and instance.is_online(found, now) for one, found in known.items()}
        return values.Page(tuple(service.presented(row, online=online[row.instance_id]) for row in rows), following)

    async def get(self, principal: values.Principal, id_or_name: str) -> values.Service:
        async with self._context.store.read() as tx:
            return await self._presented(tx, await service_of(tx, principal, id_or_name, "service:read"))

    status = get

    async def start(self, principal: values.Principal, id_or_name: str) -> values.Service:
        """Wish it running. When its newest release failed and none is live, that release is tried again as a new one."""
        return await self._wish(principal, id_or_name, "start")

    async def stop(self, principal: values.Principal, id_or_name: str) -> values.Service:
        return await self._wish(principal, id_or_name, "stop")

    async def restart(self, principal: values.Principal, id_or_name: str) -> values.Service:
        """Replace its processes one after the other; a stopped service is started."""
        return await self._wish(principal, id_or_name, "restart")

    async def _wish(self, principal: values.Principal, id_or_name: str, verb: Verb) -> values.Service:
        async with self._context.write() as tx:
            old = await service_of(tx, principal, id_or_name, "service:write")
            self._context.match(old.generation)
            if old.run is values.Run.REMOVED:
                raise errors.ConflictError(f"cannot {verb} service {old.name!r}: it is being deleted", {"id": old.id})
            new = wished(old, verb, self._context.clock.now())
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
            shown = await self._presented(tx, new or old)
        self._context.wake(old.instance_id)
        return shown

    async def _try_again(self, tx: ports.Transaction, wanted: values.Service) -> values.Service | None:
        """A release ends exactly once, so another attempt is another release. None when there is nothing to repeat."""
        deployment = await tx.find_deployment(wanted.deployment_id)
        if deployment is None:
            return None
        newest = await tx.get_release(deployment.id, deployment.release)
        if newest is None or release.State(newest.state) not in ENDED_BADLY or wanted.observed.live_release:
            return None
        await releases.roll_out(self._context, tx, deployment, wanted, deployment.config, "start")
        return await tx.find_service(wanted.id)

    async def _presented(self, tx: ports.Transaction, found: values.Service) -> values.Service:
        host = await tx.find_instance(found.instance_id)
        online = host is not None and instance.is_online(host, self._context.clock.now())
        return service.presented(found, online=online)


def wished(old: values.Service, verb: Verb, now: values.Time) -> values.Service | None:
    """The service with the new wish; None when it is wished so already."""
    run = values.Run.STOPPED if verb == "stop" else values.Run.RUNNING
    if verb != "restart" and old.run is run:
        return None
    restart = old.restart + 1 if verb == "restart" else old.restart
    return dataclasses.replace(old, run=run, restart=restart, generation=old.generation + 1, updated_at=now)
