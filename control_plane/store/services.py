"""Rows of services, and of what was changed in their environment."""

import dataclasses
import functools
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from control_plane.domain import values
from control_plane.store import tables
from control_plane.store.queries import Queries, page, where_given, where_in

OBSERVED = tuple(field.name for field in dataclasses.fields(values.Observed) if field.name != "reported_at")
KNOWN = 2048  # rows that are kept decoded


def service_of(row: sa.Row[Any]) -> values.Service:
    """The service that a whole row of the table says. Most rows are as they were when they were read last."""
    return _service_of(*row)


@functools.lru_cache(maxsize=KNOWN)
def _service_of(  # the columns in the order of the table
    service_id: str,
    deployment_id: str,
    project_id: str,
    name: str,
    instance_id: str,
    run: str,
    restart: int,
    generation: int,
    acknowledged: int,
    observed: str,
    reported_at: values.Time | None,
    created_at: values.Time,
    updated_at: values.Time,
    request_id: str,
) -> values.Service:
    return values.Service(
        id=service_id,
        deployment_id=deployment_id,
        project_id=project_id,
        name=name,
        instance_id=instance_id,
        run=values.Run(run),
        restart=restart,
        generation=generation,
        acknowledged=acknowledged,
        observed=observed_of(observed, reported_at),
        created_at=created_at,
        updated_at=updated_at,
        request_id=request_id,
    )


def row_of_service(service: values.Service) -> dict[str, Any]:
    return {
        "id": service.id,
        "deployment_id": service.deployment_id,
        "project_id": service.project_id,
        "name": service.name,
        "instance_id": service.instance_id,
        "run": service.run.value,
        "restart": service.restart,
        "generation": service.generation,
        "acknowledged": service.acknowledged,
        "observed": document_of(service.observed),
        "reported_at": service.observed.reported_at,
        "created_at": service.created_at,
        "updated_at": service.updated_at,
        "request_id": service.request_id,
    }


def observed_of(text: str, reported_at: values.Time | None) -> values.Observed:
    document = json.loads(text)
    processes = tuple(values.Process(**{**one, "crash": _crash_of(one.get("crash"))}) for one in document["processes"])
    cron = tuple(values.Cron(**one) for one in document.get("cron", ()))
    return values.Observed(**{**document, "processes": processes, "cron": cron, "reported_at": reported_at})


def _crash_of(document: dict[str, Any] | None) -> values.Crash | None:
    return values.Crash(**{**document, "lines": tuple(document["lines"])}) if document else None


@functools.lru_cache(maxsize=KNOWN)
def document_of(observed: values.Observed) -> str:
    """A new wish writes what was observed once more, as it was; so most of these were made before."""
    document = {name: getattr(observed, name) for name in OBSERVED}
    for name in ("processes", "cron"):
        document[name] = [dataclasses.asdict(one) for one in getattr(observed, name)]
    return json.dumps(document, separators=(",", ":"), allow_nan=False)


class ServiceQueries(Queries):
    """The part of ports.DeploymentRows that is about services."""

    async def find_service(self, id_or_name: str) -> values.Service | None:
        row = await self._named(tables.services, id_or_name)
        return service_of(row) if row else None

    async def named_services(self, id_or_name: str) -> Sequence[values.Service]:
        return [service_of(row) for row in await self._all_named(tables.services, id_or_name)]

    async def list_services(
        self, projects: Collection[str] | None, name: str | None, after: str | None, limit: int
    ) -> Sequence[values.Service]:
        table = tables.services
        query = where_given(where_in(sa.select(table), table.c.project_id, projects), name=(table.c.name, name))
        return [service_of(row) for row in await self._all(page(query, table, after, limit))]

    async def list_services_of_instance(self, instance_id: str) -> Sequence[values.Service]:
        table = tables.services
        query = sa.select(table).where(table.c.instance_id == instance_id).order_by(table.c.created_at, table.c.id)
        return [service_of(row) for row in await self._all(query)]

    async def services_by_id(self, service_ids: Sequence[str]) -> Mapping[str, values.Service]:
        rows = await self._all(sa.select(tables.services).where(tables.services.c.id.in_(service_ids)))
        return {row.id: service_of(row) for row in rows}

    async def count_services(self) -> Mapping[str, int]:
        column = tables.services.c.instance_id
        rows = await self._all(sa.select(column, sa.func.count().label("services")).group_by(column))
        return {row.instance_id: row.services for row in rows}

    async def insert_service(self, service: values.Service) -> None:
        await self._connection.execute(sa.insert(tables.services).values(row_of_service(service)))

    async def update_service(self, service: values.Service) -> None:
        await self._replace(tables.services, row_of_service(service))

    async def append_env_change(self, change: values.EnvChange) -> None:
        row = {name: getattr(change, name) for name in change.__slots__ if name != "sequence"}
        await self._connection.execute(sa.insert(tables.env_changes).values(row))

    async def list_env_changes(self, service_id: str, before: int | None, limit: int) -> Sequence[values.EnvChange]:
        table = tables.env_changes
        query = sa.select(table).where(table.c.service_id == service_id)
        if before is not None:
            query = query.where(table.c.sequence < before)
        rows = await self._all(query.order_by(table.c.sequence.desc()).limit(limit))
        return [values.EnvChange(**row._mapping) for row in rows]  # noqa: SLF001 - the public name of a row's mapping

    async def drop_env_changes(self, keep: int) -> None:
        table = tables.env_changes
        place = sa.func.row_number().over(partition_by=table.c.service_id, order_by=table.c.sequence.desc())
        placed = sa.select(table.c.sequence, place.label("place")).subquery()
        await self._delete(table, table.c.sequence.in_(sa.select(placed.c.sequence).where(placed.c.place > keep)))
