"""Releases as they begin and as they are overtaken. Shared by deployments (a change) and services (another attempt)."""

import dataclasses

from control_plane import errors, ports
from control_plane.domain import paging, release, values, variables
from control_plane.services.context import Context

LOOK_BACK = 50  # releases that are looked through for a build


def first(context: Context, deployment: values.Deployment) -> values.Release:
    return _pending(context, deployment, deployment.created_at, "create")


async def service_of(tx: ports.Transaction, deployment: values.Deployment) -> values.Service:
    """The one service of `deployment`."""
    found = await tx.find_service(deployment.service_id)
    if found is None:
        raise errors.NotFoundError(f"cannot find the service of deployment {deployment.name!r}: it was just deleted")
    return found


async def release_of(tx: ports.Transaction, deployment: values.Deployment, number: int) -> values.Release:
    found = await tx.get_release(deployment.id, number)
    if found is None:
        raise errors.NotFoundError(f"cannot find release {number} of deployment {deployment.name!r}")
    return found


async def build_to_use(tx: ports.Transaction, deployment: values.Deployment, config: values.Config) -> int:
    """The release whose build `config` can run on; 0 when it must be built."""
    return variables.build_to_use(await tx.releases_below(deployment.id, None, LOOK_BACK), config)


def number_of(position: str | None) -> int | None:
    """The number in the position of a list of releases, which stand by number."""
    if position is None:
        return None
    number = paging.split(position)[1]
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise errors.InvalidError.field(
            "cannot read the cursor: use next_cursor of the page before", "cursor", "not a cursor of this list"
        )
    return int(number)


async def roll_out(
    context: Context,
    tx: ports.Transaction,
    deployment: values.Deployment,
    service: values.Service,
    config: values.Config,
    cause: str,
    build_of: int = 0,
    commit: str = "",
    archive: str = "",
) -> values.Deployment:
    """Store the next release with `config` and wish for it; an unfinished one before it is superseded.

    `build_of` is the release whose build it uses again, with that one's commit; 0 builds. A build is of `commit` if that
    is given, else of what `config` says. An uploaded source is `archive`, or that of the release before.
    """
    now = context.clock.now()
    number = deployment.release + 1
    before = await tx.get_release(deployment.id, deployment.release)
    await end_unfinished(tx, deployment, release.State.SUPERSEDED, f"release {number} took its place", now)
    changed = dataclasses.replace(
        deployment, config=config, release=number, updated_at=now, generation=deployment.generation + 1
    )
    await tx.update_deployment(changed)
    if not archive and before is not None and before.config.source == config.source:
        archive = before.archive
    new = _pending(context, changed, now, cause, archive if config.source == "local" else "")
    if commit:
        new = dataclasses.replace(new, commit=commit)
    built = await tx.get_release(deployment.id, build_of) if build_of else None
    if built is not None:
        built_of = built.build_of or build_of
        new = _without_reason(dataclasses.replace(new, build_of=built_of, commit=built.commit, archive=built.archive))
    await tx.insert_release(new)
    await tx.update_service(context.wished(service))
    return changed


async def changed(
    context: Context, tx: ports.Transaction, deployment: values.Deployment, service: values.Service
) -> values.Deployment:
    """Count the change of a deployment whose newest release was changed, and wish for it anew."""
    new = dataclasses.replace(deployment, updated_at=context.clock.now(), generation=deployment.generation + 1)
    await tx.update_deployment(new)
    await tx.update_service(context.wished(service))
    return new


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


def with_archive(waiting: values.Release, archive: str, now: values.Time) -> values.Release:
    """A release that waited for its source, now that it is there."""
    return _without_reason(dataclasses.replace(waiting, archive=archive, changed_at=now))


def _without_reason(new: values.Release) -> values.Release:
    return dataclasses.replace(new, reason="", message="")


def _pending(
    context: Context, deployment: values.Deployment, now: values.Time, cause: str, archive: str = ""
) -> values.Release:
    new = values.Release(
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
        archive=archive,
        cause=cause,
    )
    if not release.waits_for_source(new):
        return new
    message = f"waits for its source: upload it with POST /v1/deployments/{deployment.id}/source"
    return dataclasses.replace(new, reason=release.WAITS_FOR_SOURCE, message=message)
