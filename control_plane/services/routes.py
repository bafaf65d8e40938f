"""Routes: a domain and path sent to a service. A change of one is a new wish for its service."""

import dataclasses

from control_plane import errors, ports
from control_plane.domain import paging, values
from control_plane.domain import route as rules
from control_plane.services import events, lists
from control_plane.services.context import Context, chosen, service_of, shown_projects


class Routes:
    """The use cases of `/v1/proxy/routes`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def list(
        self,
        principal: values.Principal,
        project: str | None = None,
        service: str | None = None,
        cursor: str | None = None,
        limit: int = paging.DEFAULT_LIMIT,
    ) -> values.Page:
        async with self._context.store.read() as tx:
            projects = await shown_projects(tx, principal, "route:read", project)
            service_id = None if service is None else (await service_of(tx, principal, service, "route:read")).id
            rows, following = await lists.page(
                lambda after, count: tx.list_routes(projects, service_id, None, after, count), cursor, limit
            )
        return values.Page(rows, following)

    async def get(self, principal: values.Principal, route_id: str) -> values.Route:
        async with self._context.store.read() as tx:
            return await route_of(tx, principal, route_id, "route:read")

    async def create(
        self, principal: values.Principal, domain: str, service: str, port: int | None = None, path: str = "/"
    ) -> values.Route:
        """Send `domain` and `path` to `service` (id or name). Without `port` the declared one is meant.

        ConflictError when the domain is taken anywhere in the installation.
        """
        domain, path = rules.checked_domain(domain), rules.checked_path(path)
        async with self._context.write() as tx:
            target = await _target(tx, principal, service)
            declared = await _declared_port(tx, target)
            if port not in {None, declared}:
                raise errors.InvalidError.field(
                    f"cannot route to port {port}: service {target.name!r} declares port {declared}",
                    "port",
                    "must be the declared port",
                    supported=[declared],
                )
            new = self._pending(target, domain, path, declared)
            if not await tx.insert_route(new):
                raise errors.ConflictError(
                    f"cannot route {domain}{path}: the domain is taken in this installation",
                    {"field": "domain", "issue": "taken"},
                )
            await self._wish_again(tx, target)
            await self._context.audit(
                tx,
                principal,
                "route.created",
                new.id,
                project=new.project_id,
                summary=f"send {domain}{path} to service {target.name}",
                domain=domain,
                service=target.id,
            )
            await events.emit(
                self._context, tx, "route.created", subject=new.id, project=new.project_id, domain=domain, path=path
            )
        self._context.wake(target.instance_id)
        return new

    async def delete(self, principal: values.Principal, route_id: str) -> None:
        async with self._context.write() as tx:
            old = await route_of(tx, principal, route_id, "route:write")
            self._context.match(old.generation)
            await tx.delete_route(old.id)
            target = await tx.find_service(old.service_id)
            if target is not None:
                await self._wish_again(tx, target)
                self._context.wake(target.instance_id)
            await self._context.audit(
                tx,
                principal,
                "route.deleted",
                old.id,
                project=old.project_id,
                summary=f"no longer serve {old.domain}{old.path}",
                domain=old.domain,
                service=old.service_id,
            )
            await events.emit(
                self._context, tx, "route.deleted", subject=old.id, project=old.project_id, domain=old.domain
            )

    def _pending(self, target: values.Service, domain: str, path: str, port: int) -> values.Route:
        return values.Route(
            id=self._context.ids.new("rte"),
            project_id=target.project_id,
            service_id=target.id,
            domain=domain,
            path=path,
            port=port,
            status="pending",
            message="",
            created_at=self._context.clock.now(),
        )

    async def _wish_again(self, tx: ports.Transaction, target: values.Service) -> None:
        now = self._context.clock.now()
        await tx.update_service(dataclasses.replace(target, generation=target.generation + 1, updated_at=now))


async def route_of(tx: ports.Transaction, principal: values.Principal, route_id: str, permission: str) -> values.Route:
    found = await tx.get_route(route_id)
    rows = [] if found is None else [found]
    return chosen(principal, rows, route_id, permission, "route", "GET /v1/proxy/routes")


async def _target(tx: ports.Transaction, principal: values.Principal, service: str) -> values.Service:
    try:
        found = await service_of(tx, principal, service, "route:write")
    except errors.NotFoundError:
        raise errors.InvalidError.field(
            f"cannot route to service {service[:100]!r}", "service_id", "no such service"
        ) from None
    if found.run is values.Run.REMOVED:
        raise errors.ConflictError(f"cannot route to service {found.name!r}: it is being deleted", {"id": found.id})
    return found


async def _declared_port(tx: ports.Transaction, target: values.Service) -> int:
    declared = await tx.find_deployment(target.deployment_id)
    if declared is None:
        raise errors.ConflictError(f"cannot route to service {target.name!r}: it was just deleted")
    return declared.config.port
