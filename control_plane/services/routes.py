"""Routes: a domain and path sent to a service. A change of one is a new wish for its service."""

import dataclasses

from control_plane import errors, ports
from control_plane.domain import paging, permissions, values
from control_plane.domain import route as rules
from control_plane.services import lists
from control_plane.services.context import Context, deployment_of, project_of, service_of


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
        permissions.demand(principal, "route:read")
        async with self._context.store.read() as tx:
            project_id = (await project_of(tx, project)).id if project is not None else None
            service_id = (await service_of(tx, service)).id if service is not None else None
            rows, following = await lists.page(
                lambda after, count: tx.list_routes(project_id, service_id, after, count), cursor, limit
            )
        return values.Page(rows, following)

    async def get(self, principal: values.Principal, route_id: str) -> values.Route:
        permissions.demand(principal, "route:read")
        async with self._context.store.read() as tx:
            return await _route_of(tx, route_id)

    async def create(
        self, principal: values.Principal, domain: str, service: str, port: int | None = None, path: str = "/"
    ) -> values.Route:
        """Send `domain` and `path` to `service` (id or name). Without `port` the declared one is meant.

        ConflictError when the domain is taken anywhere in the installation.
        """
        permissions.demand(principal, "route:write")
        domain, path = rules.checked_domain(domain), rules.checked_path(path)
        async with self._context.store.write() as tx:
            target = await _target(tx, service)
            declared = (await deployment_of(tx, target.deployment_id)).config.port
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
            await self._context.audit(tx, principal, "route.created", new.id, domain=domain, service=target.id)
        self._context.notifier.instance_changed(target.instance_id)
        return new

    async def delete(self, principal: values.Principal, route_id: str) -> None:
        permissions.demand(principal, "route:write")
        async with self._context.store.write() as tx:
            old = await _route_of(tx, route_id)
            target = await service_of(tx, old.service_id)
            await tx.delete_route(old.id)
            await self._wish_again(tx, target)
            await self._context.audit(tx, principal, "route.deleted", old.id, domain=old.domain, service=target.id)
        self._context.notifier.instance_changed(target.instance_id)

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


async def _route_of(tx: ports.Transaction, route_id: str) -> values.Route:
    found = await tx.get_route(route_id)
    if found is None:
        raise errors.NotFoundError(f"cannot find route {route_id!r}; list them with GET /v1/proxy/routes")
    return found


async def _target(tx: ports.Transaction, service: str) -> values.Service:
    found = await tx.find_service(service)
    if found is None:
        raise errors.InvalidError.field(f"cannot route to service {service!r}", "service_id", "no such service")
    if found.run is values.Run.REMOVED:
        raise errors.ConflictError(f"cannot route to service {found.name!r}: it is being deleted", {"id": found.id})
    return found
