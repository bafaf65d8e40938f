"""The way back to an earlier release: asked for, or by itself when a new one keeps crashing soon after it went live."""

import dataclasses
import datetime

from control_plane import ports
from control_plane.domain import deployment as rules
from control_plane.domain import release, values, variables
from control_plane.services import deploy_keys, env, events, releases
from control_plane.services.context import Context

SYSTEM = "system"
SOON = datetime.timedelta(minutes=10)
STAY = ("description", "labels", "placement")  # what describes the deployment


async def go_back(
    context: Context,
    tx: ports.Transaction,
    deployment: values.Deployment,
    service: values.Service,
    target: values.Release,
    actor: str,
) -> values.Deployment:
    """A new release with the configuration, environment and build of `target`; routes follow its port.

    The history of the variables names `actor`. What opens the repository stays as it is now, where it is on the same
    server still.
    """
    now = {name: getattr(deployment.config, name) for name in STAY}
    config = rules.with_access_of(deployment.config, dataclasses.replace(target.config, **now))
    config = deploy_keys.with_key(context.ids, deployment.name, config, deployment.config)
    new = await releases.roll_out(
        context, tx, deployment, service, config, "rollback", target.number, archive=target.archive
    )
    changes = variables.changes(deployment.config.env, config.env)
    await env.note_changes(context, tx, actor, service, changes, new.release)
    await follow_port(tx, service, config.port)
    await events.emit(
        context,
        tx,
        "deployment.rolled_back",
        subject=new.id,
        project=new.project_id,
        name=new.name,
        release=new.release,
        to=target.number,
    )
    return new


async def follow_port(tx: ports.Transaction, service: values.Service, port: int) -> None:
    """Routes name the declared port; when that changes they go along."""
    for route in (await tx.routes_of([service.id])).get(service.id, ()):
        if route.port != port:
            await tx.update_route(dataclasses.replace(route, port=port))


def has_failed(
    deployment: values.Deployment, service: values.Service, newest: values.Release, now: values.Time
) -> bool:
    """Does the newest release, that went live a short while ago, keep crashing where its owner wants to go back then?

    One that was itself gone back to is left as it is: the trouble lies elsewhere. So is a report of an earlier wish: what
    was changed since may have helped.
    """
    observed = service.observed
    return (
        deployment.config.auto_rollback
        and service.run is values.Run.RUNNING
        and observed.generation >= service.generation
        and observed.status == "crash_looping"
        and observed.live_release == newest.number
        and newest.cause != "rollback"
        and now - newest.changed_at <= SOON
    )


async def when_failed(context: Context, tx: ports.Transaction, service: values.Service) -> None:
    """After a report: go back by ourselves when `has_failed` says so and there is something to go back to."""
    if service.observed.status != "crash_looping":
        return
    deployment = await tx.find_deployment(service.deployment_id)
    newest = await tx.get_release(service.deployment_id, deployment.release) if deployment else None
    if deployment is None or newest is None or not has_failed(deployment, service, newest, context.clock.now()):
        return
    target = release.last_good(await tx.list_releases(deployment.id), newest.number)
    if target is None:
        return
    new = await go_back(context, tx, deployment, service, target, SYSTEM)
    await context.audit(
        tx,
        SYSTEM,
        "deployment.rolled_back",
        deployment.id,
        project=deployment.project_id,
        summary=f"release {newest.number} of {deployment.name} keeps crashing: back to {target.number}, release {new.release}",
        release=new.release,
        to=target.number,
    )
    context.wake(service.instance_id)
