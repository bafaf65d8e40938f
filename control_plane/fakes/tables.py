"""Tables of the store in memory, and what its queries share."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from typing import Protocol, TypeVar

from control_plane.domain import lease, paging, series, values, webhook


class Row(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def created_at(self) -> values.Time: ...


class Named(Row, Protocol):
    @property
    def name(self) -> str: ...


class Identified(Protocol):
    @property
    def id(self) -> str: ...


R = TypeVar("R", bound=Row)
N = TypeVar("N", bound=Named)
I = TypeVar("I", bound=Identified)  # noqa: E741 - one letter each


@dataclasses.dataclass(slots=True)
class Tables:
    """Everything by key. The values are frozen, so that a shallow copy is a snapshot."""

    users: dict[str, values.User] = dataclasses.field(default_factory=dict)
    families: dict[str, values.Family] = dataclasses.field(default_factory=dict)
    tokens: dict[str, values.Token] = dataclasses.field(default_factory=dict)
    settings: dict[str, str] = dataclasses.field(default_factory=dict)
    projects: dict[str, values.Project] = dataclasses.field(default_factory=dict)
    members: dict[tuple[str, str], values.Member] = dataclasses.field(default_factory=dict)
    deployments: dict[str, values.Deployment] = dataclasses.field(default_factory=dict)
    releases: dict[str, values.Release] = dataclasses.field(default_factory=dict)
    services: dict[str, values.Service] = dataclasses.field(default_factory=dict)
    env_changes: dict[int, values.EnvChange] = dataclasses.field(default_factory=dict)
    routes: dict[str, values.Route] = dataclasses.field(default_factory=dict)
    instances: dict[str, values.Instance] = dataclasses.field(default_factory=dict)
    join_tokens: dict[str, float] = dataclasses.field(default_factory=dict)
    samples: dict[str, values.Sample] = dataclasses.field(default_factory=dict)
    points: dict[tuple[str, int, int], series.Point] = dataclasses.field(default_factory=dict)
    audit: dict[int, values.AuditEntry] = dataclasses.field(default_factory=dict)
    events: dict[int, values.Event] = dataclasses.field(default_factory=dict)
    answers: dict[tuple[str, str, str], values.StoredAnswer] = dataclasses.field(default_factory=dict)
    webhooks: dict[str, values.Webhook] = dataclasses.field(default_factory=dict)
    deliveries: dict[str, webhook.Delivery] = dataclasses.field(default_factory=dict)
    attempts: dict[tuple[str, int], webhook.Attempt] = dataclasses.field(default_factory=dict)
    leases: dict[str, lease.Lease] = dataclasses.field(default_factory=dict)

    def copy(self) -> "Tables":
        return Tables(*(dict(getattr(self, field.name)) for field in dataclasses.fields(self)))


class Rows:
    """The base of each resource's queries."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables


def allowed(project_id: str, projects: Collection[str] | None) -> bool:
    return projects is None or project_id in projects


def ordered(rows: Iterable[R]) -> list[R]:
    return sorted(rows, key=lambda row: (row.created_at, row.id))


def page(rows: Iterable[R], after: str | None, limit: int) -> list[R]:
    start = paging.split(after) if after is not None else None
    return [row for row in ordered(rows) if start is None or (row.created_at, row.id) > start][:limit]


def newest(rows: Iterable[R], after: str | None, limit: int) -> list[R]:
    """A page in the reverse order."""
    start = paging.split(after) if after is not None else None
    return [row for row in reversed(ordered(rows)) if start is None or (row.created_at, row.id) < start][:limit]


def named(rows: Mapping[str, N], id_or_name: str) -> list[N]:
    """The row of that id first, then those of that name, oldest first."""
    same_id = [rows[id_or_name]] if id_or_name in rows else []
    return same_id + [row for row in ordered(rows.values()) if row.name == id_or_name and row not in same_id]


def find(rows: Mapping[str, N], id_or_name: str) -> N | None:
    return next(iter(named(rows, id_or_name)), None)


def insert_named(rows: dict[str, N], new: N, siblings: Iterable[N]) -> bool:
    if any(row.name == new.name for row in siblings):
        return False
    rows[new.id] = new
    return True


def replace(rows: dict[str, I], row: I) -> None:
    if row.id in rows:
        rows[row.id] = row
