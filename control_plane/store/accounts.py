"""Rows of users, their logins and tokens, and of settings."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from control_plane.domain import values
from control_plane.store import tables
from control_plane.store.queries import Queries, page


def user_of(row: sa.Row[Any]) -> values.User:
    return values.User(**row._mapping)  # noqa: SLF001 - the public name of a row's mapping


def token_of(row: sa.Row[Any]) -> values.Token:
    return values.Token(**{**row._mapping, "scopes": tuple(row.scopes)})  # noqa: SLF001


class AccountQueries(Queries):
    """See ports.AccountRows."""

    async def get_user(self, user_id: str) -> values.User | None:
        row = await self._get(tables.users.c.id, user_id)
        return user_of(row) if row else None

    async def find_user(self, email: str) -> values.User | None:
        row = await self._get(tables.users.c.email, email)
        return user_of(row) if row else None

    async def list_users(self, after: str | None, limit: int) -> Sequence[values.User]:
        table = tables.users
        return [user_of(row) for row in await self._all(page(sa.select(table), table, after, limit))]

    async def count_users(self) -> int:
        return await self._count(tables.users)

    async def count_operators(self) -> int:
        table = tables.users
        return await self._count(table, table.c.operator.is_(True), table.c.disabled.is_(False))

    async def insert_user(self, user: values.User) -> bool:
        return await self._insert(tables.users, row_of_user(user))

    async def update_user(self, user: values.User) -> None:
        await self._replace(tables.users, row_of_user(user))

    async def delete_user(self, user_id: str) -> None:
        await self._delete(tables.users, tables.users.c.id == user_id)

    async def insert_family(self, family: values.Family) -> None:
        await self._insert(tables.families, _plain(family))

    async def get_family(self, family_id: str) -> values.Family | None:
        row = await self._get(tables.families.c.id, family_id)
        return values.Family(**row._mapping) if row else None  # noqa: SLF001

    async def swap_jti(self, family_id: str, old: str, new: str) -> bool:
        table = tables.families
        same = (table.c.id == family_id, table.c.jti == old, table.c.revoked.is_(False))
        done = await self._connection.execute(sa.update(table).where(*same).values(jti=new))
        return bool(done.rowcount)

    async def revoke_family(self, family_id: str) -> None:
        table = tables.families
        await self._connection.execute(sa.update(table).where(table.c.id == family_id).values(revoked=True))

    async def revoke_families(self, user_id: str, but: str = "") -> None:
        table = tables.families
        others = (table.c.user_id == user_id, table.c.id != but)
        await self._connection.execute(sa.update(table).where(*others).values(revoked=True))

    async def drop_families(self, ended_before: values.Time) -> None:
        await self._delete(tables.families, tables.families.c.expires_at < ended_before)

    async def insert_token(self, token: values.Token) -> bool:
        return await self._insert(tables.tokens, {**_plain(token), "scopes": list(token.scopes)})

    async def find_token(self, digest: str) -> values.Token | None:
        row = await self._get(tables.tokens.c.digest, digest)
        return token_of(row) if row else None

    async def list_tokens(self, user_id: str, after: str | None, limit: int) -> Sequence[values.Token]:
        table = tables.tokens
        query = sa.select(table).where(table.c.user_id == user_id)
        return [token_of(row) for row in await self._all(page(query, table, after, limit))]

    async def touch_token(self, token_id: str, at: values.Time) -> None:
        table = tables.tokens
        await self._connection.execute(sa.update(table).where(table.c.id == token_id).values(last_used_at=at))

    async def delete_token(self, token_id: str, user_id: str) -> bool:
        table = tables.tokens
        return bool(await self._delete(table, table.c.id == token_id, table.c.user_id == user_id))

    async def drop_tokens(self, ended_before: values.Time) -> None:
        await self._delete(tables.tokens, tables.tokens.c.expires_at < ended_before)

    async def get_setting(self, key: str) -> str | None:
        row = await self._first(sa.select(tables.settings.c.value).where(tables.settings.c.key == key))
        return self._keys.open(row.value, place_of_setting(key)) if row else None

    async def put_setting(self, key: str, value: str) -> None:
        sealed = self._keys.seal(value, place_of_setting(key))
        if not await self._insert(tables.settings, {"key": key, "value": sealed}):
            await self._connection.execute(
                sa.update(tables.settings).where(tables.settings.c.key == key).values(value=sealed)
            )


def row_of_user(user: values.User) -> dict[str, Any]:
    return _plain(user)


def place_of_setting(key: str) -> str:
    return f"settings|{key}|value"


def _plain(value: Any) -> dict[str, Any]:
    """The fields of a flat value, as they are."""
    return {name: getattr(value, name) for name in value.__slots__}
