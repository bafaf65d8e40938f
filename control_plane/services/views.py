"""Deployments as their page shows them: the row with its status, commit and addresses."""

import urllib.parse
from collections.abc import Sequence

from control_plane import errors, ports
from control_plane.domain import instance, release, values
from control_plane.services.context import Context

LIST_BATCH = 200
UNDER_WAY = frozenset({"pending", "building", "deploying", "deleting"})


async def load(
    context: Context, tx: ports.Transaction, deployments: Sequence[values.Deployment]
) -> tuple[values.DeploymentView, ...]:
    """The views of `deployments`, with a number of queries that does not grow with theirs."""
    newest = await tx.newest_releases([deployment.id for deployment in deployments])
    service_ids = [deployment.service_id for deployment in deployments]
    services, routes = await tx.services_by_id(service_ids), await tx.routes_of(service_ids)
    away = await _away(context, tx, {service.instance_id for service in services.values()})
    known = await tx.projects_by_id({deployment.project_id for deployment in deployments})
    projects = {project.id: project.name for project in known.values()}
    return tuple(
        view(
            deployment,
            projects.get(deployment.project_id, ""),
            services[deployment.service_id],
            newest[deployment.id],
            tuple(address(context.proxy_url, route) for route in routes.get(deployment.service_id, ())),
            away.get(services[deployment.service_id].instance_id, ""),
        )
        for deployment in deployments
    )


async def load_one(context: Context, tx: ports.Transaction, deployment: values.Deployment) -> values.DeploymentView:
    return (await load(context, tx, [deployment]))[0]


async def _away(context: Context, tx: ports.Transaction, instance_ids: set[str]) -> dict[str, str]:
    """The names of those instances that are not connected now."""
    found = [host for one in instance_ids if (host := await tx.find_instance(one)) is not None]
    now = context.clock.now()
    return {host.id: host.name for host in found if not instance.is_online(host, now)}


def view(
    deployment: values.Deployment,
    project: str,
    service: values.Service,
    newest: values.Release,
    urls: tuple[str, ...],
    away: str = "",
) -> values.DeploymentView:
    """The projection. `status_reason` is the release's own sentence, or what the service says now, or for whom it waits.

    `away` names the instance when it is not connected.
    """
    status = release.public_status(service.run, release.State(newest.state))
    reason = newest.message or newest.reason if status in {"failed", "cancelled"} else service.observed.message
    if away and status in UNDER_WAY:
        reason = f"waits for instance {away}, which is not connected"
    return values.DeploymentView(
        deployment=deployment,
        project=project,
        status=status,
        status_reason=reason,
        live_release=service.observed.live_release or None,
        commit=newest.commit or newest.config.commit,
        urls=urls,
    )


def address(proxy_url: str, route: values.Route) -> str:
    """Where a browser finds the route: the proxy's scheme and port with the route's domain and path."""
    base = urllib.parse.urlsplit(proxy_url)
    default = {"http": 80, "https": 443}.get(base.scheme)
    port = "" if base.port in {None, default} else f":{base.port}"
    return f"{base.scheme}://{route.domain}{port}{route.path}"


def checked_status(status: str | None) -> str | None:
    if status is not None and status not in release.STATUSES:
        raise errors.InvalidError.field(
            f"cannot list by status {status!r}", "status", "unknown status", supported=sorted(release.STATUSES)
        )
    return status
