"""Routes: a domain and path sent to a service. A change of one is a new wish for its service."""

import dataclasses
from collections.abc import Callable, Coroutine
from typing import Any

from control_plane import errors, ports
from control_plane.domain import event, paging, route_options, values
from control_plane.domain import route as rules
from control_plane.domain.route_options import Given
from control_plane.services import events, lists
from control_plane.services.context import Context, chosen, service_of, shown_projects
from control_plane.services.htpasswd import Htpasswd


@dataclasses.dataclass(frozen=True, slots=True)
class RouteFilter:
    """None lets everything through."""

    project: str | None = None
    service: str | None = None
    domain: str | None = None
    status: str | None = None


EVERYTHING = RouteFilter()
REFUSED = "cannot serve the route"


@dataclasses.dataclass(frozen=True, slots=True)
class RouteFields:
    """A new route. Without `port` the declared one is meant."""

    domain: str
    service: str
    port: int | None = None
    path: str = "/"
    options: Given = dataclasses.field(default_factory=Given)


@dataclasses.dataclass(frozen=True, slots=True)
class RouteChanges:
    """None is "as it is"."""

    domain: str | None = None
    service: str | None = None
    port: int | None = None
    path: str | None = None
    options: Given = dataclasses.field(default_factory=Given)


class Routes:
    """The use cases of `/v1/proxy/routes`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._htpasswd = Htpasswd(context.ids)

    async def list(
        self,
        principal: values.Principal,
        wanted: RouteFilter = EVERYTHING,
        cursor: str | None = None,
        limit: int = paging.DEFAULT_LIMIT,
    ) -> values.Page:
        domain = None if wanted.domain is None else rules.checked_domain(wanted.domain)
        status = lists.checked_status(wanted.status, rules.STATUSES)
        async with self._context.store.read() as tx:
            projects = await shown_projects(tx, principal, "route:read", wanted.project)
            service_id = None if wanted.service is None else await _service_id(tx, principal, wanted.service)
            rows, following = await lists.page(
                lambda after, count: tx.list_routes(projects, service_id, domain, after, count, status), cursor, limit
            )
        return values.Page(rows, following)

    async def get(self, principal: values.Principal, route_id: str) -> values.Route:
        async with self._context.store.read() as tx:
            return await route_of(tx, principal, route_id, "route:read")

    async def create(self, principal: values.Principal, fields: RouteFields) -> values.Route:
        """Send a domain and path to a service (id or name).

        ConflictError when the domain is taken anywhere in the installation, InvalidError for each bad field, also for an
        option that the proxy of the service's instance does not know.
        """
        faults = errors.Faults()
        domain, path = _judged(fields.domain, fields.path, fields.options, faults)
        hashes = await self._hashes(fields.options, lambda tx: _target(tx, principal, fields.service, errors.Faults()))
        async with self._context.write() as tx:
            target = await _target(tx, principal, fields.service, faults)
            port = await _port(tx, target, fields.port, faults)
            weights = await _weights(tx, principal, target, fields.options, faults)
            given = _readable(fields.options, faults)
            options = route_options.changed(values.RouteOptions(), given, hashes.__getitem__, weights)
            await _judge_ability(tx, target, options, faults)
            faults.refuse(REFUSED)
            new = self._pending(target, domain, path, port, options)
            await _demand_free(tx, new)
            if not await tx.insert_route(new):
                raise _taken(new)
            await self._wish_again(tx, target)
            await self._tell(tx, principal, "created", new, f"send {domain}{path} to service {target.name}")
        return new

    async def update(self, principal: values.Principal, route_id: str, changes: RouteChanges) -> values.Route:
        """Change what is given. Raises what `create` raises."""
        hashes = await self._hashes(changes.options, lambda tx: route_of(tx, principal, route_id, "route:write"))
        async with self._context.write() as tx:
            old = await route_of(tx, principal, route_id, "route:write")
            self._context.match(old.generation)
            faults = errors.Faults()
            domain, path = _judged(changes.domain or old.domain, changes.path or old.path, changes.options, faults)
            target = await _target(tx, principal, changes.service or old.service_id, faults)
            _judge_project(old, target, faults)
            port = await _port(tx, target, changes.port, faults)
            weights = await _weights(tx, principal, target, changes.options, faults)
            given = _readable(changes.options, faults)
            options = route_options.changed(old.options, given, hashes.__getitem__, weights)
            await _judge_ability(tx, target, options, faults)
            faults.refuse(REFUSED)
            new = dataclasses.replace(old, domain=domain, path=path, service_id=target.id, port=port, options=options)
            if new == old:
                return old
            new = dataclasses.replace(
                new, status="pending", message="", generation=old.generation + 1, updated_at=self._context.clock.now()
            )
            await _demand_free(tx, new)
            if not await tx.update_route(new):
                raise _taken(new)
            await self._wish_all(tx, {old.service_id, new.service_id})
            await self._tell(tx, principal, "updated", new, f"change how {new.domain}{new.path} is served")
        return new

    async def delete(self, principal: values.Principal, route_id: str) -> None:
        async with self._context.write() as tx:
            old = await route_of(tx, principal, route_id, "route:write")
            self._context.match(old.generation)
            await tx.delete_route(old.id)
            await self._wish_all(tx, {old.service_id})
            await self._tell(tx, principal, "deleted", old, f"no longer serve {old.domain}{old.path}")

    async def _hashes(
        self, given: Given, allowed: Callable[[ports.Transaction], Coroutine[Any, Any, object]]
    ) -> dict[str, str]:
        """Before the transaction, because hashing takes its time; for who passes `allowed`, not for everybody."""
        if not given.basic_auth or route_options.problems(Given(basic_auth=given.basic_auth)):
            return {}
        try:
            async with self._context.store.read() as tx:
                await allowed(tx)
        except errors.InvalidError:
            return {}  # it is told with the other faults
        return await self._htpasswd.hashes(dict(given.basic_auth))

    def _pending(
        self, target: values.Service, domain: str, path: str, port: int, options: values.RouteOptions
    ) -> values.Route:
        now = self._context.clock.now()
        return values.Route(
            id=self._context.ids.new("rte"),
            project_id=target.project_id,
            service_id=target.id,
            domain=domain,
            path=path,
            port=port,
            status="pending",
            message="",
            created_at=now,
            options=options,
            updated_at=now,
        )

    async def _wish_again(self, tx: ports.Transaction, target: values.Service) -> None:
        await tx.update_service(self._context.wished(target))
        self._context.wake(target.instance_id)

    async def _wish_all(self, tx: ports.Transaction, service_ids: set[str]) -> None:
        for service in (await tx.services_by_id(sorted(service_ids))).values():
            await self._wish_again(tx, service)

    async def _tell(
        self, tx: ports.Transaction, principal: values.Principal, verb: str, route: values.Route, summary: str
    ) -> None:
        about = {"domain": route.domain, "path": route.path, "service": route.service_id}
        action = f"route.{verb}"
        await self._context.audit(tx, principal, action, route.id, project=route.project_id, summary=summary, **about)
        if action in event.TYPES:
            await events.emit(self._context, tx, action, subject=route.id, project=route.project_id, **about)


async def route_of(tx: ports.Transaction, principal: values.Principal, route_id: str, permission: str) -> values.Route:
    found = await tx.get_route(route_id)
    rows = [] if found is None else [found]
    return chosen(principal, rows, route_id, permission, "route", "GET /v1/proxy/routes")


async def _service_id(tx: ports.Transaction, principal: values.Principal, service: str) -> str:
    """Of the service that a filter names."""
    try:
        return (await service_of(tx, principal, service, "route:read")).id
    except errors.NotFoundError:
        raise errors.InvalidError.field(
            f"cannot find service {service[:100]!r}", "service", "no such service"
        ) from None


async def _target(
    tx: ports.Transaction, principal: values.Principal, service: str, faults: errors.Faults
) -> values.Service:
    """Without the service nothing more can be judged: InvalidError with the faults that there are."""
    try:
        found = await service_of(tx, principal, service, "route:write")
    except errors.NotFoundError:
        faults.found.append({"field": "service_id", "issue": f"no such service: {service[:100]!r}"})
        raise errors.InvalidError.several(REFUSED, faults.found) from None
    if found.run is values.Run.REMOVED:
        raise errors.ConflictError(f"cannot route to service {found.name!r}: it is being deleted", {"id": found.id})
    return found


async def _port(tx: ports.Transaction, target: values.Service, port: int | None, faults: errors.Faults) -> int:
    """The declared port; another one is a fault."""
    deployment = await tx.find_deployment(target.deployment_id)
    if deployment is None:
        raise errors.ConflictError(f"cannot route to service {target.name!r}: it was just deleted")
    declared = deployment.config.port
    if port not in {None, declared}:
        issue = f"must be the declared port: service {target.name!r} declares {declared}"
        faults.found.append({"field": "port", "issue": issue, "supported": [declared]})
    return declared


def _judged(domain: str, path: str, given: Given, faults: errors.Faults) -> tuple[str, str]:
    """Domain and path as they are stored; the problems of them and of the options become faults."""
    with faults.collecting():
        domain = rules.checked_domain(domain)
    with faults.collecting():
        path = rules.checked_path(path)
    faults.found += route_options.problems(given)
    return domain, path


def _readable(given: Given, faults: errors.Faults) -> Given:
    """What was said without a fault."""
    bad = {str(problem["field"]).partition(".")[0] for problem in faults.found}
    return dataclasses.replace(given, **dict.fromkeys(bad.intersection(Given.__slots__)))


async def _weights(
    tx: ports.Transaction, principal: values.Principal, target: values.Service, given: Given, faults: errors.Faults
) -> tuple[tuple[str, int], ...]:
    """By service id. All must be services of the route's project."""
    found = []
    for name, percent in (given.weights or {}).items():
        try:
            service = await service_of(tx, principal, name, "route:write")
        except errors.NotFoundError:
            service = None
        if service is None or service.project_id != target.project_id:
            faults.found.append({"field": f"weights.{name[:64]}", "issue": "no such service in the project"})
        else:
            found.append((service.id, percent))
    return tuple(sorted(found))


