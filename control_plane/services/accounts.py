"""People: the first operator, passwords, what a user may do, and the key that signs tokens."""

import dataclasses
import json

from control_plane import errors
from control_plane.domain import values
from control_plane.services.context import Context
from control_plane.services.passwords import Passwords

SIGNING_KEY = "signing_key"
MIN_PASSWORD = 8
MAX_PASSWORD = 1024
MAX_EMAIL = 254


class Accounts:
    """Used by the login, by the authentication of every request, and at the first start."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._passwords = Passwords()

    async def has_admin(self) -> bool:
        async with self._context.store.read() as tx:
            return await tx.count_users() > 0

    async def ensure_admin(self, email: str, password: str) -> bool:
        """Make the first operator; False, and nothing changed, when there is a user already."""
        if await self.has_admin():
            return False
        address = _checked_email(email)
        if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
            raise errors.InvalidError.field(
                f"cannot create {address}: the password must have {MIN_PASSWORD} to {MAX_PASSWORD} characters",
                "password",
                f"must have {MIN_PASSWORD} to {MAX_PASSWORD} characters",
            )
        hashed = await self._passwords.hash(password)
        new = values.User(
            self._context.ids.new("usr"), address, hashed, operator=True, created_at=self._context.clock.now()
        )
        async with self._context.write() as tx:
            if await tx.count_users() or not await tx.insert_user(new):
                return False
            await self._context.audit(tx, "system", "user.created", new.id, email=address, operator=True)
        return True

    async def verify(self, email: str, password: str) -> values.User:
        """The user of that password. One UnauthenticatedError for unknown, disabled and wrong, after equal work."""
        async with self._context.store.read() as tx:
            user = await tx.find_user(_normal(email))
        usable = user if user is not None and not user.disabled and len(password) <= MAX_PASSWORD else None
        matches = await self._passwords.verify(usable.password_hash if usable else None, password[:MAX_PASSWORD])
        if usable is None or not matches:
            raise errors.UnauthenticatedError("cannot log in: the email or the password is wrong")
        if self._passwords.is_outdated(usable.password_hash):
            await self._rehash(usable, password)
        return usable

    async def principal(self, user_id: str) -> values.Principal:
        """Who that user is now, with its roles; UnauthenticatedError when unknown or disabled."""
        async with self._context.store.read() as tx:
            user = await tx.get_user(user_id)
            roles = await tx.roles_of(user_id)
        if user is None or user.disabled:
            raise errors.UnauthenticatedError("cannot act for this account: it does not exist or is disabled")
        return values.Principal(user.id, user.email, user.operator, roles)

    async def signing_key(self) -> tuple[str, str]:
        """(key id, secret) for tokens; made on first use."""
        async with self._context.store.read() as tx:
            stored = await tx.get_setting(SIGNING_KEY)
        if stored is None:
            stored = await self._make_signing_key()
        found = json.loads(stored)
        return str(found["kid"]), str(found["secret"])

    async def _make_signing_key(self) -> str:
        async with self._context.write() as tx:
            stored = await tx.get_setting(SIGNING_KEY)
            if stored is None:
                stored = json.dumps({"kid": self._context.ids.secret(8), "secret": self._context.ids.secret(32)})
                await tx.put_setting(SIGNING_KEY, stored)
            return stored

    async def _rehash(self, user: values.User, password: str) -> None:
        renewed = await self._passwords.hash(password)
        async with self._context.write() as tx:
            current = await tx.get_user(user.id)
            if current is not None and current.password_hash == user.password_hash:
                await tx.update_user(dataclasses.replace(current, password_hash=renewed))


def _normal(email: str) -> str:
    return email.strip().lower()


def _checked_email(email: str) -> str:
    address = _normal(email)
    local, _, domain = address.partition("@")
    if (
        not local
        or not domain
        or "@" in domain
        or len(address) > MAX_EMAIL
        or not address.isprintable()
        or " " in address
    ):
        raise errors.InvalidError.field(f"cannot use {email!r} as an email address", "email", "not an email address")
    return address
