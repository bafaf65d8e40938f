"""Rows of deployments."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from control_plane.domain import values
from control_plane.store import configs, tables
from control_plane.store.queries import Queries, page, where_given


def deployment_of(row: sa.Row[Any]) -> values.Deployment:
    return values.Deployment(
        id=row.id,
        project_id=row.project_id,
        name=row.name,
        service_id=row.service_id,
        config=configs.config_of(row.config),
        release=row.release,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def row_of_deployment(deployment: values.Deployment) -> dict[str, Any]:
    return {
        "id": deployment.id,
        "project_id": deployment.project_id,
        "name": deployment.name,
        "service_id": deployment.service_id,
        "config": configs.document_of(deployment.config),
        "release": deployment.release,
        "created_at": deployment.created_at,
        "updated_at": deployment.updated_at,
    }


class DeploymentQueries(Queries):
    async def find_deployment(self, id_or_name: str, project_id: str | None = None) -> values.Deployment | None:
        table = tables.deployments
        conditions = () if project_id is None else (table.c.project_id == project_id,)
        row = await self._named(table, id_or_name, *conditions)
        return deployment_of(row) if row else None

    async def list_deployments(
        self, project_id: str | None, name: str | None, after: str | None, limit: int
    ) -> Sequence[values.Deployment]:
        table = tables.deployments
        query = where_given(sa.select(table), project=(table.c.project_id, project_id), name=(table.c.name, name))
        return [deployment_of(row) for row in await self._all(page(query, table, after, limit))]

    async def insert_deployment(self, deployment: values.Deployment) -> bool:
        return await self._insert(tables.deployments, row_of_deployment(deployment))

    async def update_deployment(self, deployment: values.Deployment) -> None:
        await self._replace(tables.deployments, row_of_deployment(deployment))

    async def delete_deployment(self, deployment_id: str) -> None:
        """The foreign keys take releases, service and routes along."""
        await self._connection.execute(sa.delete(tables.deployments).where(tables.deployments.c.id == deployment_id))
