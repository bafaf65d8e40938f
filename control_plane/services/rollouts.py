"""What is done to a deployment without declaring it anew: deploy again, go back, give up, take an uploaded source."""

import dataclasses

from control_plane import errors, ports
from control_plane.domain import grammar, release, values, variables
from control_plane.services import env, events, going_back, releases, views
from control_plane.services.archives import Archives
from control_plane.services.context import Context, deployment_of


class Rollouts:
    """The base of Deployments: `changeable`, and the use cases that make or end a release of what is declared."""

    def __init__(self, context: Context, archives: Archives | None = None) -> None:
        self._context = context
        self._archives = archives or Archives(context)

    async def redeploy(self, principal: values.Principal, id_or_name: str, commit: str = "") -> values.DeploymentView:
        """Another release as declared: from what the branch is now, from `commit`, or of the source uploaded last."""
        async with self._context.write() as tx:
            old, service = await self.changeable(tx, principal, id_or_name)
            _check_commit(old, commit)
            new = await releases.roll_out(
                self._context, tx, old, service, old.config, "redeploy", commit=commit.lower()
            )
            words = f"deploy {old.name} again{f' from {commit}' if commit else ''}: release {new.release}"
            await self._note(tx, principal, "deployment.redeployed", new, words, commit=commit)
            view = await views.load_one(self._context, tx, new)
        self._context.wake(service.instance_id)
        return view

    async def rollback(
        self, principal: values.Principal, id_or_name: str, number: int | None = None
    ) -> values.DeploymentView:
        """A new release with the configuration, environment and build of release `number`, or of the last good one.

        ConflictError when there is nothing to go back to. What only describes the deployment, and what opens its
        repository, stay as they are.
        """
        async with self._context.write() as tx:
            old, service = await self.changeable(tx, principal, id_or_name)
            target = await _target(tx, old, service, number)
            await _demand_source(tx, old, target)
            new = await going_back.go_back(self._context, tx, old, service, target, principal.user_id)
            words = f"roll {old.name} back to release {target.number}: release {new.release}"
            await self._note(tx, principal, "deployment.rolled_back", new, words, to=target.number)
            view = await views.load_one(self._context, tx, new)
        self._context.wake(service.instance_id)
        return view

    async def cancel(self, principal: values.Principal, id_or_name: str) -> values.DeploymentView:
        """Give the unfinished release up; its instance is told. Again on a cancelled one: the same answer."""
        async with self._context.write() as tx:
            old, service = await self.changeable(tx, principal, id_or_name)
            newest = await tx.get_release(old.id, old.release)
            if newest is not None and release.State(newest.state) is not release.State.CANCELLED:
                _check_unfinished(old, newest)
                old = await self._give_up(tx, principal, old, service)
            view = await views.load_one(self._context, tx, old)
        self._context.wake(service.instance_id)
        return view

    async def pin(self, principal: values.Principal, id_or_name: str, number: int, *, pinned: bool) -> values.Release:
        """Keep release `number` with its build for good, or no longer. ConflictError for one too many, or never built."""
        async with self._context.write() as tx:
            old, service = await self.changeable(tx, principal, id_or_name)
            found = await releases.release_of(tx, old, number)
            if found.pinned == pinned:
                return found
            if pinned:
                await _check_pin(tx, old, found)
            changed = dataclasses.replace(found, pinned=pinned)
            await tx.update_release(changed)
            new = await releases.changed(self._context, tx, old, service)
            verb = "pinned" if pinned else "unpinned"
            await self._note(
                tx, principal, f"release.{verb}", new, f"{verb} release {number} of {old.name}", number=number
            )
        self._context.wake(service.instance_id)
        return changed

    async def expect_source(self, principal: values.Principal, id_or_name: str) -> None:
        """Raises what `upload` would: asked before the archive is read."""
        async with self._context.store.read() as tx:
            found = await deployment_of(tx, principal, id_or_name, "deployment:write")
            _check_local(found)

    async def upload(self, principal: values.Principal, id_or_name: str, archive: str) -> values.DeploymentView:
        """`archive` is the source: of the release that waits for it, else of a new one.

        ConflictError when its project keeps too much already.
        """
        async with self._context.write() as tx:
            old, service = await self.changeable(tx, principal, id_or_name)
            _check_local(old)
            newest = await tx.get_release(old.id, old.release)
            if newest is not None and _waits(newest):
                new = await self._supply(tx, old, service, newest, archive)
            else:
                new = await releases.roll_out(self._context, tx, old, service, old.config, "upload", archive=archive)
            await self._archives.demand_room(tx, old.project_id)
            words = f"upload the source of {old.name}: release {new.release}"
            await self._note(tx, principal, "deployment.uploaded", new, words, archive=archive)
            view = await views.load_one(self._context, tx, new)
        self._context.wake(service.instance_id)
        return view

    async def changeable(
        self, tx: ports.Transaction, principal: values.Principal, id_or_name: str, permission: str = "deployment:write"
    ) -> tuple[values.Deployment, values.Service]:
        """The deployment in the wanted generation, and its service; ConflictError when they are going already."""
        found = await deployment_of(tx, principal, id_or_name, permission)
        self._context.match(found.generation)
        service = await releases.service_of(tx, found)
        if service.run is values.Run.REMOVED:
            raise errors.ConflictError(
                f"cannot change deployment {found.name!r}: it is being deleted", {"id": found.id}
            )
        return found, service

    async def _give_up(
        self, tx: ports.Transaction, principal: values.Principal, old: values.Deployment, service: values.Service
    ) -> values.Deployment:
        now = self._context.clock.now()
        await releases.end_unfinished(tx, old, release.State.CANCELLED, f"cancelled by {principal.email}", now)
        new = await releases.changed(self._context, tx, old, service)
        await self._note(tx, principal, "deployment.cancelled", new, f"cancel release {old.release} of {old.name}")
        await self._emit(tx, "deployment.cancelled", new, release=old.release)
        return new

    async def _supply(
        self,
        tx: ports.Transaction,
        old: values.Deployment,
        service: values.Service,
        newest: values.Release,
        archive: str,
    ) -> values.Deployment:
        now = self._context.clock.now()
        await tx.update_release(releases.with_archive(newest, archive, now))
        return await releases.changed(self._context, tx, old, service)

    async def _note_env(
        self,
        tx: ports.Transaction,
        principal: values.Principal,
        service: values.Service,
        before: values.Config | None,
        after: values.Deployment,
    ) -> None:
        """Write the history of the variables that a change of the whole declaration changed."""
        changes = variables.changes(before.env if before is not None else (), after.config.env)
        await env.note_changes(self._context, tx, principal.user_id, service, changes, after.release)

    async def _note(
        self,
        tx: ports.Transaction,
        principal: values.Principal,
        action: str,
        about: values.Deployment,
        summary: str,
        **data: object,
    ) -> None:
        await self._context.audit(
            tx,
            principal,
            action,
            about.id,
            project=about.project_id,
            summary=summary,
            release=about.release,
            **{key: value for key, value in data.items() if value},
        )

    async def _emit(self, tx: ports.Transaction, name: str, about: values.Deployment, **data: object) -> None:
        await events.emit(self._context, tx, name, subject=about.id, project=about.project_id, name=about.name, **data)


