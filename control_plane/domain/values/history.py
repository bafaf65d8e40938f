"""What happened, who is told of it, and what requests were answered. Imported by way of `values`."""

import dataclasses
from typing import Any

from control_plane.domain.values.plain import Time


@dataclasses.dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what, to what, when and from where. `sequence` and `hash` come from the chain."""

    at: Time
    actor: str
    actor_name: str
    address: str
    request_id: str
    action: str
    target: str
    project_id: str
    summary: str
    data: dict[str, Any]
    sequence: int = 0
    previous: str = ""
    hash: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class AuditQuery:
    """Filters of the audit; empty ones let everything through. `actor` is an id or an email."""

    actor: str = ""
    action: str = ""
    target: str = ""
    since: Time | None = None
    until: Time | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to `subject` (the id of an object). `project_id` is empty for the installation's own."""

    id: str
    type: str
    project_id: str
    subject: str
    at: Time
    data: dict[str, Any]
    sequence: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class EventQuery:
    """Filters of events; empty ones let everything through. `since` is a time."""

    types: tuple[str, ...] = ()
    subject: str = ""
    since: Time | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Webhook:
    """A receiver of events. `disabled_reason` says why it gets none; empty while it does."""

    id: str
    project_id: str
    url: str
    events: tuple[str, ...]
    secret: str = dataclasses.field(repr=False)
    description: str
    disabled_reason: str
    created_at: Time
    updated_at: Time
    generation: int = 1


@dataclasses.dataclass(frozen=True, slots=True)
class EnvChange:
    """One line of the history of a service's environment; never the value."""

    service_id: str
    at: Time
    actor: str
    key: str
    action: str  # set | deleted
    secret: bool
    release: int  # the first that has it
    sequence: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class StoredAnswer:
    """What a request with an idempotency key was answered. `projects` are those that it was about."""

    principal: str
    route: str
    key: str
    fingerprint: str
    status: int
    headers: dict[str, str]
    body: str = dataclasses.field(repr=False)
    created_at: float
    projects: tuple[str, ...] = ()
