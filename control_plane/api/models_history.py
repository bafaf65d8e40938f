"""Bodies of `/v1/events` and `/v1/audit`."""

from typing import Any

import pydantic

from control_plane import clock
from control_plane.api import schemas, shapes
from control_plane.domain import values


class EventsQuery(schemas.Page):
    follow: bool = False
    since: str | None = pydantic.Field(
        None, max_length=64, description="A time, or the id or the sequence of an event: what comes behind it"
    )
    type: str | None = pydantic.Field(
        None, max_length=2000, description="Types such as `route.created`, `deployment.*`, separated by commas"
    )
    subject: str | None = pydantic.Field(None, max_length=200, description="The id of what it happened to")
    project: str | None = None


class AuditQuery(schemas.Page):
    actor: str | None = pydantic.Field(None, max_length=320, description="Id or email of who did it")
    action: str | None = pydantic.Field(None, max_length=200)
    target: str | None = pydantic.Field(None, max_length=200, description="The id of what it was done to")
    since: str | None = pydantic.Field(None, max_length=64, description="From this time on")
    until: str | None = pydantic.Field(None, max_length=64, description="Before this time")
    project: str | None = None


class EventShape(shapes.Shape):
    """`subject` is the id of what it happened to. `sequence` rises; a reader goes on behind the last one it has seen."""

    id: str
    sequence: int
    type: str
    timestamp: str
    project_id: str | None
    subject: str
    data: dict[str, Any]

    @classmethod
    def of(cls, event: values.Event) -> "EventShape":
        return cls(
            id=event.id,
            sequence=event.sequence,
            type=event.type,
            timestamp=clock.rfc3339(event.at),
            project_id=event.project_id or None,
            subject=event.subject,
            data=event.data,
        )


class EventPage(shapes.Shape):
    data: list[EventShape]
    next_cursor: str | None


class AuditShape(shapes.Shape):
    """`hash` covers the entry and `previous`, the hash of the entry before it."""

    sequence: int
    timestamp: str
    actor: str
    actor_name: str
    address: str
    request_id: str
    action: str
    target: str
    project_id: str | None
    summary: str
    data: dict[str, Any]
    previous: str
    hash: str

    @classmethod
    def of(cls, entry: values.AuditEntry) -> "AuditShape":
        return cls(
            sequence=entry.sequence,
            timestamp=clock.rfc3339(entry.at),
            actor=entry.actor,
            actor_name=entry.actor_name,
            address=entry.address,
            request_id=entry.request_id,
            action=entry.action,
            target=entry.target,
            project_id=entry.project_id or None,
            summary=entry.summary,
            data=entry.data,
            previous=entry.previous,
            hash=entry.hash,
        )


class AuditPage(shapes.Shape):
    data: list[AuditShape]
    next_cursor: str | None
