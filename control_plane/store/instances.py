"""Rows of instances, of the tokens with which they join, and of what they measured."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from control_plane.domain import series, values
from control_plane.store import tables
from control_plane.store.queries import Queries, page


def instance_of(row: sa.Row[Any]) -> values.Instance:
    return values.Instance(
        id=row.id,
        name=row.name,
        epoch=row.epoch,
        online=row.online,
        last_seen=row.last_seen,
        agent_version=row.agent_version,
        boot_id=row.boot_id,
        facts=row.facts,
        created_at=row.created_at,
        labels=tuple(sorted(row.labels.items())),
        cordoned=row.cordoned,
        revoked=row.revoked,
        generation=row.generation,
        draining=row.draining,
        announced=row.announced,
    )


def row_of_instance(instance: values.Instance) -> dict[str, Any]:
    return {**dataclasses.asdict(instance), "labels": dict(instance.labels)}


IN_PLACE = (
    tables.points.c.instance_id == sa.bindparam("ring"),
    tables.points.c.step_s == sa.bindparam("step"),
    tables.points.c.place == sa.bindparam("at"),
)
# Made once, as those in queries.py are: every sample runs them.
GET_POINT = sa.select(tables.points).where(*IN_PLACE)
PUT_POINT = sa.update(tables.points).where(*IN_PLACE)


class InstanceQueries(Queries):
    """See ports.InstanceRows."""

    async def find_instance(self, id_or_name: str) -> values.Instance | None:
        row = await self._named(tables.instances, id_or_name)
        return instance_of(row) if row else None

    async def list_instances(self, after: str | None, limit: int) -> Sequence[values.Instance]:
        table = tables.instances
        return [instance_of(row) for row in await self._all(page(sa.select(table), table, after, limit))]

    async def insert_instance(self, instance: values.Instance) -> bool:
        return await self._insert(tables.instances, row_of_instance(instance))

    async def update_instance(self, instance: values.Instance) -> None:
        await self._replace(tables.instances, row_of_instance(instance))

    async def delete_instance(self, instance_id: str) -> None:
        await self._delete(tables.instances, tables.instances.c.id == instance_id)

    async def insert_join_token(self, digest: str, expires_at: float) -> None:
        await self._insert(tables.join_tokens, {"digest": digest, "expires_at": expires_at})

    async def spend_join_token(self, digest: str, now: float) -> bool:
        table = tables.join_tokens
        await self.drop_join_tokens(now)
        spent = await self._first(sa.delete(table).where(table.c.digest == digest).returning(table.c.expires_at))
        return spent is not None and now < spent.expires_at

    async def drop_join_tokens(self, ended_before: float) -> None:
        await self._delete(tables.join_tokens, tables.join_tokens.c.expires_at <= ended_before)

    async def put_sample(self, sample: values.Sample) -> None:
        table, row = tables.samples, dataclasses.asdict(sample)
        if not await self._insert(table, row):
            await self._connection.execute(
                sa.update(table).where(table.c.instance_id == sample.instance_id).values(row)
            )

    async def get_sample(self, instance_id: str) -> values.Sample | None:
        row = await self._get(tables.samples.c.instance_id, instance_id)
        return values.Sample(row.instance_id, row.time, row.families, row.exposition) if row else None

    async def get_point(self, instance_id: str, step_s: int, place: int) -> series.Point | None:
        row = await self._first(GET_POINT, {"ring": instance_id, "step": step_s, "at": place})
        return point_of(row) if row else None

    async def put_point(self, instance_id: str, step_s: int, place: int, point: series.Point) -> None:
        row = {"time": point.time, "samples": point.count, "numbers": dict(point.numbers)}
        if not await self._insert(tables.points, {"instance_id": instance_id, "step_s": step_s, "place": place, **row}):
            await self._connection.execute(PUT_POINT, {"ring": instance_id, "step": step_s, "at": place, **row})

    async def list_points(self, instance_id: str, step_s: int, since: float, until: float) -> Sequence[series.Point]:
        table = tables.points
        query = sa.select(table).where(table.c.instance_id == instance_id, table.c.step_s == step_s)
        within = query.where(table.c.time >= since, table.c.time < until).order_by(table.c.time)
        return [point_of(row) for row in await self._all(within)]


def point_of(row: sa.Row[Any]) -> series.Point:
    return series.Point(row.time, row.samples, row.numbers)
