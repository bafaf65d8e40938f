"""Rows of what happened: the audit with its chain, events, and what requests with an idempotency key were answered."""

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from control_plane.domain import audit, values
from control_plane.store import tables
from control_plane.store.queries import Queries, where_in


def entry_of(row: sa.Row[Any]) -> values.AuditEntry:
    return values.AuditEntry(**row._mapping)  # noqa: SLF001 - the public name of a row's mapping


# Made once, as those in queries.py are: every change runs them.
NEWEST_ENTRY = sa.select(tables.audit.c.sequence, tables.audit.c.hash).order_by(tables.audit.c.sequence.desc()).limit(1)
INSERT_ENTRY = sa.insert(tables.audit)


class HistoryQueries(Queries):
    """See ports.HistoryRows."""

    async def append_audit(self, entry: values.AuditEntry) -> values.AuditEntry:
        head = await self._first(NEWEST_ENTRY)
        linked = audit.linked(entry, head.sequence + 1, head.hash) if head else audit.linked(entry, 1, audit.GENESIS)
        row = {name: getattr(linked, name) for name in linked.__slots__}
        await self._connection.execute(INSERT_ENTRY, row)
        return linked

    async def list_audit(
        self, projects: Collection[str] | None, wanted: values.AuditQuery, before: int | None, limit: int
    ) -> Sequence[values.AuditEntry]:
        table = tables.audit
        query = where_in(sa.select(table), table.c.project_id, projects)
        if wanted.actor:
            query = query.where(sa.or_(table.c.actor == wanted.actor, table.c.actor_name == wanted.actor))
        query = query.where(table.c.action == wanted.action) if wanted.action else query
        query = query.where(table.c.target == wanted.target) if wanted.target else query
        query = query.where(table.c.at >= wanted.since) if wanted.since else query
        query = query.where(table.c.at < wanted.until) if wanted.until else query
        query = query.where(table.c.sequence < before) if before is not None else query
        return [entry_of(row) for row in await self._all(query.order_by(table.c.sequence.desc()).limit(limit))]

    async def audit_after(self, sequence: int, limit: int) -> Sequence[values.AuditEntry]:
        table = tables.audit
        query = sa.select(table).where(table.c.sequence > sequence).order_by(table.c.sequence).limit(limit)
        return [entry_of(row) for row in await self._all(query)]

    async def append_event(self, event: values.Event) -> values.Event:
        row = {name: getattr(event, name) for name in event.__slots__ if name != "sequence"}
        made = await self._first(sa.insert(tables.events).values(row).returning(tables.events.c.sequence))
        return dataclasses.replace(event, sequence=made.sequence if made else 0)

    async def list_events(
        self, projects: Collection[str] | None, wanted: values.EventQuery, after: int, limit: int
    ) -> Sequence[values.Event]:
        table = tables.events
        query = where_in(sa.select(table).where(table.c.sequence > after), table.c.project_id, projects)
        query = query.where(table.c.type.in_(wanted.types)) if wanted.types else query
        query = query.where(table.c.subject == wanted.subject) if wanted.subject else query
        query = query.where(table.c.at >= wanted.since) if wanted.since else query
        rows = await self._all(query.order_by(table.c.sequence).limit(limit))
        return [values.Event(**row._mapping) for row in rows]  # noqa: SLF001

    async def drop_events(self, before: values.Time) -> None:
        """The newest stays, so that no sequence is given twice."""
        table = tables.events
        newest = sa.select(sa.func.max(table.c.sequence)).scalar_subquery()
        await self._delete(table, table.c.at < before, table.c.sequence < newest)

    async def find_event(self, event_id: str) -> values.Event | None:
        row = await self._first(sa.select(tables.events).where(tables.events.c.id == event_id))
        return values.Event(**row._mapping) if row else None  # noqa: SLF001

    async def newest_event(self) -> int:
        row = await self._first(sa.select(sa.func.max(tables.events.c.sequence)))
        return int(row[0] or 0) if row else 0

    async def find_answer(self, principal: str, route: str, key: str) -> values.StoredAnswer | None:
        table = tables.answers
        same = (table.c.principal == principal, table.c.route == route, table.c.key == key)
        row = await self._first(sa.select(table).where(*same))
        if row is None:
            return None
        body = self._keys.open(row.body, place_of_answer(principal, route, key))
        fingerprint = self._keys.open(row.fingerprint, place_of_fingerprint(principal, route, key))
        opened = {"body": body, "fingerprint": fingerprint, "projects": tuple(row.projects)}
        return values.StoredAnswer(**{**row._mapping, **opened})  # noqa: SLF001

    async def insert_answer(self, answer: values.StoredAnswer) -> bool:
        """Sealed are the body, which may show a secret once, and the digest of the request: a secret could be guessed."""
        place = (answer.principal, answer.route, answer.key)
        sealed = {
            "body": self._keys.seal(answer.body, place_of_answer(*place)),
            "fingerprint": self._keys.seal(answer.fingerprint, place_of_fingerprint(*place)),
        }
        row = {name: getattr(answer, name) for name in answer.__slots__}
        return await self._insert(tables.answers, {**row, **sealed, "projects": list(answer.projects)})

    async def drop_answers(self, before: float) -> None:
        await self._delete(tables.answers, tables.answers.c.created_at < before)


def place_of_answer(principal: str, route: str, key: str) -> str:
    return f"answers|{principal} {route} {key}|body"


def place_of_fingerprint(principal: str, route: str, key: str) -> str:
    return f"answers|{principal} {route} {key}|fingerprint"
