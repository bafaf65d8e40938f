"""Deployments as their page shows them: the row with its status, commit and addresses."""

import urllib.parse
from collections.abc import Sequence

from control_plane import errors, ports
from control_plane.domain import abilities, instance, release, values
from control_plane.domain import deployment as rules
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
    hosts = {one: await tx.find_instance(one) for one in {service.instance_id for service in services.values()}}
    known = await tx.projects_by_id({deployment.project_id for deployment in deployments})
    projects = {project.id: project.name for project in known.values()}
    now = context.clock.now()
    return tuple(
        view(
            deployment,
            projects.get(deployment.project_id, ""),
            services[deployment.service_id],
            newest[deployment.id],
            tuple(address(context.proxy_url, route) for route in routes.get(deployment.service_id, ())),
            hosts.get(services[deployment.service_id].instance_id),
            now,
        )
        for deployment in deployments
    )


async def load_one(context: Context, tx: ports.Transaction, deployment: values.Deployment) -> values.DeploymentView:
    return (await load(context, tx, [deployment]))[0]


def view(
    deployment: values.Deployment,
    project: str,
    service: values.Service,
    newest: values.Release,
    urls: tuple[str, ...],
    host: values.Instance | None,
    now: values.Time,
) -> values.DeploymentView:
    """The projection. `status_reason` is the release's own sentence, or what the service says now, or what it waits for."""
    status = release.public_status(service.run, release.State(newest.state))
    reason = service.observed.message
    if status in {"failed", "cancelled"}:
        reason = newest.message or newest.reason
    elif status == "pending" and newest.message:
        reason = newest.message
    elif host is not None and status in UNDER_WAY and not instance.is_online(host, now):
        reason = f"waits for instance {host.name}, which is not connected"
    return values.DeploymentView(
        deployment=deployment,
        project=project,
        status=status,
        status_reason=reason,
        live_release=service.observed.live_release or None,
        commit=newest.commit or newest.config.commit,
        urls=urls,
        instance_id=service.instance_id,
        pending_changes=rules.needs_release(newest.config, deployment.config),
        warnings=_warnings(deployment.config, host),
        decided=newest.decided,
    )


def _warnings(config: values.Config, host: values.Instance | None) -> tuple[str, ...]:
    """What is declared and has no effect where it runs."""
    ignored = abilities.unenforced(abilities.of(host), config.resources) if host is not None else []
    return (f"instance {host.name} does not enforce {', '.join(ignored)}",) if host is not None and ignored else ()


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
