"""Accounts: the first operator, passwords, logins, and what a user may do."""

import dataclasses

from control_plane import errors
from control_plane.domain import person, values
from control_plane.services.context import Context
from control_plane.services.passwords import Passwords
from control_plane.services.sessions import Sessions, demand_login
from control_plane.services.setup import Setup
from control_plane.services.signing import Signing

PEPPER = "pepper"
SYSTEM = values.Principal("system", "")


class Accounts:
    """Used by the views of auth, by the authentication of every request, and at the first start.

    `passwords` is the only way to argon2 in this process: at most two hashes at once, whoever asks.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._pepper = b""
        self.passwords = Passwords()
        self.sessions = Sessions(context)
        self.signing = Signing(context)
        self.setup = Setup(context, self.passwords)

    async def has_admin(self) -> bool:
        return await self.setup.look()

    async def ensure_admin(self, email: str, password: str) -> bool:
        """Make the first operator; False, and nothing changed, when there is a user already."""
        if await self.has_admin():
            return False
        person.checked(email, password)
        hashed = await self.passwords.hash(password)
        address = person.normal(email)
        now = self._context.clock.now()
        new = values.User(self._context.ids.new("usr"), address, hashed, operator=True, created_at=now, updated_at=now)
        async with self._context.write() as tx:
            if await tx.count_users() or not await tx.insert_user(new):
                return False
            await self._context.audit(tx, SYSTEM, "user.created", new.id, email=address, operator=True)
        return True

    async def login(self, caller: values.Principal, email: str, password: str) -> values.Family:
        """A new login for that email and password. `caller` says from where. UnauthenticatedError; both are audited."""
        try:
            user = await self.verify(email, password)
        except errors.UnauthenticatedError:
            await self.refused(caller, "auth.login_refused", "a login was refused", email=email[: person.MAX_EMAIL])
            raise
        known = dataclasses.replace(caller, user_id=user.id, email=user.email)
        async with self._context.write() as tx:
            family = await self.sessions.begin(tx, user.id)
            await self._context.audit(tx, known, "auth.login", family.id, summary="logged in")
        return family

    async def verify(self, email: str, password: str) -> values.User:
        """The user of that password. One UnauthenticatedError for unknown, disabled and wrong, after equal work."""
        async with self._context.store.read() as tx:
            user = await tx.find_user(person.normal(email))
        usable = user if user is not None and not user.disabled and len(password) <= person.MAX_PASSWORD else None
        stored = usable.password_hash if usable else None
        matches = await self.passwords.verify(stored, password[: person.MAX_PASSWORD])
        if usable is None or not matches:
            raise errors.UnauthenticatedError("cannot log in: the email or the password is wrong")
        if self.passwords.is_outdated(usable.password_hash):
            await self._rehash(usable, password)
        return usable

    async def change_password(self, principal: values.Principal, current: str, new: str) -> None:
        """A new password; every other login of the user ends, the calling one goes on. Personal tokens stay."""
        demand_login(principal, "change the password")
        person.checked(password=new, password_field="new")  # noqa: S106 - a field's name
        async with self._context.store.read() as tx:
            user = await tx.get_user(principal.user_id)
        if user is None or not await self.passwords.verify(user.password_hash, current[: person.MAX_PASSWORD]):
            await self.refused(principal, "auth.password_refused", "a change of the password was refused")
            raise errors.InvalidError.field(
                "cannot change the password: the current one is wrong", "current", "is wrong"
            )
        hashed = await self.passwords.hash(new)
        async with self._context.write() as tx:
            now = await tx.get_user(user.id)
            if now is None or now.password_hash != user.password_hash:
                raise errors.ConflictError("cannot change the password: it was changed just now; log in again")
            await tx.update_user(
                dataclasses.replace(
                    now, password_hash=hashed, generation=now.generation + 1, updated_at=self._context.clock.now()
                )
            )
            await tx.revoke_families(user.id, but=principal.family)
            said = "changed the password; all other logins ended"
            await self._context.audit(tx, principal, "auth.password_changed", user.id, summary=said)

    async def refused(self, caller: values.Principal, action: str, said: str, **data: str) -> None:
        """An audit row for something that was refused, in a transaction of its own: the refusal undoes nothing of it."""
        async with self._context.store.write() as tx:
            await self._context.audit(tx, caller, action, caller.user_id, summary=said, **data)

    async def principal(self, user_id: str) -> values.Principal:
        """Who that user is now, with its roles; UnauthenticatedError when unknown or disabled."""
        async with self._context.store.read() as tx:
            user = await tx.get_user(user_id)
            roles = await tx.roles_of(user_id)
        if user is None or user.disabled:
            raise errors.UnauthenticatedError("cannot act for this account: it does not exist or is disabled")
        return values.Principal(user.id, user.email, user.operator, roles)

    async def signing_key(self) -> tuple[str, str]:
        """(key id, secret) that signs now."""
        newest = (await self.signing.keys())[-1]
        return newest.kid, newest.secret

    async def pepper(self) -> bytes:
        """The installation's key for digests of what clients send. Made on first use, and never changed."""
        if not self._pepper:
            async with self._context.store.read() as tx:
                stored = await tx.get_setting(PEPPER)
            if stored is None:
                async with self._context.store.write() as tx:
                    stored = await tx.get_setting(PEPPER) or self._context.ids.secret(32)
                    await tx.put_setting(PEPPER, stored)
            self._pepper = bytes.fromhex(stored)
        return self._pepper

    async def _rehash(self, user: values.User, password: str) -> None:
        renewed = await self.passwords.hash(password)
        async with self._context.write() as tx:
            current = await tx.get_user(user.id)
            if current is not None and current.password_hash == user.password_hash:
                await tx.update_user(dataclasses.replace(current, password_hash=renewed))
