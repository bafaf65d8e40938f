"""Rows of routes."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from control_plane.domain import values
from control_plane.store import configs, tables
from control_plane.store.queries import Queries, page, where_given, where_in

HIDDEN = ("key", "basic_auth")
PAIRS = ("basic_auth", "headers", "weights")


class RouteQueries(Queries):
    """See ports.RouteRows."""

    async def get_route(self, route_id: str) -> values.Route | None:
        row = await self._get(tables.routes.c.id, route_id)
        return self._route_of(row) if row else None

    async def list_routes(
        self,
        projects: Collection[str] | None,
        service_id: str | None,
        domain: str | None,
        after: str | None,
        limit: int,
        status: str | None = None,
    ) -> Sequence[values.Route]:
        table = tables.routes
        shown = where_in(sa.select(table), table.c.project_id, projects)
        given = {
            "service": (table.c.service_id, service_id),
            "domain": (table.c.domain, domain),
            "status": (table.c.status, status),
        }
        wanted = where_given(shown, **given)
        return [self._route_of(row) for row in await self._all(page(wanted, table, after, limit))]

    async def routes_of(self, service_ids: Sequence[str]) -> Mapping[str, Sequence[values.Route]]:
        table = tables.routes
        query = sa.select(table).where(table.c.service_id.in_(service_ids)).order_by(table.c.created_at, table.c.id)
        found: dict[str, list[values.Route]] = {}
        for row in await self._all(query):
            found.setdefault(row.service_id, []).append(self._route_of(row))
        return found

    async def routes_below(self, domain: str) -> Sequence[values.Route]:
        table = tables.routes
        above = "*." + domain.partition(".")[2]
        query = sa.select(table).where(
            sa.or_(table.c.domain.endswith(f".{domain}", autoescape=True), table.c.domain == above)
        )
        return [self._route_of(row) for row in await self._all(query.order_by(table.c.created_at, table.c.id))]

    async def insert_route(self, route: values.Route) -> bool:
        return await self._insert(tables.routes, self._row_of_route(route))

    async def update_route(self, route: values.Route) -> bool:
        try:
            with self._connection.begin_nested():
                await self._replace(tables.routes, self._row_of_route(route))
        except exc.IntegrityError:
            return False
        return True

    async def delete_route(self, route_id: str) -> None:
        await self._delete(tables.routes, tables.routes.c.id == route_id)

    def _route_of(self, row: sa.Row[Any]) -> values.Route:
        document = configs.opened(row.options, self._keys, f"routes|{row.id}|options")
        pairs = {name: tuple((one, two) for one, two in document.get(name, ())) for name in PAIRS}
        options = values.RouteOptions(**{**document, **pairs})
        return values.Route(**{**row._mapping, "options": options})  # noqa: SLF001 - the public name of a row's mapping

    def _row_of_route(self, route: values.Route) -> dict[str, Any]:
        document = configs.sealed(dataclasses.asdict(route.options), HIDDEN, self._keys, f"routes|{route.id}|options")
        return {**{name: getattr(route, name) for name in route.__slots__}, "options": document}
