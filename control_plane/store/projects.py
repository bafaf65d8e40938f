"""Rows of projects and of their members."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from control_plane.domain import values
from control_plane.store import tables
from control_plane.store.queries import Queries, page, where_given, where_in


def project_of(row: sa.Row[Any]) -> values.Project:
    return values.Project(
        row.id, row.name, row.description, row.created_at, row.generation, row.updated_at, row.deleting
    )


def row_of_project(project: values.Project) -> dict[str, Any]:
    return {name: getattr(project, name) for name in project.__slots__}


# Made once, as those in queries.py are: every request runs it.
ROLES_OF = sa.select(tables.members.c.project_id, tables.members.c.role).where(
    tables.members.c.user_id == sa.bindparam("wanted")
)


class ProjectQueries(Queries):
    """See ports.ProjectRows."""

    async def list_projects(
        self, projects: Collection[str] | None, name: str | None, after: str | None, limit: int
    ) -> Sequence[values.Project]:
        table = tables.projects
        query = where_given(where_in(sa.select(table), table.c.id, projects), name=(table.c.name, name))
        return [project_of(row) for row in await self._all(page(query, table, after, limit))]

    async def projects_by_id(self, project_ids: Collection[str]) -> Mapping[str, values.Project]:
        rows = await self._all(where_in(sa.select(tables.projects), tables.projects.c.id, project_ids))
        return {row.id: project_of(row) for row in rows}

    async def find_project(self, id_or_name: str) -> values.Project | None:
        row = await self._named(tables.projects, id_or_name)
        return project_of(row) if row else None

    async def insert_project(self, project: values.Project) -> bool:
        return await self._insert(tables.projects, row_of_project(project))

    async def update_project(self, project: values.Project) -> bool:
        try:
            with self._connection.begin_nested():
                await self._replace(tables.projects, row_of_project(project))
        except exc.IntegrityError:
            return False
        return True

    async def delete_project(self, project_id: str) -> None:
        """The foreign keys take the members along, but not the webhooks. Events stay: their numbers never come again."""
        await self._delete(tables.webhooks, tables.webhooks.c.project_id == project_id)
        await self._delete(tables.projects, tables.projects.c.id == project_id)

    async def list_members(self, project_id: str) -> Sequence[values.Member]:
        table = tables.members
        query = sa.select(table).where(table.c.project_id == project_id).order_by(table.c.created_at, table.c.user_id)
        return [values.Member(row.project_id, row.user_id, row.role, row.created_at) for row in await self._all(query)]

    async def roles_of(self, user_id: str) -> Mapping[str, str]:
        rows = await self._all(ROLES_OF, {"wanted": user_id})
        return {row.project_id: row.role for row in rows}

    async def put_member(self, member: values.Member) -> None:
        table = tables.members
        row = {name: getattr(member, name) for name in member.__slots__}
        if not await self._insert(table, row):
            same = (table.c.project_id == member.project_id, table.c.user_id == member.user_id)
            await self._connection.execute(sa.update(table).where(*same).values(role=member.role))

    async def delete_member(self, project_id: str, user_id: str) -> bool:
        table = tables.members
        return bool(await self._delete(table, table.c.project_id == project_id, table.c.user_id == user_id))
