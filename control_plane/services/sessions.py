"""Logins and what they are worth now: families of refresh tokens, and the principal behind each kind of credential.

A login is a family. Its newest refresh token is exchanged once; an older one shown again means that two have it, so the
family ends, for whoever holds it: also when an honest client races with itself, because the two cases look the same.
"""

import contextlib
import datetime
import hashlib
import re
from collections.abc import Mapping

from control_plane import errors, ports
from control_plane.domain import values
from control_plane.services import events
from control_plane.services.context import Context
from control_plane.services.principals import Known, Principals

LOGIN_S = 30 * 24 * 3600  # then one logs in again, however often the tokens were refreshed
USED_S = 60.0
PERSONAL = re.compile(r"pat_[0-9a-f]{64}")


class Sessions:
    """Used by the login and by the authentication of every request. `principals` is shared by all requests."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.principals = Principals(context.clock)

    async def begin(self, tx: ports.Transaction, user_id: str) -> values.Family:
        """A new login of that user."""
        now = self._context.clock.now()
        ends = now + datetime.timedelta(seconds=LOGIN_S)
        family = values.Family(self._context.ids.new("fam"), user_id, self._context.ids.secret(16), now, ends)
        await tx.insert_family(family)
        return family

    async def refresh(self, caller: values.Principal, user_id: str, family_id: str, jti: str) -> values.Family:
        """The login with its next refresh token, for the holder of the newest one. UnauthenticatedError otherwise.

        `caller` says from where. A token that was exchanged before ends the login, before this raises.
        """
        fresh = self._context.ids.secret(16)
        async with self._context.write() as tx:
            family, user = await tx.get_family(family_id), await tx.get_user(user_id)
            known = family is not None and family.user_id == user_id and user is not None and not user.disabled
            if family is None or not known or family.revoked or family.expires_at <= self._context.clock.now():
                raise refused()
            if await tx.swap_jti(family_id, jti, fresh):
                return values.Family(family.id, user_id, fresh, family.created_at, family.expires_at)
            await tx.revoke_family(family_id)
            said = "a refresh token was used twice, so its login was ended"
            await self._context.audit(tx, caller, "auth.reuse_detected", family_id, summary=said, user=user_id)
            await events.emit(self._context, tx, "auth.reuse_detected", subject=user_id, login=family_id)
        self.principals.clear()
        raise refused()

    async def end(self, principal: values.Principal) -> None:
        """Log out: the login of the calling token, with all its tokens."""
        demand_login(principal, "log out")
        async with self._context.write() as tx:
            await tx.revoke_family(principal.family)
            await self._context.audit(tx, principal, "auth.logout", principal.family, summary="logged out")

    def known(self, key: str) -> Known | None:
        """What is remembered of a login (`key_of_login`) or of a personal token; asks nobody."""
        return self.principals.get(key)

    async def of_login(self, user_id: str, family_id: str) -> Known:
        """Who acts in that login. UnauthenticatedError when the user or the login is not good any more."""
        version, read_at = self.principals.version, self._context.clock.monotonic()
        async with self._context.store.read() as tx:
            family = await tx.get_family(family_id)
            if family is None or family.user_id != user_id or family.revoked:
                raise refused()
            user = await _enabled(tx, user_id)
            found = values.Principal(user.id, user.email, user.operator, await tx.roles_of(user_id), family=family_id)
        known = Known(found, user.valid_from, family.expires_at)
        self.principals.put(key_of_login(user_id, family_id), known, version, read_at)
        return known

    async def of_token(self, secret: str) -> Known:
        """Who acts with that personal token; notes its use, at most once a minute. UnauthenticatedError."""
        version, read_at = self.principals.version, self._context.clock.monotonic()
        if not PERSONAL.fullmatch(secret):
            raise refused()
        async with self._context.store.read() as tx:
            token = await tx.find_token(digest_of(secret))
            if token is None:
                raise refused()
            user = await _enabled(tx, token.user_id)
            roles = await tx.roles_of(user.id)
        known = Known(_narrowed(user, roles, token), expires_at=token.expires_at)
        self.principals.put(digest_of(secret), known, version, read_at)
        await self._note_use(token)
        return known

    async def _note_use(self, token: values.Token) -> None:
        now = self._context.clock.now()
        if token.last_used_at is not None and (now - token.last_used_at).total_seconds() < USED_S:
            return
        if token.expires_at is not None and token.expires_at <= now:
            return
        with contextlib.suppress(errors.UnavailableError, errors.InsufficientStorageError):  # the use itself goes on
            async with self._context.store.write() as tx:
                await tx.touch_token(token.id, now)


def refused() -> errors.UnauthenticatedError:
    """The one answer for every credential that is not good: why it is not is nobody's business."""
    return errors.UnauthenticatedError("cannot do this: no valid token came with it; log in, or refresh the token")


def demand_login(principal: values.Principal, what: str) -> None:
    """ForbiddenError for a personal token: what follows is for people who logged in."""
    if not principal.family:
        raise errors.ForbiddenError(f"cannot {what} with a personal token: log in with the password")


def key_of_login(user_id: str, family_id: str) -> str:
    return f"{user_id}@{family_id}"


def digest_of(secret: str) -> str:
    """How a personal token is stored. Its 32 random bytes need no salt and no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _narrowed(user: values.User, roles: Mapping[str, str], token: values.Token) -> values.Principal:
    """`until` travels along: what is made with the token must not outlive it."""
    return values.Principal(
        user.id,
        user.email,
        user.operator,
        roles,
        scopes=frozenset(token.scopes) or None,
        only=token.project_id,
        until=token.expires_at,
    )


async def _enabled(tx: ports.Transaction, user_id: str) -> values.User:
    user = await tx.get_user(user_id)
    if user is None or user.disabled:
        raise refused()
    return user
