"""People of the installation: who there is, made, changed and removed by operators.

There is always an operator who can log in. What was changed acts at once: logins of who was disabled, or got another
password, end in the same transaction.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

from control_plane import errors, ports
from control_plane.domain import permissions, person, values
from control_plane.services import lists
from control_plane.services.context import Context
from control_plane.services.passwords import Passwords
from control_plane.services.sessions import demand_login


@dataclasses.dataclass(frozen=True, slots=True)
class NewUser:
    email: str
    password: str = dataclasses.field(repr=False)
    operator: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class UserChanges:
    """None leaves a field as it is."""

    email: str | None = None
    operator: bool | None = None
    disabled: bool | None = None
    password: str | None = dataclasses.field(default=None, repr=False)


class Users:
    """See the module."""

    def __init__(self, context: Context, passwords: Passwords) -> None:
        self._context = context
        self._passwords = passwords

    async def list(
        self, principal: values.Principal, email: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> values.Page:
        """Oldest first; with `email` the one who has it, if anybody."""
        permissions.demand(principal, "user:read")
        async with self._context.store.read() as tx:
            if email is not None:
                found = await tx.find_user(person.normal(email))
                return values.Page((found,) if found else (), None)
            return values.Page(*await lists.page(tx.list_users, cursor, limit))

    async def get(self, principal: values.Principal, user_id: str) -> values.User:
        permissions.demand(principal, "user:read")
        async with self._context.store.read() as tx:
            return await _user_of(tx, user_id)

    async def create(self, principal: values.Principal, new: NewUser) -> values.User:
        """An account that can log in at once. ConflictError when the address has one."""
        permissions.demand(principal, "user:write")
        if new.operator:
            demand_login(principal, "make an operator")
        person.checked(new.email, new.password)
        hashed = await self._passwords.hash(new.password)
        now = self._context.clock.now()
        user = values.User(
            self._context.ids.new("usr"), person.normal(new.email), hashed, new.operator, now, updated_at=now
        )
        async with self._context.write() as tx:
            if not await tx.insert_user(user):
                raise await _taken(tx, user.email)
            said = f"{user.email} is made{' an operator' if user.operator else ''}"
            await self._audit(tx, principal, "user.created", user, said, operator=user.operator)
        return user

    async def update(self, principal: values.Principal, user_id: str, changes: UserChanges) -> values.User:
        """The user after `changes`; nothing is written when there are none. ConflictError for the last operator."""
        permissions.demand(principal, "user:write")
        if changes.password is not None or changes.operator:
            demand_login(principal, "set passwords or make operators")
        person.checked(changes.email, changes.password)
        hashed = await self._passwords.hash(changes.password) if changes.password is not None else None
        async with self._context.write() as tx:
            old = await _user_of(tx, user_id)
            self._context.match(old.generation)
            new = _changed(old, changes, hashed)
            return old if new == old else await self._store(tx, principal, old, new)

    async def delete(self, principal: values.Principal, user_id: str) -> None:
        """With the user's logins, tokens and memberships. Projects that lose their last owner stay with the operators."""
        permissions.demand(principal, "user:write")
        async with self._context.write() as tx:
            user = await _user_of(tx, user_id)
            self._context.match(user.generation)
            await _keep_an_operator(tx, user, None)
            alone = await _owned_alone(tx, user.id)
            await tx.delete_user(user.id)
            said = f"{user.email} is removed"
            if alone:
                said += f"; {len(alone)} projects have no owner now and are the operators'"
            await self._audit(tx, principal, "user.deleted", user, said, projects_without_owner=list(alone))

    async def _store(
        self, tx: ports.Transaction, principal: values.Principal, old: values.User, new: values.User
    ) -> values.User:
        now = self._context.clock.now()
        await _keep_an_operator(tx, old, new)
        if new.email != old.email and await tx.find_user(new.email) is not None:
            raise await _taken(tx, new.email)
        stored = dataclasses.replace(new, generation=old.generation + 1, updated_at=now)
        ends_logins = new.disabled or new.password_hash != old.password_hash
        if ends_logins:
            stored = dataclasses.replace(stored, valid_from=now.timestamp())
            await tx.revoke_families(old.id)
        await tx.update_user(stored)
        changed = _differences(old, new)
        said = f"{old.email}: {', '.join(sorted(changed))} changed{'; all logins ended' if ends_logins else ''}"
        await self._audit(tx, principal, "user.updated", stored, said, **changed)
        return stored

    async def _audit(
        self, tx: ports.Transaction, principal: values.Principal, action: str, user: values.User, said: str, **data: Any
    ) -> None:
        await self._context.audit(tx, principal, action, user.id, summary=said, email=user.email, **data)


def _changed(old: values.User, changes: UserChanges, hashed: str | None) -> values.User:
    return dataclasses.replace(
        old,
        email=old.email if changes.email is None else person.normal(changes.email),
        operator=old.operator if changes.operator is None else changes.operator,
        disabled=old.disabled if changes.disabled is None else changes.disabled,
        password_hash=hashed or old.password_hash,
    )


def _differences(old: values.User, new: values.User) -> dict[str, Any]:
    """What changed, for the audit: the new values, and of a password that it is another one."""
    fields = {"new_email": "email", "operator": "operator", "disabled": "disabled"}
    found = {name: getattr(new, field) for name, field in fields.items() if getattr(new, field) != getattr(old, field)}
    return {**found, **({"password": "replaced"} if new.password_hash != old.password_hash else {})}


async def _user_of(tx: ports.Transaction, user_id: str) -> values.User:
    """By id, or by email."""
    found = await tx.get_user(user_id) or await tx.find_user(person.normal(user_id))
    if found is None:
        raise errors.NotFoundError(f"cannot find user {user_id[:100]!r}; list them with GET /v1/users")
    return found


async def _taken(tx: ports.Transaction, email: str) -> errors.ConflictError:
    other = await tx.find_user(email)
    return errors.ConflictError(
        f"cannot use {email}: another account has this address", {"id": other.id if other else ""}
    )


async def _keep_an_operator(tx: ports.Transaction, old: values.User, new: values.User | None) -> None:
    """ConflictError when nobody could administer the installation afterwards."""
    counts = old.operator and not old.disabled
    still = new is not None and new.operator and not new.disabled
    if counts and not still and await tx.count_operators() <= 1:
        raise errors.ConflictError(f"cannot do without {old.email}: it is the last operator; make another one first")


async def _owned_alone(tx: ports.Transaction, user_id: str) -> Sequence[str]:
    """The projects of which that user is the only owner."""
    owned = [project for project, role in (await tx.roles_of(user_id)).items() if role == "owner"]
    return [
        project
        for project in owned
        if [one.user_id for one in await tx.list_members(project) if one.role == "owner"] == [user_id]
    ]
