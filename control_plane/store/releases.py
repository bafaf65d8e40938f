"""Rows of releases."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from control_plane.domain import values
from control_plane.store import configs, tables
from control_plane.store.queries import Queries


def release_of(row: sa.Row[Any]) -> values.Release:
    return values.Release(
        id=row.id,
        deployment_id=row.deployment_id,
        number=row.number,
        config=configs.config_of(row.config),
        commit=row.commit_id,
        state=row.state,
        reason=row.reason,
        message=row.message,
        created_at=row.created_at,
        changed_at=row.changed_at,
    )


def row_of_release(release: values.Release) -> dict[str, Any]:
    return {
        "id": release.id,
        "deployment_id": release.deployment_id,
        "number": release.number,
        "config": configs.document_of(release.config),
        "commit_id": release.commit,
        "state": release.state,
        "reason": release.reason,
        "message": release.message,
        "created_at": release.created_at,
        "changed_at": release.changed_at,
    }


class ReleaseQueries(Queries):
    async def get_release(self, deployment_id: str, number: int) -> values.Release | None:
        table = tables.releases
        row = await self._first(
            sa.select(table).where(table.c.deployment_id == deployment_id, table.c.number == number)
        )
        return release_of(row) if row else None

    async def list_releases(self, deployment_id: str) -> Sequence[values.Release]:
        table = tables.releases
        query = sa.select(table).where(table.c.deployment_id == deployment_id).order_by(table.c.number)
        return [release_of(row) for row in await self._all(query)]

    async def newest_releases(self, deployment_ids: Sequence[str]) -> Mapping[str, values.Release]:
        table = tables.releases
        newest = (
            sa.select(table.c.deployment_id, sa.func.max(table.c.number).label("number"))
            .where(table.c.deployment_id.in_(deployment_ids))
            .group_by(table.c.deployment_id)
            .subquery()
        )
        same = sa.and_(table.c.deployment_id == newest.c.deployment_id, table.c.number == newest.c.number)
        return {row.deployment_id: release_of(row) for row in await self._all(sa.select(table).join(newest, same))}

    async def insert_release(self, release: values.Release) -> None:
        await self._connection.execute(sa.insert(tables.releases).values(row_of_release(release)))

    async def update_release(self, release: values.Release) -> None:
        await self._replace(tables.releases, row_of_release(release))
