"""Rows of releases."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from control_plane.domain import release, values
from control_plane.store import configs, tables
from control_plane.store.queries import Queries

PLAIN = (
    *("id", "deployment_id", "number", "state", "reason", "message"),
    *("created_at", "changed_at", "build_of", "archive", "cause", "pinned"),
)

# Made once, as those in queries.py are.
NUMBERED = sa.select(tables.releases).where(
    tables.releases.c.deployment_id == sa.bindparam("deployment"), tables.releases.c.number == sa.bindparam("wanted")
)


class ReleaseQueries(Queries):
    """The part of ports.DeploymentRows that is about releases."""

    async def get_release(self, deployment_id: str, number: int) -> values.Release | None:
        row = await self._first(NUMBERED, {"deployment": deployment_id, "wanted": number})
        return self._release_of(row) if row else None

    async def list_releases(self, deployment_id: str) -> Sequence[values.Release]:
        table = tables.releases
        query = sa.select(table).where(table.c.deployment_id == deployment_id).order_by(table.c.number)
        return [self._release_of(row) for row in await self._all(query)]

    async def releases_below(self, deployment_id: str, before: int | None, limit: int) -> Sequence[values.Release]:
        table = tables.releases
        query = sa.select(table).where(table.c.deployment_id == deployment_id)
        if before is not None:
            query = query.where(table.c.number < before)
        rows = await self._all(query.order_by(table.c.number.desc()).limit(limit))
        return [self._release_of(row) for row in rows]

    async def unfinished_releases(self) -> Sequence[values.Release]:
        table = tables.releases
        states = [state.value for state in release.UNFINISHED]
        return [self._release_of(row) for row in await self._all(sa.select(table).where(table.c.state.in_(states)))]

    async def newest_releases(self, deployment_ids: Sequence[str]) -> Mapping[str, values.Release]:
        table = tables.releases
        newest = (
            sa.select(table.c.deployment_id, sa.func.max(table.c.number).label("number"))
            .where(table.c.deployment_id.in_(deployment_ids))
            .group_by(table.c.deployment_id)
            .subquery()
        )
        same = sa.and_(table.c.deployment_id == newest.c.deployment_id, table.c.number == newest.c.number)
        rows = await self._all(sa.select(table).join(newest, same))
        return {row.deployment_id: self._release_of(row) for row in rows}

    async def pinned_releases(self, deployment_ids: Sequence[str]) -> Mapping[str, Sequence[tuple[int, int]]]:
        table = tables.releases
        query = sa.select(table.c.deployment_id, table.c.number, table.c.build_of).where(
            table.c.deployment_id.in_(deployment_ids), table.c.pinned
        )
        found: dict[str, list[tuple[int, int]]] = {}
        for row in await self._all(query.order_by(table.c.number)):
            found.setdefault(row.deployment_id, []).append((row.number, row.build_of))
        return found

    async def insert_release(self, new: values.Release) -> None:
        await self._connection.execute(sa.insert(tables.releases).values(self._row_of_release(new)))

    async def update_release(self, changed: values.Release) -> None:
        await self._replace(tables.releases, self._row_of_release(changed))

    async def drop_releases(self, keep: int) -> None:
        """By number: they have no gaps at the newer end."""
        table = tables.releases
        newest = sa.select(tables.deployments.c.release).where(tables.deployments.c.id == table.c.deployment_id)
        old = table.c.number <= newest.scalar_subquery() - keep
        await self._delete(table, old, ~table.c.pinned, table.c.state.in_([state.value for state in release.ENDED]))

    async def archives_in_use(self, project_id: str | None = None) -> frozenset[str]:
        table, of = tables.releases, tables.deployments
        query = sa.select(table.c.archive).join(of, of.c.id == table.c.deployment_id).distinct()
        is_kept = sa.or_(table.c.number > of.c.release - release.KEPT_SOURCES, table.c.pinned)
        query = query.where(table.c.archive != "", is_kept)
        query = query if project_id is None else query.where(of.c.project_id == project_id)
        return frozenset(row.archive for row in await self._all(query))

    def _release_of(self, row: sa.Row[Any]) -> values.Release:
        return values.Release(
            config=configs.config_of(row.config, self._keys, f"releases|{row.id}|config"),
            commit=row.commit_id,
            decided=tuple(values.Decided(*one) for one in row.decided),
            **{name: getattr(row, name) for name in PLAIN},
        )

    def _row_of_release(self, one: values.Release) -> dict[str, Any]:
        return {
            **{name: getattr(one, name) for name in PLAIN},
            "config": configs.document_of(one.config, self._keys, f"releases|{one.id}|config"),
            "commit_id": one.commit,
            "decided": [[row.field, row.value, row.origin, row.reason] for row in one.decided],
        }
