"""Rows of projects."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from control_plane.domain import values
from control_plane.store import tables
from control_plane.store.queries import Queries


def project_of(row: sa.Row[Any]) -> values.Project:
    return values.Project(row.id, row.name, row.description, row.created_at)


class ProjectQueries(Queries):
    async def list_projects(self) -> Sequence[values.Project]:
        table = tables.projects
        return [project_of(row) for row in await self._all(sa.select(table).order_by(table.c.created_at, table.c.id))]

    async def find_project(self, id_or_name: str) -> values.Project | None:
        row = await self._named(tables.projects, id_or_name)
        return project_of(row) if row else None

    async def insert_project(self, project: values.Project) -> bool:
        row = {
            "id": project.id,
            "name": project.name,
            "description": project.description,
            "created_at": project.created_at,
        }
        return await self._insert(tables.projects, row)
