"""Rows of users, settings and the audit."""

from typing import Any

import sqlalchemy as sa

from control_plane.domain import values
from control_plane.store import tables
from control_plane.store.queries import Queries


def user_of(row: sa.Row[Any]) -> values.User:
    return values.User(row.id, row.email, row.password_hash, row.operator, row.created_at, row.disabled)


def row_of_user(user: values.User) -> dict[str, Any]:
    return {
        "id": user.id,
        "email": user.email,
        "password_hash": user.password_hash,
        "operator": user.operator,
        "disabled": user.disabled,
        "created_at": user.created_at,
    }


class AccountQueries(Queries):
    async def get_user(self, user_id: str) -> values.User | None:
        row = await self._first(sa.select(tables.users).where(tables.users.c.id == user_id))
        return user_of(row) if row else None

    async def find_user(self, email: str) -> values.User | None:
        row = await self._first(sa.select(tables.users).where(tables.users.c.email == email))
        return user_of(row) if row else None

    async def count_users(self) -> int:
        row = await self._first(sa.select(sa.func.count()).select_from(tables.users))
        return int(row[0]) if row else 0

    async def insert_user(self, user: values.User) -> bool:
        return await self._insert(tables.users, row_of_user(user))

    async def update_user(self, user: values.User) -> None:
        await self._replace(tables.users, row_of_user(user))

    async def get_setting(self, key: str) -> str | None:
        row = await self._first(sa.select(tables.settings.c.value).where(tables.settings.c.key == key))
        return str(row.value) if row else None

    async def put_setting(self, key: str, value: str) -> None:
        if not await self._insert(tables.settings, {"key": key, "value": value}):
            await self._connection.execute(
                sa.update(tables.settings).where(tables.settings.c.key == key).values(value=value)
            )

    async def insert_audit(self, at: values.Time, actor: str, action: str, target: str, data: dict[str, Any]) -> None:
        row = {"at": at, "actor": actor, "action": action, "target": target, "data": data}
        await self._connection.execute(sa.insert(tables.audit).values(row))
