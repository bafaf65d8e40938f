"""Rows of webhooks, of what waits for them and of what was tried."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from control_plane.domain import values, webhook
from control_plane.store import tables
from control_plane.store.queries import Queries, page, where_given, where_in


def delivery_of(row: sa.Row[Any]) -> webhook.Delivery:
    return webhook.Delivery(**row._mapping)  # noqa: SLF001 - the public name of a row's mapping


class WebhookQueries(Queries):
    """See ports.WebhookRows."""

    async def get_webhook(self, webhook_id: str) -> values.Webhook | None:
        row = await self._first(sa.select(tables.webhooks).where(tables.webhooks.c.id == webhook_id))
        return self._webhook_of(row) if row else None

    async def list_webhooks(
        self, projects: Collection[str] | None, after: str | None, limit: int
    ) -> Sequence[values.Webhook]:
        table = tables.webhooks
        query = where_in(sa.select(table), table.c.project_id, projects)
        return [self._webhook_of(row) for row in await self._all(page(query, table, after, limit))]

    async def webhooks_for(self, project_id: str) -> Sequence[values.Webhook]:
        table = tables.webhooks
        query = sa.select(table).where(table.c.project_id.in_(["", project_id]), table.c.disabled_reason == "")
        return [self._webhook_of(row) for row in await self._all(query.order_by(table.c.created_at, table.c.id))]

    async def insert_webhook(self, hook: values.Webhook) -> None:
        await self._connection.execute(sa.insert(tables.webhooks).values(self._row_of_webhook(hook)))

    async def update_webhook(self, hook: values.Webhook) -> None:
        await self._replace(tables.webhooks, self._row_of_webhook(hook))

    async def delete_webhook(self, webhook_id: str) -> None:
        await self._delete(tables.webhooks, tables.webhooks.c.id == webhook_id)

    async def insert_delivery(self, delivery: webhook.Delivery) -> None:
        await self._connection.execute(sa.insert(tables.deliveries).values(_plain(delivery)))

    async def get_delivery(self, delivery_id: str) -> webhook.Delivery | None:
        row = await self._first(sa.select(tables.deliveries).where(tables.deliveries.c.id == delivery_id))
        return delivery_of(row) if row else None

    async def update_delivery(self, delivery: webhook.Delivery) -> None:
        await self._replace(tables.deliveries, _plain(delivery))

    async def list_deliveries(
        self, webhook_id: str, after: str | None, limit: int, state: str | None = None
    ) -> Sequence[webhook.Delivery]:
        table = tables.deliveries
        query = where_given(sa.select(table), webhook=(table.c.webhook_id, webhook_id), state=(table.c.state, state))
        return [delivery_of(row) for row in await self._all(page(query, table, after, limit, newest_first=True))]

    async def fail_deliveries(self, webhook_id: str, at: values.Time) -> None:
        table = tables.deliveries
        waiting = (table.c.webhook_id == webhook_id, table.c.state == webhook.WAITING)
        changed = sa.update(table).where(*waiting).values(state=webhook.FAILED, changed_at=at)
        await self._connection.execute(changed)

    async def due_deliveries(self, now: float, limit: int, without: Collection[str] = ()) -> Sequence[webhook.Delivery]:
        """The first that waits of each (webhook, subject): a later event of an object never overtakes an earlier one."""
        table = tables.deliveries
        first = _first_waiting()
        query = sa.select(table).join(first, table.c.id == first.c.id).where(table.c.next_at <= now)
        query = query.where(table.c.webhook_id.not_in(sorted(without))) if without else query
        rows = await self._all(query.order_by(table.c.next_at, table.c.sequence).limit(limit))
        return [delivery_of(row) for row in rows]

    async def next_delivery_at(self, after: float) -> float | None:
        table = tables.deliveries
        first = _first_waiting()
        earliest = sa.select(sa.func.min(table.c.next_at)).join(first, table.c.id == first.c.id)
        row = await self._first(earliest.where(table.c.next_at > after))
        return row[0] if row else None

    async def webhooks_behind(self, most: int) -> Sequence[str]:
        table, enabled = (
            tables.deliveries,
            sa.select(tables.webhooks.c.id).where(tables.webhooks.c.disabled_reason == ""),
        )
        waiting = sa.select(table.c.webhook_id).where(table.c.state == webhook.WAITING, table.c.webhook_id.in_(enabled))
        query = waiting.group_by(table.c.webhook_id).having(sa.func.count() > most).order_by(table.c.webhook_id)
        return [row.webhook_id for row in await self._all(query)]

    async def drop_deliveries(self, before: values.Time) -> None:
        table = tables.deliveries
        await self._delete(table, table.c.changed_at < before, table.c.state != webhook.WAITING)

    async def insert_attempt(self, attempt: webhook.Attempt) -> None:
        await self._connection.execute(sa.insert(tables.attempts).values(_plain(attempt)))

    async def attempts_of(self, delivery_ids: Sequence[str]) -> Mapping[str, Sequence[webhook.Attempt]]:
        table = tables.attempts
        query = sa.select(table).where(table.c.delivery_id.in_(delivery_ids)).order_by(table.c.number)
        found: dict[str, list[webhook.Attempt]] = {}
        for row in await self._all(query):
            found.setdefault(row.delivery_id, []).append(webhook.Attempt(**row._mapping))  # noqa: SLF001
        return found

    def _webhook_of(self, row: sa.Row[Any]) -> values.Webhook:
        secret = self._keys.open(row.secret, f"webhooks|{row.id}|secret")
        return values.Webhook(**{**row._mapping, "events": tuple(row.events), "secret": secret})  # noqa: SLF001

    def _row_of_webhook(self, hook: values.Webhook) -> dict[str, Any]:
        sealed = self._keys.seal(hook.secret, f"webhooks|{hook.id}|secret")
        return {**_plain(hook), "events": list(hook.events), "secret": sealed}


def _first_waiting() -> sa.Subquery:
    table = tables.deliveries
    place = sa.func.row_number().over(
        partition_by=(table.c.webhook_id, table.c.subject), order_by=(table.c.sequence, table.c.id)
    )
    enabled = sa.select(tables.webhooks.c.id).where(tables.webhooks.c.disabled_reason == "")
    waits = (table.c.state == webhook.WAITING, table.c.webhook_id.in_(enabled))
    waiting = sa.select(table.c.id, place.label("place")).where(*waits).subquery()
    return sa.select(waiting.c.id).where(waiting.c.place == 1).subquery()


def _plain(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}
