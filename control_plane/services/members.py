"""Who is what in a project. A role counts for the next request of its user."""

import dataclasses

from control_plane import errors, ports
from control_plane.domain import paging, permissions, values
from control_plane.domain import project as rules
from control_plane.services import lists
from control_plane.services.context import Context, project_of


@dataclasses.dataclass(frozen=True, slots=True)
class View:
    """A member as its page shows it; `id` is the user's."""

    id: str
    email: str
    role: str
    created_at: values.Time


class Members:
    """The use cases of `/v1/projects/:id/members`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def list(
        self, principal: values.Principal, project: str, cursor: str | None = None, limit: int = paging.DEFAULT_LIMIT
    ) -> values.Page:
        """One page, the oldest membership first."""
        async with self._context.store.read() as tx:
            found = await project_of(tx, principal, project, "member:read")
            members = await tx.list_members(found.id)

            async def fetch(after: str | None, count: int) -> tuple[View, ...]:
                start = None if after is None else paging.split(after)
                rows = [one for one in members if start is None or (one.created_at, one.user_id) > start]
                return tuple([await _view(tx, one) for one in rows[:count]])

            rows, following = await lists.page(fetch, cursor, limit)
        return values.Page(rows, following)

    async def get(self, principal: values.Principal, project: str, user: str) -> View:
        """The membership of `user` (id or email). NotFoundError when there is none."""
        async with self._context.store.read() as tx:
            found = await project_of(tx, principal, project, "member:read")
            meant = await _find_user(tx, user)
            members = await tx.list_members(found.id)
            of = next((one for one in members if meant is not None and one.user_id == meant.id), None)
            if of is None:
                raise _missing(user, found)
            return await _view(tx, of)

    async def put(self, principal: values.Principal, project: str, user: str, role: str) -> tuple[View, bool]:
        """Give `user` (id or email) `role`; whether that made a new member."""
        permissions.checked_role(role)
        async with self._context.write() as tx:
            found = await project_of(tx, principal, project, "member:write")
            meant = await _user_of(tx, user)
            old = rules.check_membership(principal, found.id, await tx.list_members(found.id), meant.id, role)
            since = self._context.clock.now() if old is None else old.created_at
            if old is None or old.role != role:
                await tx.put_member(values.Member(found.id, meant.id, role, since))
                await self._context.audit(
                    tx,
                    principal,
                    "member.changed" if old else "member.added",
                    meant.id,
                    project=found.id,
                    summary=f"make {meant.email} {role} of project {found.name}",
                    role=role,
                    before=old.role if old else None,
                )
        return View(meant.id, meant.email, role, since), old is None

    async def remove(self, principal: values.Principal, project: str, user: str) -> None:
        """Take the membership of `user` (id or email) away."""
        async with self._context.write() as tx:
            found = await project_of(tx, principal, project, "member:write")
            meant = await _find_user(tx, user)
            members = await tx.list_members(found.id)
            old = rules.check_membership(principal, found.id, members, meant.id, None) if meant else None
            if meant is None or old is None:
                raise _missing(user, found)
            await tx.delete_member(found.id, meant.id)
            await self._context.audit(
                tx,
                principal,
                "member.removed",
                meant.id,
                project=found.id,
                summary=f"take {meant.email} ({old.role}) out of project {found.name}",
                before=old.role,
            )


def _missing(user: str, project: values.Project) -> errors.NotFoundError:
    return errors.NotFoundError(f"cannot find {user[:100]!r} among the members of project {project.name!r}")


async def _view(tx: ports.Transaction, member: values.Member) -> View:
    user = await tx.get_user(member.user_id)
    return View(member.user_id, user.email if user else "", member.role, member.created_at)


async def _find_user(tx: ports.Transaction, id_or_email: str) -> values.User | None:
    return await tx.get_user(id_or_email) or await tx.find_user(id_or_email.strip().lower())


async def _user_of(tx: ports.Transaction, id_or_email: str) -> values.User:
    found = await _find_user(tx, id_or_email)
    if found is None:
        raise errors.NotFoundError(f"cannot find user {id_or_email[:100]!r}: name one by id or email")
    return found
