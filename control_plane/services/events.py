"""What happened, written down in the transaction in which it happens, with a delivery for every webhook that wants it."""

import json
from typing import Any

from control_plane import clock, ports
from control_plane.domain import event, values, webhook
from control_plane.services.context import Context


async def emit(
    context: Context, tx: ports.Transaction, name: str, /, *, subject: str, project: str = "", **data: Any
) -> values.Event:
    """Store the event `name` about `subject` (the id of an object), and queue it for the webhooks of `project`.

    `data` is public to the members of the project: never a secret.
    """
    new = values.Event(context.ids.new("evt"), name, project, subject, context.clock.now(), data)
    stored = await tx.append_event(new)
    for hook in await tx.webhooks_for(project):
        if event.is_wanted(hook.events, name):
            await tx.insert_delivery(queued(context, stored, hook.id))
    context.wake(ports.EVENTS)
    return stored


def queued(context: Context, happened: values.Event, webhook_id: str) -> webhook.Delivery:
    """A new delivery of `happened`, due at once."""
    now = context.clock.now()
    return webhook.Delivery(
        id=context.ids.new("dlv"),
        webhook_id=webhook_id,
        event_id=happened.id,
        event_type=happened.type,
        subject=happened.subject,
        sequence=happened.sequence,
        body=body_of(happened),
        state=webhook.WAITING,
        attempts=0,
        next_at=now.timestamp(),
        created_at=now,
        changed_at=now,
    )


def body_of(happened: values.Event) -> str:
    """What a receiver gets, and what is signed, to the byte."""
    said = {
        "id": happened.id,
        "type": happened.type,
        "timestamp": clock.rfc3339(happened.at),
        "data": {"subject": happened.subject, "project_id": happened.project_id, **happened.data},
    }
    return json.dumps(said, ensure_ascii=False, separators=(",", ":"))