async def _judge_ability(
    tx: ports.Transaction, target: values.Service, options: values.RouteOptions, faults: errors.Faults
) -> None:
    """Every option that is used must be one that the proxy there knows: nothing is taken and then ignored."""
    host = await tx.find_instance(target.instance_id)
    said = host.facts.get("capabilities", {}).get("route_options", "") if host else ""
    known = {word.strip() for word in said.split(",")} - {""}
    name = host.name if host else target.instance_id
    faults.found += [
        {"field": field, "issue": f"the proxy of instance {name} does not do this", "supported": sorted(known)}
        for field in sorted(route_options.used(options) - known)
    ]


async def _demand_free(tx: ports.Transaction, wanted: values.Route) -> None:
    """A name that a route of another project answers to, by a wildcard or itself, is that project's."""
    base = wanted.domain.removeprefix("*.")
    near = [*await tx.list_routes(None, None, wanted.domain, None, paging.MAX_LIMIT), *await tx.routes_below(base)]
    if any(one.project_id != wanted.project_id and rules.overlap(one.domain, wanted.domain) for one in near):
        raise _taken(wanted)


def _judge_project(route: values.Route, target: values.Service, faults: errors.Faults) -> None:
    if target.project_id != route.project_id:
        faults.found.append({"field": "service_id", "issue": "must be a service of the route's project"})


def _taken(route: values.Route) -> errors.ConflictError:
    return errors.ConflictError(
        f"cannot route {route.domain}{route.path}: the domain is taken in this installation",
        {"field": "domain", "issue": "taken"},
    )
