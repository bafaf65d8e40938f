"""Projects: what deployments belong to, and what roles are given in."""

import dataclasses

from control_plane import errors, ports
from control_plane.domain import paging, permissions, values
from control_plane.domain import project as rules
from control_plane.services import lists, releases, removal
from control_plane.services.context import Context, project_of

BATCH = 200


class Projects:
    """The use cases of `/v1/projects`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def list(
        self,
        principal: values.Principal,
        name: str | None = None,
        cursor: str | None = None,
        limit: int = paging.DEFAULT_LIMIT,
    ) -> values.Page:
        """Those that the principal can see, oldest first."""
        visible = permissions.visible(principal, "project:read")
        async with self._context.store.read() as tx:
            rows, following = await lists.page(
                lambda after, count: tx.list_projects(visible, name, after, count), cursor, limit
            )
        return values.Page(rows, following)

    async def get(self, principal: values.Principal, id_or_name: str) -> values.Project:
        async with self._context.store.read() as tx:
            return await project_of(tx, principal, id_or_name, "project:read")

    async def create(self, principal: values.Principal, name: str, description: str = "") -> values.Project:
        """Make a project, whose owner is the caller. ConflictError when the name is taken."""
        permissions.demand(principal, "project:create")
        rules.check(name, description)
        now = self._context.clock.now()
        new = values.Project(self._context.ids.new("prj"), name, description, now, 1, now)
        async with self._context.write() as tx:
            if not await tx.insert_project(new):
                raise await _name_taken(tx, principal, name)
            await tx.put_member(values.Member(new.id, principal.user_id, rules.OWNER, now))
            await self._context.audit(
                tx,
                principal,
                "project.created",
                new.id,
                project=new.id,
                summary=f"create project {name}, owned by {principal.email}",
                name=name,
            )
        return new

    async def update(
        self, principal: values.Principal, id_or_name: str, name: str | None = None, description: str | None = None
    ) -> values.Project:
        """Change what is given. Nothing is written when it is as it was. ConflictError when the name is taken."""
        async with self._context.write() as tx:
            old = await project_of(tx, principal, id_or_name, "project:write")
            self._context.match(old.generation)
            wanted = dataclasses.replace(
                old,
                name=old.name if name is None else name,
                description=old.description if description is None else description,
            )
            rules.check(wanted.name, wanted.description)
            changed = [field for field in ("name", "description") if getattr(old, field) != getattr(wanted, field)]
            if not changed:
                return old
            _refuse_change(old, wanted)
            new = dataclasses.replace(wanted, generation=old.generation + 1, updated_at=self._context.clock.now())
            if not await tx.update_project(new):
                raise await _name_taken(tx, principal, new.name)
            await self._context.audit(
                tx,
                principal,
                "project.updated",
                old.id,
                project=old.id,
                summary=f"change {' and '.join(changed)} of project {old.name}",
                before={field: getattr(old, field) for field in changed},
                after={field: getattr(new, field) for field in changed},
            )
        return new

    async def delete(
        self, principal: values.Principal, id_or_name: str, *, force: bool = False
    ) -> values.Project | None:
        """Take an empty project away: None. One with deployments only by `force`: they get their tombstones now.

        That project stays, marked as `deleting`, until the last of them is gone. Again on it: the same answer.
        """
        async with self._context.write() as tx:
            found = await project_of(tx, principal, id_or_name, "project:delete")
            self._context.match(found.generation)
            if found.name == rules.DEFAULT:
                raise errors.ConflictError("cannot delete project 'default': every installation has it")
            if found.deleting:
                return found
            await self._refuse_full(tx, found, force=force)
            marked = await self._mark(tx, principal, found)
            for deployment in await _deployments(tx, found.id):
                service = await releases.service_of(tx, deployment)
                if service.run is not values.Run.REMOVED:
                    await removal.put_tombstone(self._context, tx, principal, deployment, service)
            return None if await removal.end_project(self._context, tx, found.id, principal) else marked

    async def _refuse_full(self, tx: ports.Transaction, found: values.Project, *, force: bool) -> None:
        inside = await tx.list_deployments({found.id}, None, None, 5)
        if inside and not force:
            names = ", ".join(one.name for one in inside)
            raise errors.ConflictError(
                f"cannot delete project {found.name!r}: it is not empty ({names}); delete them, or repeat with ?force=true",
                {"deployments": [one.id for one in inside]},
            )

    async def _mark(self, tx: ports.Transaction, principal: values.Principal, found: values.Project) -> values.Project:
        now = self._context.clock.now()
        marked = dataclasses.replace(found, deleting=True, generation=found.generation + 1, updated_at=now)
        await tx.update_project(marked)
        await self._context.audit(
            tx,
            principal,
            "project.deleted",
            found.id,
            project=found.id,
            summary=f"delete project {found.name} with all that is in it",
            name=found.name,
        )
        return marked


def _refuse_change(old: values.Project, new: values.Project) -> None:
    if old.deleting:
        raise errors.ConflictError(f"cannot change project {old.name!r}: it is being deleted", {"id": old.id})
    if old.name == rules.DEFAULT and new.name != old.name:
        raise errors.ConflictError("cannot rename project 'default': it is meant where none is named")


async def _deployments(tx: ports.Transaction, project_id: str) -> tuple[values.Deployment, ...]:
    found: list[values.Deployment] = []
    while True:
        after = paging.position(found[-1].created_at, found[-1].id) if found else None
        rows = await tx.list_deployments({project_id}, None, after, BATCH)
        found += rows
        if len(rows) < BATCH:
            return tuple(found)


async def _name_taken(tx: ports.Transaction, principal: values.Principal, name: str) -> errors.ConflictError:
    """Who cannot see the other project learns no more than that."""
    taken = await tx.find_project(name)
    seen = taken is not None and permissions.can_see(principal, taken.id)
    details = {"field": "name", "issue": "taken", **({"id": taken.id} if taken is not None and seen else {})}
    return errors.ConflictError(f"cannot call a project {name!r}: the name is taken; choose another one", details)
