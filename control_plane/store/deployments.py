"""Rows of deployments."""

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from control_plane.domain import values
from control_plane.store import configs, tables
from control_plane.store.queries import Queries, page, where_given, where_in

PLAIN = ("id", "project_id", "name", "service_id", "release", "created_at", "updated_at", "generation", "poll")


class DeploymentQueries(Queries):
    """The part of ports.DeploymentRows that is about deployments."""

    async def find_deployment(self, id_or_name: str, project_id: str | None = None) -> values.Deployment | None:
        table = tables.deployments
        conditions = () if project_id is None else (table.c.project_id == project_id,)
        row = await self._named(table, id_or_name, *conditions)
        return self._deployment_of(row) if row else None

    async def named_deployments(self, id_or_name: str) -> Sequence[values.Deployment]:
        return [self._deployment_of(row) for row in await self._all_named(tables.deployments, id_or_name)]

    async def list_deployments(
        self, projects: Collection[str] | None, name: str | None, after: str | None, limit: int
    ) -> Sequence[values.Deployment]:
        table = tables.deployments
        query = where_given(where_in(sa.select(table), table.c.project_id, projects), name=(table.c.name, name))
        return [self._deployment_of(row) for row in await self._all(page(query, table, after, limit))]

    async def insert_deployment(self, deployment: values.Deployment) -> bool:
        return await self._insert(tables.deployments, self._row_of_deployment(deployment))

    async def update_deployment(self, deployment: values.Deployment) -> None:
        await self._replace(tables.deployments, self._row_of_deployment(deployment))

    async def delete_deployment(self, deployment_id: str) -> None:
        """The foreign keys take releases, service and routes along."""
        await self._delete(tables.deployments, tables.deployments.c.id == deployment_id)

    def _deployment_of(self, row: sa.Row[Any]) -> values.Deployment:
        secret = row.hook_secret and self._keys.open(row.hook_secret, f"deployments|{row.id}|hook_secret")
        return values.Deployment(
            config=configs.config_of(row.config, self._keys, f"deployments|{row.id}|config"),
            hook_digest=row.hook_digest,
            hook_secret=secret,
            **{name: getattr(row, name) for name in PLAIN},
        )

    def _row_of_deployment(self, deployment: values.Deployment) -> dict[str, Any]:
        row, secret = deployment.id, deployment.hook_secret
        return {
            **{name: getattr(deployment, name) for name in PLAIN},
            "config": configs.document_of(deployment.config, self._keys, f"deployments|{row}|config"),
            "hook_digest": deployment.hook_digest,
            "hook_secret": secret and self._keys.seal(secret, f"deployments|{row}|hook_secret"),
        }
