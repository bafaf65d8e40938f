"""Audit, events, answers and webhooks in memory."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence

from control_plane.domain import audit, values, webhook
from control_plane.fakes import tables


class HistoryRows(tables.Rows):
    """See ports.HistoryRows and ports.WebhookRows."""

    async def append_audit(self, entry: values.AuditEntry) -> values.AuditEntry:
        rows = self._tables.audit
        previous = rows[len(rows)].hash if rows else audit.GENESIS
        rows[len(rows) + 1] = linked = audit.linked(entry, len(rows) + 1, previous)
        return linked

    async def list_audit(
        self, projects: Collection[str] | None, wanted: values.AuditQuery, before: int | None, limit: int
    ) -> Sequence[values.AuditEntry]:
        rows = (row for row in self._tables.audit.values() if before is None or row.sequence < before)
        chosen = [row for row in rows if tables.allowed(row.project_id, projects) and _matches(row, wanted)]
        return sorted(chosen, key=lambda row: -row.sequence)[:limit]

    async def audit_after(self, sequence: int, limit: int) -> Sequence[values.AuditEntry]:
        return [row for row in self._tables.audit.values() if row.sequence > sequence][:limit]

    async def append_event(self, event: values.Event) -> values.Event:
        sequence = await self.newest_event() + 1
        self._tables.events[sequence] = numbered = dataclasses.replace(event, sequence=sequence)
        return numbered

    async def list_events(
        self, projects: Collection[str] | None, wanted: values.EventQuery, after: int, limit: int
    ) -> Sequence[values.Event]:
        rows = (row for row in self._tables.events.values() if row.sequence > after)
        return [row for row in rows if tables.allowed(row.project_id, projects) and _concerns(row, wanted)][:limit]

    async def drop_events(self, before: values.Time) -> None:
        rows, newest = self._tables.events, await self.newest_event()
        self._tables.events = {key: row for key, row in rows.items() if row.at >= before or key == newest}

    async def find_event(self, event_id: str) -> values.Event | None:
        return next((row for row in self._tables.events.values() if row.id == event_id), None)

    async def newest_event(self) -> int:
        return max(self._tables.events, default=0)

    async def find_answer(self, principal: str, route: str, key: str) -> values.StoredAnswer | None:
        return self._tables.answers.get((principal, route, key))

    async def insert_answer(self, answer: values.StoredAnswer) -> bool:
        place = (answer.principal, answer.route, answer.key)
        if place in self._tables.answers:
            return False
        self._tables.answers[place] = answer
        return True

    async def drop_answers(self, before: float) -> None:
        rows = self._tables.answers
        self._tables.answers = {key: row for key, row in rows.items() if row.created_at >= before}

    async def get_webhook(self, webhook_id: str) -> values.Webhook | None:
        return self._tables.webhooks.get(webhook_id)

    async def list_webhooks(
        self, projects: Collection[str] | None, after: str | None, limit: int
    ) -> Sequence[values.Webhook]:
        rows = (row for row in self._tables.webhooks.values() if tables.allowed(row.project_id, projects))
        return tables.page(rows, after, limit)

    async def webhooks_for(self, project_id: str) -> Sequence[values.Webhook]:
        rows = self._tables.webhooks.values()
        return tables.ordered(row for row in rows if row.project_id in {"", project_id} and not row.disabled_reason)

    async def insert_webhook(self, hook: values.Webhook) -> None:
        self._tables.webhooks[hook.id] = hook

    async def update_webhook(self, hook: values.Webhook) -> None:
        tables.replace(self._tables.webhooks, hook)

    async def delete_webhook(self, webhook_id: str) -> None:
        kept = self._tables
        kept.webhooks.pop(webhook_id, None)
        kept.deliveries = {key: row for key, row in kept.deliveries.items() if row.webhook_id != webhook_id}
        kept.attempts = {key: row for key, row in kept.attempts.items() if key[0] in kept.deliveries}

    async def insert_delivery(self, delivery: webhook.Delivery) -> None:
        self._tables.deliveries[delivery.id] = delivery

    async def get_delivery(self, delivery_id: str) -> webhook.Delivery | None:
        return self._tables.deliveries.get(delivery_id)

    async def update_delivery(self, delivery: webhook.Delivery) -> None:
        tables.replace(self._tables.deliveries, delivery)

    async def list_deliveries(
        self, webhook_id: str, after: str | None, limit: int, state: str | None = None
    ) -> Sequence[webhook.Delivery]:
        rows = (row for row in self._tables.deliveries.values() if row.webhook_id == webhook_id)
        rows = (row for row in rows if state in {None, row.state})
        return tables.newest(rows, after, limit)

    async def fail_deliveries(self, webhook_id: str, at: values.Time) -> None:
        for row in tuple(self._tables.deliveries.values()):
            if row.webhook_id == webhook_id and row.state == webhook.WAITING:
                failed = dataclasses.replace(row, state=webhook.FAILED, changed_at=at)
                self._tables.deliveries[row.id] = failed

    async def due_deliveries(self, now: float, limit: int, without: Collection[str] = ()) -> Sequence[webhook.Delivery]:
        due = [row for row in self._first_waiting() if row.next_at <= now and row.webhook_id not in without]
        return sorted(due, key=lambda row: (row.next_at, row.sequence))[:limit]

    async def next_delivery_at(self, after: float) -> float | None:
        return min((row.next_at for row in self._first_waiting() if row.next_at > after), default=None)

    async def webhooks_behind(self, most: int) -> Sequence[str]:
        rows = [row.webhook_id for row in self._tables.deliveries.values() if row.state == webhook.WAITING]
        enabled = {hook.id for hook in self._tables.webhooks.values() if not hook.disabled_reason}
        return sorted(one for one in enabled if rows.count(one) > most)

    async def drop_deliveries(self, before: values.Time) -> None:
        rows = self._tables.deliveries
        kept = {key: row for key, row in rows.items() if row.changed_at >= before or row.state == webhook.WAITING}
        self._tables.deliveries = kept
        self._tables.attempts = {key: row for key, row in self._tables.attempts.items() if key[0] in kept}

    async def insert_attempt(self, attempt: webhook.Attempt) -> None:
        self._tables.attempts[attempt.delivery_id, attempt.number] = attempt

    async def attempts_of(self, delivery_ids: Sequence[str]) -> Mapping[str, Sequence[webhook.Attempt]]:
        found: dict[str, list[webhook.Attempt]] = {}
        for row in sorted(self._tables.attempts.values(), key=lambda row: row.number):
            if row.delivery_id in delivery_ids:
                found.setdefault(row.delivery_id, []).append(row)
        return found

    def _first_waiting(self) -> list[webhook.Delivery]:
        first: dict[tuple[str, str], webhook.Delivery] = {}
        for row in sorted(self._tables.deliveries.values(), key=lambda row: (row.sequence, row.id)):
            hook = self._tables.webhooks.get(row.webhook_id)
            if row.state == webhook.WAITING and hook is not None and not hook.disabled_reason:
                first.setdefault((row.webhook_id, row.subject), row)
        return list(first.values())


def _matches(row: values.AuditEntry, wanted: values.AuditQuery) -> bool:
    same = (
        wanted.actor in {"", row.actor, row.actor_name}
        and wanted.action in {"", row.action}
        and wanted.target in {"", row.target}
    )
    after = wanted.since is None or row.at >= wanted.since
    return same and after and (wanted.until is None or row.at < wanted.until)


def _concerns(row: values.Event, wanted: values.EventQuery) -> bool:
    named = not wanted.types or row.type in wanted.types
    return named and wanted.subject in {"", row.subject} and (wanted.since is None or row.at >= wanted.since)
