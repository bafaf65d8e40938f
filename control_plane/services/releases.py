"""Releases as they begin and as they are overtaken. Shared by deployments (a change) and services (another attempt)."""

import dataclasses

from control_plane import errors, ports
from control_plane.domain import release, values
from control_plane.services.context import Context


def first(context: Context, deployment: values.Deployment) -> values.Release:
    return _pending(context, deployment, deployment.created_at, "create")


async def service_of(tx: ports.Transaction, deployment: values.Deployment) -> values.Service:
    """The one service of `deployment`."""
    found = await tx.find_service(deployment.service_id)
    if found is None:
        raise errors.NotFoundError(f"cannot find the service of deployment {deployment.name!r}: it was just deleted")
    return found


async def roll_out(
    context: Context,
    tx: ports.Transaction,
    deployment: values.Deployment,
    service: values.Service,
    config: values.Config,
    cause: str,
    build_of: int = 0,
) -> values.Deployment:
    """Store the next release with `config` and wish for it; an unfinished one before it is superseded.

    `build_of` is the release whose build it uses again, with that one's commit; 0 builds.
    """
    now = context.clock.now()
    number = deployment.release + 1
    await end_unfinished(tx, deployment, release.State.SUPERSEDED, f"release {number} took its place", now)
    changed = dataclasses.replace(
        deployment, config=config, release=number, updated_at=now, generation=deployment.generation + 1
    )
    await tx.update_deployment(changed)
    new = _pending(context, changed, now, cause)
    built = await tx.get_release(deployment.id, build_of) if build_of else None
    if built is not None:
        new = dataclasses.replace(new, build_of=built.build_of or build_of, commit=built.commit, archive=built.archive)
    await tx.insert_release(new)
    await tx.update_service(dataclasses.replace(service, generation=service.generation + 1, updated_at=now))
    return changed


async def end_unfinished(
    tx: ports.Transaction, deployment: values.Deployment, state: release.State, message: str, now: values.Time
) -> None:
    """Give up the newest release unless it is finished; older ones were when it began."""
    newest = await tx.get_release(deployment.id, deployment.release)
    if newest is None or release.State(newest.state) not in release.UNFINISHED:
        return
    ended = release.next_state(release.State(newest.state), state)
    await tx.update_release(
        dataclasses.replace(newest, state=ended.value, reason=state.value, message=message, changed_at=now)
    )


def _pending(context: Context, deployment: values.Deployment, now: values.Time, cause: str) -> values.Release:
    return values.Release(
        id=context.ids.new("rel"),
        deployment_id=deployment.id,
        number=deployment.release,
        config=deployment.config,
        commit=deployment.config.commit,
        state=release.State.PENDING.value,
        reason="",
        message="",
        created_at=now,
        changed_at=now,
        cause=cause,
    )
