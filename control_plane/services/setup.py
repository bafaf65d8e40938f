"""The first start without an operator: a token for one use, printed once, with which the first operator is made.

Until then the API answers nothing else. The token is stored as its digest, lives for half an hour, and each start of an
installation that has nobody makes a new one in its place.
"""

import hashlib
import json
from typing import Any

from control_plane import errors
from control_plane.domain import person, values
from control_plane.services.context import Context
from control_plane.services.passwords import Passwords

SETTING = "setup_token"
SETUP_S = 30 * 60.0


class Setup:
    """Used by wiring at the start, by the view that spends the token, and before every other one."""

    def __init__(self, context: Context, passwords: Passwords) -> None:
        self._context = context
        self._passwords = passwords
        self._done = False

    @property
    def is_done(self) -> bool:
        """Whether somebody was here at the last look; asks nobody."""
        return self._done

    async def look(self) -> bool:
        """Whether there is an account. What was true once stays true."""
        if not self._done:
            async with self._context.store.read() as tx:
                self._done = await tx.count_users() > 0
        return self._done

    async def issue(self) -> str:
        """A new token, in place of any older one."""
        secret = self._context.ids.secret(32)
        ends = self._context.clock.now().timestamp() + SETUP_S
        async with self._context.write() as tx:
            await tx.put_setting(SETTING, json.dumps({"digest": _digest(secret), "expires_at": ends}))
        return secret

    async def spend(self, caller: values.Principal, token: str, email: str, password: str) -> values.User:
        """Make the first operator. UnauthenticatedError for a wrong, old or used token, ConflictError when there is one."""
        if await self.look():
            raise errors.ConflictError("cannot set up again: there is an account already; log in")
        async with self._context.store.read() as tx:
            _demand(await tx.get_setting(SETTING), token, self._context.clock.now().timestamp())
        person.checked(email, password)
        hashed = await self._passwords.hash(password)
        async with self._context.write() as tx:
            now = self._context.clock.now()
            _demand(await tx.get_setting(SETTING), token, now.timestamp())
            new = values.User(
                self._context.ids.new("usr"),
                person.normal(email),
                hashed,
                operator=True,
                created_at=now,
                updated_at=now,
            )
            if await tx.count_users() or not await tx.insert_user(new):
                raise errors.ConflictError("cannot set up again: there is an account already; log in")
            await tx.put_setting(SETTING, "")
            said = f"set up with the first operator {new.email}"
            await self._context.audit(tx, caller, "user.created", new.id, summary=said, email=new.email, operator=True)
        self._done = True
        return new


def _demand(stored: str | None, token: str, now: float) -> None:
    found: dict[str, Any] = json.loads(stored) if stored else {"digest": "", "expires_at": 0.0}
    if found["digest"] != _digest(token) or found["expires_at"] <= now:
        raise errors.UnauthenticatedError(
            "cannot set up with this token: it is wrong, used or older than 30 minutes; restart for a new one"
        )


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
