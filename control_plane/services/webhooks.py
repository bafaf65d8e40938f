"""Receivers of events, and what was delivered to them."""

import base64
import dataclasses
from collections.abc import Mapping, Sequence

from control_plane import errors, ports
from control_plane.domain import event, outgoing, paging, permissions, values, webhook
from control_plane.services import events, lists
from control_plane.services.context import Context, chosen, named_project, shown_projects

MAX_WEBHOOKS = 20  # of one project, or of the installation: each event is written down once for each of them
PAUSED = "disabled by a person"
LISTING = "GET /v1/webhooks"
REFUSED = "cannot keep the webhook"


@dataclasses.dataclass(frozen=True, slots=True)
class WebhookFields:
    """A new webhook. `project` None: the events of every project and of the installation. Without a secret one is made."""

    url: str
    events: tuple[str, ...]
    secret: str | None = None
    description: str = ""
    project: str | None = "default"


@dataclasses.dataclass(frozen=True, slots=True)
class WebhookChanges:
    """None is "as it is"."""

    url: str | None = None
    events: tuple[str, ...] | None = None
    secret: str | None = None
    description: str | None = None
    enabled: bool | None = None


Logged = tuple[webhook.Delivery, tuple[webhook.Attempt, ...]]


class Webhooks:
    """The use cases of `/v1/webhooks`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def create(self, principal: values.Principal, fields: WebhookFields) -> tuple[values.Webhook, str]:
        """The webhook, and its secret when it was made here: the only time that it is shown."""
        made = "" if fields.secret is not None else self._new_secret()
        faults = self._faults(fields.url, fields.events, fields.secret, fields.description)
        now = self._context.clock.now()
        async with self._context.write() as tx:
            with faults.collecting():
                project_id = await self._scope(tx, principal, fields.project)
            faults.refuse(REFUSED)
            new = values.Webhook(
                id=self._context.ids.new("whk"),
                project_id=project_id,
                url=fields.url,
                events=event.checked_patterns(fields.events),
                secret=fields.secret or made,
                description=fields.description,
                disabled_reason="",
                created_at=now,
                updated_at=now,
            )
            await self._demand_room(tx, new.project_id)
            await tx.insert_webhook(new)
            await self._audit(tx, principal, new, "webhook.created", f"send {', '.join(new.events)} to {new.url}")
        return new, made

    async def list(
        self,
        principal: values.Principal,
        project: str | None = None,
        cursor: str | None = None,
        limit: int = paging.DEFAULT_LIMIT,
    ) -> values.Page:
        """One page, oldest first."""
        async with self._context.store.read() as tx:
            projects = await shown_projects(tx, principal, "webhook:read", project)
            rows, following = await lists.page(
                lambda after, count: tx.list_webhooks(projects, after, count), cursor, limit
            )
        return values.Page(rows, following)

    async def get(self, principal: values.Principal, webhook_id: str) -> values.Webhook:
        async with self._context.store.read() as tx:
            return await _webhook_of(tx, principal, webhook_id, "webhook:read")

    async def update(self, principal: values.Principal, webhook_id: str, changes: WebhookChanges) -> values.Webhook:
        """What waits for a webhook that is disabled here has failed; enabling it again sends what comes from then on."""
        async with self._context.write() as tx:
            old = await self._changeable(tx, principal, webhook_id)
            new = _changed(old, changes)
            self._faults(new.url, new.events, changes.secret, new.description).refuse(REFUSED)
            if new == old:
                return old
            new = dataclasses.replace(new, generation=old.generation + 1, updated_at=self._context.clock.now())
            await tx.update_webhook(new)
            if new.disabled_reason and not old.disabled_reason:
                await tx.fail_deliveries(new.id, new.updated_at)
            await self._audit(tx, principal, new, "webhook.updated", f"change the webhook to {new.url}")
        return new

    async def delete(self, principal: values.Principal, webhook_id: str) -> None:
        """With its deliveries, those that wait included."""
        async with self._context.write() as tx:
            old = await self._changeable(tx, principal, webhook_id)
            await tx.delete_webhook(old.id)
            await self._audit(tx, principal, old, "webhook.deleted", f"send nothing to {old.url} any more")

    async def test(self, principal: values.Principal, webhook_id: str) -> webhook.Delivery:
        """Send the event `webhook.test` to this webhook alone. ConflictError when it is disabled."""
        async with self._context.write() as tx:
            hook = await self._sendable(tx, principal, webhook_id)
            now, new_id = self._context.clock.now(), self._context.ids.new("evt")
            said = values.Event(new_id, "webhook.test", hook.project_id, hook.id, now, {"by": principal.email})
            stored = await tx.append_event(said)
            return await self._queue(
                tx, principal, hook, events.queued(self._context, stored, hook.id), "webhook.tested"
            )

    async def deliveries(
        self,
        principal: values.Principal,
        webhook_id: str,
        cursor: str | None = None,
        limit: int = paging.DEFAULT_LIMIT,
        status: str | None = None,
    ) -> values.Page:
        """One page of deliveries with their attempts, newest first."""
        state = lists.checked_status(status, webhook.STATES)
        async with self._context.store.read() as tx:
            hook = await _webhook_of(tx, principal, webhook_id, "webhook:read")
            rows, following = await lists.page(
                lambda after, count: tx.list_deliveries(hook.id, after, count, state), cursor, limit
            )
            attempts = await tx.attempts_of([row.id for row in rows])
        return values.Page(tuple(_logged(row, attempts) for row in rows), following)

    async def redeliver(self, principal: values.Principal, webhook_id: str, delivery_id: str) -> webhook.Delivery:
        """Send the same event once more, under its id, with a schedule of its own."""
        async with self._context.write() as tx:
            hook = await self._sendable(tx, principal, webhook_id)
            old = await tx.get_delivery(delivery_id)
            if old is None or old.webhook_id != hook.id:
                raise errors.NotFoundError(
                    f"cannot find delivery {delivery_id!r} of webhook {hook.id}; list them first"
                )
            now = self._context.clock.now()
            again = dataclasses.replace(
                old,
                id=self._context.ids.new("dlv"),
                state=webhook.WAITING,
                attempts=0,
                next_at=now.timestamp(),
                created_at=now,
                changed_at=now,
            )
            return await self._queue(tx, principal, hook, again, "webhook.redelivered")

    async def _queue(
        self,
        tx: ports.Transaction,
        principal: values.Principal,
        hook: values.Webhook,
        delivery: webhook.Delivery,
        action: str,
    ) -> webhook.Delivery:
        await tx.insert_delivery(delivery)
        await self._audit(tx, principal, hook, action, f"send {delivery.event_type} to {hook.url}")
        self._context.wake(ports.EVENTS)
        return delivery

    async def _scope(self, tx: ports.Transaction, principal: values.Principal, project: str | None) -> str:
        if project is not None:
            return (await named_project(tx, principal, project, "webhook:write")).id
        permissions.demand(principal, "webhook:write", "")
        return ""

    async def _demand_room(self, tx: ports.Transaction, project_id: str) -> None:
        if len(await tx.list_webhooks({project_id}, None, MAX_WEBHOOKS)) >= MAX_WEBHOOKS:
            raise errors.ConflictError(
                f"cannot make another webhook: there are {MAX_WEBHOOKS} of the same project; delete one first"
            )

    async def _changeable(self, tx: ports.Transaction, principal: values.Principal, webhook_id: str) -> values.Webhook:
        found = await _webhook_of(tx, principal, webhook_id, "webhook:write")
        self._context.match(found.generation)
        return found

    async def _sendable(self, tx: ports.Transaction, principal: values.Principal, webhook_id: str) -> values.Webhook:
        found = await _webhook_of(tx, principal, webhook_id, "webhook:write")
        if found.disabled_reason:
            raise errors.ConflictError(
                f"cannot send to webhook {found.id}: {found.disabled_reason}; enable it first", {"id": found.id}
            )
        return found

    def _faults(self, url: str, patterns: tuple[str, ...], secret: str | None, description: str) -> errors.Faults:
        """Every problem that shows without the database."""
        faults = errors.Faults()
        with faults.collecting():
            outgoing.check_url(url, self._context.webhook_allow)
        faults.found += event.pattern_problems(patterns)
        issues = {
            "secret": "" if secret is None else webhook.secret_issue(secret),
            "description": webhook.description_issue(description),
        }
        faults.found += [{"field": field, "issue": issue} for field, issue in issues.items() if issue]
        return faults

    def _new_secret(self) -> str:
        return webhook.ENCODED_SECRET + base64.b64encode(bytes.fromhex(self._context.ids.secret(32))).decode()

    async def _audit(
        self, tx: ports.Transaction, principal: values.Principal, hook: values.Webhook, action: str, summary: str
    ) -> None:
        data = {"url": hook.url, "events": list(hook.events), "disabled_reason": hook.disabled_reason}
        await self._context.audit(tx, principal, action, hook.id, project=hook.project_id, summary=summary, **data)


async def _webhook_of(
    tx: ports.Transaction, principal: values.Principal, webhook_id: str, permission: str
) -> values.Webhook:
    found = await tx.get_webhook(webhook_id)
    return chosen(principal, [] if found is None else [found], webhook_id, permission, "webhook", LISTING)


def _changed(old: values.Webhook, changes: WebhookChanges) -> values.Webhook:
    names = ("url", "events", "secret", "description")
    given = {name: value for name in names if (value := getattr(changes, name)) is not None}
    if changes.enabled is not None:
        given["disabled_reason"] = "" if changes.enabled else old.disabled_reason or PAUSED
    if "events" in given:
        given["events"] = tuple(dict.fromkeys(given["events"]))
    return dataclasses.replace(old, **given)


def _logged(row: webhook.Delivery, attempts: Mapping[str, Sequence[webhook.Attempt]]) -> Logged:
    return row, tuple(attempts.get(row.id, ()))
