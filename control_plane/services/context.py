"""What every use case is given, and the few steps that they share."""

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol, TypeVar

from addresses.public import Allow
from control_plane import errors, ports
from control_plane.clock import Clock, Ids
from control_plane.domain import permissions, values
from control_plane.services import unit


@dataclasses.dataclass(frozen=True, slots=True)
class Context:
    """`proxy_url` is where the managed proxy is reached; the addresses of deployments are built from it.

    `base_url` is where people and git hosts reach this API. `webhook_allow` are networks that webhooks may reach although
    they are not global.
    """

    store: ports.Store
    notifier: ports.Notifier
    clock: Clock
    ids: Ids
    proxy_url: str = "http://127.0.0.1:8081"
    allow_file_remotes: bool = False
    allow_ssh_remotes: bool = False
    base_url: str = "http://127.0.0.1:8080"
    webhook_allow: Allow = ()

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[ports.Transaction]:
        """The transaction of the running unit, or one of its own. See services/unit.py."""
        current = unit.CURRENT.get()
        async with self.store.write() if current is None else current.write() as tx:
            yield tx

    def wake(self, topic: str) -> None:
        """Tell who sends to an instance (or follows ports.EVENTS) that there is something new, once it is committed."""
        current = unit.CURRENT.get()
        if current is None:
            self.notifier.instance_changed(topic)
        else:
            current.woken.add(topic)

    @property
    def request_id(self) -> str:
        """Of the request that is being served; empty when nobody asked."""
        current = unit.CURRENT.get()
        return "" if current is None else current.request.request_id

    def wished(self, service: values.Service, **changes: Any) -> values.Service:
        """`service` with another wish: the next generation, under the id of the request that asks for it."""
        return dataclasses.replace(
            service,
            generation=service.generation + 1,
            request_id=self.request_id,
            updated_at=self.clock.now(),
            **changes,
        )

    def match(self, generation: int) -> None:
        """Hold the object that is about to be changed against the client's If-Match. PreconditionFailedError."""
        current = unit.CURRENT.get()
        if current is not None:
            current.match(generation)

    async def audit(
        self,
        tx: ports.Transaction,
        actor: values.Principal | str,
        action: str,
        target: str,
        *,
        project: str = "",
        summary: str = "",
        **data: Any,
    ) -> None:
        """Write who did what, in the transaction that does it. `summary` says it in words; no secret is among `data`."""
        known = actor if isinstance(actor, values.Principal) else values.Principal(actor, "")
        entry = values.AuditEntry(
            at=self.clock.now(),
            actor=known.user_id,
            actor_name=known.email,
            address=known.address,
            request_id=known.request_id,
            action=action,
            target=target,
            project_id=project,
            summary=summary,
            data=data,
        )
        written = await tx.append_audit(entry)
        current = unit.CURRENT.get()
        if current is not None:
            current.plan.append(written)


class OfProject(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def project_id(self) -> str: ...


T = TypeVar("T", bound=OfProject)


async def deployment_of(
    tx: ports.Transaction, principal: values.Principal, id_or_name: str, permission: str
) -> values.Deployment:
    """The deployment of that id, or of that name in a project of the principal's, for `permission`."""
    found = await tx.named_deployments(id_or_name)
    return chosen(principal, found, id_or_name, permission, "deployment", "GET /v1/deployments")


async def service_of(
    tx: ports.Transaction, principal: values.Principal, id_or_name: str, permission: str
) -> values.Service:
    found = await tx.named_services(id_or_name)
    return chosen(principal, found, id_or_name, permission, "service", "GET /v1/services")


def chosen(principal: values.Principal, found: Sequence[T], asked: str, permission: str, kind: str, listing: str) -> T:
    """The one object that is meant. What the principal cannot see does not exist: NotFoundError, whoever has it.

    ConflictError when a name is that of several, ForbiddenError when the role is too low.
    """
    seen = [one for one in found if permissions.can_see(principal, one.project_id)]
    if not seen:
        raise errors.NotFoundError(f"cannot find {kind} {asked!r}; list them with {listing}")
    if len(seen) > 1 and seen[0].id != asked:
        raise errors.ConflictError(
            f"cannot tell which {kind} {asked!r} is meant: several projects have one; use its id",
            {"ids": [one.id for one in seen]},
        )
    permissions.demand(principal, permission, seen[0].project_id)
    return seen[0]


async def instance_of(
    tx: ports.Transaction, principal: values.Principal, id_or_name: str, permission: str
) -> values.Instance:
    permissions.demand(principal, permission)
    found = await tx.find_instance(id_or_name)
    if found is None:
        raise errors.NotFoundError(f"cannot find instance {id_or_name!r}; list them with GET /v1/instances")
    return found


async def project_of(
    tx: ports.Transaction, principal: values.Principal, id_or_name: str, permission: str
) -> values.Project:
    """The project that a path names. NotFoundError when the principal cannot see it."""
    found = await tx.find_project(id_or_name)
    if found is None or not permissions.can_see(principal, found.id):
        raise errors.NotFoundError(f"cannot find project {id_or_name!r}; list them with GET /v1/projects")
    permissions.demand(principal, permission, found.id)
    return found


async def named_project(
    tx: ports.Transaction, principal: values.Principal, id_or_name: str, permission: str
) -> values.Project:
    """The project that a body or a filter names: one that cannot be seen is a bad field.

    ConflictError when something is to be put into a project that is being deleted.
    """
    try:
        found = await project_of(tx, principal, id_or_name, permission)
    except errors.NotFoundError:
        raise errors.InvalidError.field(
            f"cannot find project {id_or_name[:100]!r}", "project", "no such project"
        ) from None
    if found.deleting and not permission.endswith(":read"):
        raise errors.ConflictError(
            f"cannot add anything to project {found.name!r}: it is being deleted", {"id": found.id}
        )
    return found


async def shown_projects(
    tx: ports.Transaction, principal: values.Principal, permission: str, project: str | None
) -> frozenset[str] | None:
    """The projects whose objects a list may show, narrowed to `project` when that is asked for; None is all."""
    if project is not None:
        return frozenset({(await named_project(tx, principal, project, permission)).id})
    return permissions.visible(principal, permission)


async def ensure_defaults(context: Context) -> None:
    """Make what every installation has: the project `default`. Called at every start."""
    async with context.write() as tx:
        if await tx.find_project("default") is None:
            now = context.clock.now()
            await tx.insert_project(values.Project(context.ids.new("prj"), "default", "", now, 1, now))
