"""What the queries of all resources share."""

import functools
from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from control_plane.domain import paging
from control_plane.store import near
from control_plane.store.sealing import Keyring


class Queries:
    """The base of each resource's queries: one connection, inside one transaction, and the keys of what is sealed."""

    def __init__(self, connection: near.Connection, keys: Keyring) -> None:
        self._connection = connection
        self._keys = keys

    async def _first(self, query: sa.Executable, row: dict[str, Any] | None = None) -> sa.Row[Any] | None:
        return (await self._connection.execute(query, row)).first()

    async def _all(self, query: sa.Executable, row: dict[str, Any] | None = None) -> Sequence[sa.Row[Any]]:
        return (await self._connection.execute(query, row)).all()

    async def _get(self, column: sa.Column[Any], value: Any) -> sa.Row[Any] | None:
        """The row in which the unique `column` is `value`."""
        return await self._first(_where(column), {"wanted": value})

    async def _count(self, table: sa.Table, *conditions: sa.ColumnElement[bool]) -> int:
        row = await self._first(sa.select(sa.func.count()).select_from(table).where(*conditions))
        return int(row[0]) if row else 0

    async def _named(self, table: sa.Table, id_or_name: str, *conditions: sa.ColumnElement[bool]) -> sa.Row[Any] | None:
        """The row of that id, else the oldest of that name."""
        found = await self._all_named(table, id_or_name, *conditions)
        return found[0] if found else None

    async def _all_named(
        self, table: sa.Table, id_or_name: str, *conditions: sa.ColumnElement[bool]
    ) -> Sequence[sa.Row[Any]]:
        """The row of that id first, then those of that name, oldest first."""
        query = _named(table).where(*conditions) if conditions else _named(table)
        return await self._all(query, {"wanted": id_or_name})

    async def _insert(self, table: sa.Table, row: dict[str, Any]) -> bool:
        """False when a unique value is taken; the databases do not say which, and we do not read their words."""
        return await self._first(_insert(table, self._connection.dialect.name), row) is not None

    async def _replace(self, table: sa.Table, row: dict[str, Any]) -> None:
        await self._connection.execute(_update(table), {**row, "row_id": row["id"]})

    async def _delete(self, table: sa.Table, *conditions: sa.ColumnElement[bool]) -> int:
        """How many rows are gone."""
        return (await self._connection.execute(sa.delete(table).where(*conditions))).rowcount


# The statements that nearly every request needs are made once: to build one, and to find it among those that are compiled,
# takes longer than SQLite takes to run it.


@functools.cache
def _where(column: sa.Column[Any]) -> sa.Select[Any]:
    return sa.select(column.table).where(column == sa.bindparam("wanted"))


@functools.cache
def _named(table: sa.Table) -> sa.Select[Any]:
    same_id = table.c.id == sa.bindparam("wanted")
    query = sa.select(table).where(sa.or_(same_id, table.c.name == sa.bindparam("wanted")))
    return query.order_by(same_id.desc(), table.c.created_at, table.c.id)


@functools.cache
def _update(table: sa.Table) -> sa.Update:
    return sa.update(table).where(table.c.id == sa.bindparam("row_id"))


@functools.cache
def _insert(table: sa.Table, dialect: str) -> sa.Executable:
    made = postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    return made.on_conflict_do_nothing().returning(next(iter(table.primary_key.columns)))


def page(
    query: sa.Select[Any], table: sa.Table, after: str | None, limit: int, *, newest_first: bool = False
) -> sa.Select[Any]:
    """`query` in the order of creation, or the reverse, behind the position `after`."""
    if after is not None:
        created_at, object_id = paging.split(after)
        here = sa.tuple_(table.c.created_at, table.c.id)
        there = sa.tuple_(sa.bindparam(None, created_at, table.c.created_at.type), sa.literal(object_id))
        query = query.where(here < there if newest_first else here > there)
    order = (table.c.created_at, table.c.id)
    return query.order_by(*(column.desc() if newest_first else column for column in order)).limit(limit)


def where_given(query: sa.Select[Any], **wanted: tuple[sa.ColumnElement[Any], str | None]) -> sa.Select[Any]:
    """`query` with `column == value` for each value that is not None."""
    return query.where(*(column == value for column, value in wanted.values() if value is not None))


def where_in(query: sa.Select[Any], column: sa.ColumnElement[Any], allowed: Collection[str] | None) -> sa.Select[Any]:
    """`query` for those whose `column` is one of `allowed`; None is all."""
    return query if allowed is None else query.where(column.in_(sorted(allowed)))
