"""How deployments go, and projects with them: a tombstone first, the rows when the agents have confirmed."""

import dataclasses

from control_plane import ports
from control_plane.domain import release, values
from control_plane.services import events, releases
from control_plane.services.context import Context


async def put_tombstone(
    context: Context,
    tx: ports.Transaction,
    principal: values.Principal,
    found: values.Deployment,
    service: values.Service,
) -> values.Deployment:
    """Wish the deployment gone: no route leads to it from now on, and its agent stops and forgets it."""
    now = context.clock.now()
    routes = (await tx.routes_of([service.id])).get(service.id, ())
    for route in routes:
        await tx.delete_route(route.id)
        about = {"domain": route.domain, "path": route.path, "service": service.id}
        await events.emit(context, tx, "route.deleted", subject=route.id, project=route.project_id, **about)
    await releases.end_unfinished(tx, found, release.State.CANCELLED, "the deployment is being deleted", now)
    await tx.update_service(context.wished(service, run=values.Run.REMOVED))
    marked = dataclasses.replace(found, generation=found.generation + 1, updated_at=now)
    await tx.update_deployment(marked)
    await context.audit(
        tx,
        principal,
        "deployment.deleted",
        found.id,
        project=found.project_id,
        summary=f"delete deployment {found.name} with its routes",
        name=found.name,
        routes=[f"{route.domain}{route.path}" for route in routes],
    )
    context.wake(service.instance_id)
    return marked


async def end_project(context: Context, tx: ports.Transaction, project_id: str, actor: values.Principal | str) -> bool:
    """Take the rows of a project away that is being deleted, once nothing is deployed in it; whether they are gone."""
    found = (await tx.projects_by_id([project_id])).get(project_id)
    if found is None or not found.deleting or await tx.list_deployments({project_id}, None, None, 1):
        return False
    await tx.delete_project(project_id)
    await context.audit(
        tx,
        actor,
        "project.removed",
        project_id,
        project=project_id,
        summary=f"remove project {found.name}: nothing is deployed in it any more",
        name=found.name,
    )
    return True
