"""The keys that sign tokens: the newest signs, older ones still verify, until no token of theirs can be alive.

They stand together in one sealed setting. Every process reads it again every few seconds, so that a rotation needs no
restart and logs nobody out.
"""

import dataclasses
import json
from typing import Any

from control_plane import ports
from control_plane.services.context import Context
from control_plane.services.sessions import LOGIN_S

SETTING = "signing_key"


@dataclasses.dataclass(frozen=True, slots=True)
class Key:
    """`made_at` in seconds since 1970."""

    kid: str
    secret: str = dataclasses.field(repr=False)
    made_at: float = 0.0


class Signing:
    """Used by the authentication of every request, and by `dployr-control-plane keys`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def keys(self) -> tuple[Key, ...]:
        """Oldest first; the last one signs. Made on first use."""
        async with self._context.store.read() as tx:
            found = parse(await tx.get_setting(SETTING))
        if found:
            return found
        async with self._context.write() as tx:
            found = parse(await tx.get_setting(SETTING))
            return found or await self._store(tx, (self._new(),))

    async def rotate(self, *, forget_older: bool = False) -> Key:
        """Sign with a new key from now on. With `forget_older` every token of today ends: everybody logs in again."""
        async with self._context.write() as tx:
            now = self._context.clock.now().timestamp()
            old = () if forget_older else still_needed(parse(await tx.get_setting(SETTING)), now)
            keys = await self._store(tx, (*old, self._new()))
            said = f"tokens are signed with a new key{', and the older ones are forgotten' if forget_older else ''}"
            await self._context.audit(tx, "system", "key.rotated", keys[-1].kid, summary=said, kept=len(old))
        return keys[-1]

    def _new(self) -> Key:
        ids = self._context.ids
        return Key(ids.secret(8), ids.secret(32), self._context.clock.now().timestamp())

    async def _store(self, tx: ports.Transaction, keys: tuple[Key, ...]) -> tuple[Key, ...]:
        await tx.put_setting(SETTING, json.dumps([dataclasses.asdict(key) for key in keys]))
        return keys


def parse(stored: str | None) -> tuple[Key, ...]:
    """The keys of the setting, also of its first form, which held one."""
    if not stored:
        return ()
    found: Any = json.loads(stored)
    listed = found if isinstance(found, list) else [found]
    return tuple(Key(str(one["kid"]), str(one["secret"]), float(one.get("made_at", 0.0))) for one in listed)


def still_needed(keys: tuple[Key, ...], now: float) -> tuple[Key, ...]:
    """Those with which a token may be signed that is still alive: the next key came within the life of a login."""
    successors = [key.made_at for key in keys[1:]]
    return (
        *(key for key, replaced_at in zip(keys[:-1], successors, strict=True) if replaced_at > now - LOGIN_S),
        *keys[-1:],
    )


def fits(found: tuple[Key, ...], kid: object) -> Key | None:
    """The key of that id among `found`."""
    return next((key for key in found if key.kid == kid), None)
