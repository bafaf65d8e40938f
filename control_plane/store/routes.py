"""Rows of routes."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from control_plane.domain import values
from control_plane.store import tables
from control_plane.store.queries import Queries, page, where_given


def route_of(row: sa.Row[Any]) -> values.Route:
    return values.Route(
        id=row.id,
        project_id=row.project_id,
        service_id=row.service_id,
        domain=row.domain,
        path=row.path,
        port=row.port,
        status=row.status,
        message=row.message,
        created_at=row.created_at,
    )


class RouteQueries(Queries):
    async def get_route(self, route_id: str) -> values.Route | None:
        row = await self._first(sa.select(tables.routes).where(tables.routes.c.id == route_id))
        return route_of(row) if row else None

    async def list_routes(
        self, project_id: str | None, service_id: str | None, after: str | None, limit: int
    ) -> Sequence[values.Route]:
        table = tables.routes
        wanted = where_given(
            sa.select(table), project=(table.c.project_id, project_id), service=(table.c.service_id, service_id)
        )
        return [route_of(row) for row in await self._all(page(wanted, table, after, limit))]

    async def routes_of(self, service_ids: Sequence[str]) -> Mapping[str, Sequence[values.Route]]:
        table = tables.routes
        query = sa.select(table).where(table.c.service_id.in_(service_ids)).order_by(table.c.created_at, table.c.id)
        found: dict[str, list[values.Route]] = {}
        for row in await self._all(query):
            found.setdefault(row.service_id, []).append(route_of(row))
        return found

    async def insert_route(self, route: values.Route) -> bool:
        return await self._insert(tables.routes, dataclasses.asdict(route))

    async def update_route(self, route: values.Route) -> None:
        await self._replace(tables.routes, dataclasses.asdict(route))

    async def delete_route(self, route_id: str) -> None:
        await self._connection.execute(sa.delete(tables.routes).where(tables.routes.c.id == route_id))
