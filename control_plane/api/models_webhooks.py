"""Bodies of `/v1/webhooks`."""

from typing import Annotated

import pydantic

from control_plane import clock
from control_plane.api import rules, schemas, shapes
from control_plane.domain import event, outgoing, values, webhook
from control_plane.services.webhooks import Logged, WebhookChanges, WebhookFields

MAX_EVENTS = 100  # there are not so many
# Whether an address may be called, the use case says: an operator may allow more of them.
RULES: rules.Rules = {
    "url": rules.raised(outgoing.parse_url),
    "events": event.pattern_problems,
    "secret": rules.said("secret", webhook.secret_issue),
    "description": rules.said("description", webhook.description_issue),
}


class WebhookInput(schemas.Input):
    """Without `secret` one is made and shown once. `all_projects` is for operators.

    `certificate.*` may be asked for and is not sent yet: no instance gets certificates for routes.
    """

    RULES = RULES
    url: str
    events: list[str] = pydantic.Field(max_length=MAX_EVENTS)
    secret: str | None = None
    description: str = ""
    project: str = "default"
    all_projects: bool = False

    def fields(self) -> WebhookFields:
        return WebhookFields(
            url=self.url,
            events=tuple(self.events),
            secret=self.secret,
            description=self.description,
            project=None if self.all_projects else self.project,
        )


class WebhookPatch(schemas.Input):
    """Only what is given changes."""

    RULES = RULES
    url: str = schemas.optional()
    events: Annotated[list[str], pydantic.Field(max_length=MAX_EVENTS)] = schemas.optional()
    secret: str = schemas.optional()
    description: str = schemas.optional()
    enabled: bool = schemas.optional()

    def changes(self) -> WebhookChanges:
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return WebhookChanges(**(given | ({"events": tuple(self.events)} if "events" in given else {})))


class WebhooksQuery(schemas.Page):
    project: str | None = None


class DeliveriesQuery(schemas.Page):
    status: str | None = pydantic.Field(None, description="waiting, delivered or failed")


class DeliveryPath(schemas.ById):
    delivery: str = pydantic.Field(description="The id of a delivery")


class WebhookShape(shapes.Shape):
    """`secret` is there in the answer that made it, and nowhere else. `project_id` is null for all projects."""

    id: str
    project_id: str | None
    url: str
    events: list[str]
    secret: str | None
    description: str
    enabled: bool
    disabled_reason: str
    generation: int
    created_at: str
    updated_at: str

    @classmethod
    def of(cls, hook: values.Webhook, made: str = "") -> "WebhookShape":
        return cls(
            id=hook.id,
            project_id=hook.project_id or None,
            url=hook.url,
            events=list(hook.events),
            secret=made or None,
            description=hook.description,
            enabled=not hook.disabled_reason,
            disabled_reason=hook.disabled_reason,
            generation=hook.generation,
            created_at=clock.rfc3339(hook.created_at),
            updated_at=clock.rfc3339(hook.updated_at),
        )


class WebhookList(shapes.Shape):
    data: list[WebhookShape]
    next_cursor: str | None


class AttemptShape(shapes.Shape):
    """`status` is null when there was no answer; `error` says why. `response` is its beginning."""

    number: int
    at: str
    status: int | None
    error: str
    response: str
    duration_ms: int

    @classmethod
    def of(cls, attempt: webhook.Attempt) -> "AttemptShape":
        return cls(
            number=attempt.number,
            at=clock.rfc3339(attempt.at),
            status=attempt.status or None,
            error=attempt.error,
            response=attempt.response,
            duration_ms=attempt.duration_ms,
        )


class DeliveryShape(shapes.Shape):
    """`status` is waiting, delivered or failed; `next_attempt_at` is null unless it waits."""

    id: str
    webhook_id: str
    event_id: str
    event: str
    subject: str
    status: str
    attempts: list[AttemptShape]
    next_attempt_at: str | None
    created_at: str
    changed_at: str

    @classmethod
    def of(cls, delivery: webhook.Delivery, attempts: tuple[webhook.Attempt, ...] = ()) -> "DeliveryShape":
        return cls(
            id=delivery.id,
            webhook_id=delivery.webhook_id,
            event_id=delivery.event_id,
            event=delivery.event_type,
            subject=delivery.subject,
            status=delivery.state,
            attempts=[AttemptShape.of(attempt) for attempt in attempts],
            next_attempt_at=shapes.moment(delivery.next_at) if delivery.state == webhook.WAITING else None,
            created_at=clock.rfc3339(delivery.created_at),
            changed_at=clock.rfc3339(delivery.changed_at),
        )


class DeliveryList(shapes.Shape):
    data: list[DeliveryShape]
    next_cursor: str | None

    @classmethod
    def of(cls, page: values.Page) -> "DeliveryList":
        logged: tuple[Logged, ...] = page.items
        return cls(data=[DeliveryShape.of(*one) for one in logged], next_cursor=page.next_cursor)
