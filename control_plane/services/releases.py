"""Releases as they begin and as they are overtaken. Shared by deployments (a change) and services (another attempt)."""

import dataclasses

from control_plane import ports
from control_plane.domain import release, values
from control_plane.services.context import Context


def first(context: Context, deployment: values.Deployment) -> values.Release:
    return _pending(context, deployment, deployment.created_at)


async def roll_out(
    context: Context,
    tx: ports.Transaction,
    deployment: values.Deployment,
    service: values.Service,
    config: values.Config,
) -> values.Deployment:
    """Store the next release with `config` and wish for it; an unfinished one before it is superseded."""
    now = context.clock.now()
    number = deployment.release + 1
    await end_unfinished(tx, deployment, release.State.SUPERSEDED, f"release {number} took its place", now)
    changed = dataclasses.replace(deployment, config=config, release=number, updated_at=now)
    await tx.update_deployment(changed)
    await tx.insert_release(_pending(context, changed, now))
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


def _pending(context: Context, deployment: values.Deployment, now: values.Time) -> values.Release:
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
    )
