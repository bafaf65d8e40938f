"""What every use case is given, and the few steps that they share."""

import dataclasses
from typing import Any

from control_plane import errors, ports
from control_plane.clock import Clock, Ids
from control_plane.domain import values


@dataclasses.dataclass(frozen=True, slots=True)
class Context:
    """`proxy_url` is where the managed proxy is reached; the addresses of deployments are built from it."""

    store: ports.Store
    notifier: ports.Notifier
    clock: Clock
    ids: Ids
    proxy_url: str = "http://127.0.0.1:8081"
    allow_file_remotes: bool = False

    async def audit(
        self, tx: ports.Transaction, actor: values.Principal | str, action: str, target: str, **data: Any
    ) -> None:
        """Write who did what, in the transaction that does it."""
        name = actor if isinstance(actor, str) else actor.user_id
        await tx.insert_audit(self.clock.now(), name, action, target, data)


async def deployment_of(tx: ports.Transaction, id_or_name: str) -> values.Deployment:
    found = await tx.find_deployment(id_or_name)
    if found is None:
        raise errors.NotFoundError(f"cannot find deployment {id_or_name!r}; list them with GET /v1/deployments")
    return found


async def service_of(tx: ports.Transaction, id_or_name: str) -> values.Service:
    found = await tx.find_service(id_or_name)
    if found is None:
        raise errors.NotFoundError(f"cannot find service {id_or_name!r}; list them with GET /v1/services")
    return found


async def instance_of(tx: ports.Transaction, id_or_name: str) -> values.Instance:
    found = await tx.find_instance(id_or_name)
    if found is None:
        raise errors.NotFoundError(f"cannot find instance {id_or_name!r}; list them with GET /v1/instances")
    return found


async def project_of(tx: ports.Transaction, id_or_name: str) -> values.Project:
    found = await tx.find_project(id_or_name)
    if found is None:
        raise errors.InvalidError.field(f"cannot find project {id_or_name!r}", "project", "no such project")
    return found


async def ensure_defaults(context: Context) -> None:
    """Make what every installation has: the project `default`. Called at every start."""
    async with context.store.write() as tx:
        if await tx.find_project("default") is None:
            new = values.Project(context.ids.new("prj"), "default", "", context.clock.now())
            await tx.insert_project(new)