async def _check_pin(tx: ports.Transaction, old: values.Deployment, wanted: values.Release) -> None:
    if release.State(wanted.state) not in release.GOOD:
        raise errors.ConflictError(
            f"cannot pin release {wanted.number} of {old.name!r}: it was never live", {"release": wanted.number}
        )
    pinned = (await tx.pinned_releases([old.id])).get(old.id, ())
    if len(pinned) >= release.MAX_PINNED:
        raise errors.ConflictError(
            f"cannot pin another release of {old.name!r}: {release.MAX_PINNED} are; unpin one first",
            {"pinned": [number for number, _ in pinned]},
        )


async def _target(
    tx: ports.Transaction, old: values.Deployment, service: values.Service, number: int | None
) -> values.Release:
    live = service.observed.live_release
    if number is None:
        found = release.last_good(await tx.list_releases(old.id), live)
        if found is None:
            issue = f"no release before {live} was ever live" if live else "no release of it was ever live"
            raise errors.ConflictError(f"cannot roll back deployment {old.name!r}: {issue}", {"id": old.id})
        return found
    chosen = await tx.get_release(old.id, number)
    if chosen is None:
        raise errors.NotFoundError(f"cannot find release {number} of deployment {old.name!r}")
    if number == live:
        raise errors.ConflictError(
            f"cannot roll back deployment {old.name!r}: release {number} is live already", {"release": number}
        )
    if release.State(chosen.state) not in release.GOOD:
        raise errors.ConflictError(
            f"cannot roll back deployment {old.name!r}: release {number} was never live, it is {chosen.state}",
            {"release": number, "state": chosen.state},
        )
    return chosen


async def _demand_source(tx: ports.Transaction, old: values.Deployment, target: values.Release) -> None:
    """Its build may be gone from the instance, and could not be made again."""
    if target.archive and target.archive not in await tx.archives_in_use(old.project_id):
        raise errors.ConflictError(
            f"cannot roll back deployment {old.name!r}: the source of release {target.number} is not kept any more; "
            "upload it again",
            {"release": target.number},
        )


def _check_unfinished(old: values.Deployment, newest: values.Release) -> None:
    state = release.State(newest.state)
    if state in release.UNFINISHED:
        return
    why = "it is live already; roll back instead" if state in release.GOOD else f"it has ended already: {state.value}"
    raise errors.ConflictError(
        f"cannot cancel release {newest.number} of deployment {old.name!r}: {why}",
        {"release": newest.number, "state": state.value},
    )


def _check_commit(old: values.Deployment, commit: str) -> None:
    issue = grammar.commit_issue(commit)
    if commit and old.config.source != "remote":
        issue = f"has no use with the source {old.config.source}; leave it out"
    if issue:
        raise errors.InvalidError.field(f"cannot deploy {old.name!r} again: commit: {issue}", "commit", issue)


def _check_local(found: values.Deployment) -> None:
    if found.config.source != "local":
        raise errors.ConflictError(
            f"cannot upload a source: deployment {found.name!r} is of a repository; change its source to local first",
            {"id": found.id, "source": found.config.source},
        )


def _waits(newest: values.Release) -> bool:
    return release.waits_for_source(newest) and release.State(newest.state) is release.State.PENDING
