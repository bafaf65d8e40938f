"""The store in memory: same contract as store/, one writer at a time, a snapshot for each reader."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from control_plane.domain import paging, values


class Row(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def created_at(self) -> values.Time: ...


class Named(Row, Protocol):
    @property
    def name(self) -> str: ...


R = TypeVar("R", bound=Row)
N = TypeVar("N", bound=Named)


@dataclasses.dataclass(frozen=True, slots=True)
class AuditRow:
    at: values.Time
    actor: str
    action: str
    target: str
    data: dict[str, Any]


@dataclasses.dataclass(slots=True)
class Tables:
    """Everything by id. The values are frozen, so that a shallow copy is a snapshot."""

    users: dict[str, values.User] = dataclasses.field(default_factory=dict)
    settings: dict[str, str] = dataclasses.field(default_factory=dict)
    projects: dict[str, values.Project] = dataclasses.field(default_factory=dict)
    deployments: dict[str, values.Deployment] = dataclasses.field(default_factory=dict)
    releases: dict[str, values.Release] = dataclasses.field(default_factory=dict)
    services: dict[str, values.Service] = dataclasses.field(default_factory=dict)
    routes: dict[str, values.Route] = dataclasses.field(default_factory=dict)
    instances: dict[str, values.Instance] = dataclasses.field(default_factory=dict)
    join_tokens: dict[str, float] = dataclasses.field(default_factory=dict)
    samples: dict[str, values.Sample] = dataclasses.field(default_factory=dict)
    audit: dict[int, AuditRow] = dataclasses.field(default_factory=dict)

    def copy(self) -> "Tables":
        return Tables(*(dict(getattr(self, field.name)) for field in dataclasses.fields(self)))


class MemoryTransaction:
    """See ports.Transaction."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def get_user(self, user_id: str) -> values.User | None:
        return self._tables.users.get(user_id)

    async def find_user(self, email: str) -> values.User | None:
        return next((user for user in self._tables.users.values() if user.email == email), None)

    async def count_users(self) -> int:
        return len(self._tables.users)

    async def insert_user(self, user: values.User) -> bool:
        if await self.find_user(user.email) is not None:
            return False
        self._tables.users[user.id] = user
        return True

    async def update_user(self, user: values.User) -> None:
        _replace(self._tables.users, user)

    async def get_setting(self, key: str) -> str | None:
        return self._tables.settings.get(key)

    async def put_setting(self, key: str, value: str) -> None:
        self._tables.settings[key] = value

    async def list_projects(self) -> Sequence[values.Project]:
        return _ordered(self._tables.projects.values())

    async def find_project(self, id_or_name: str) -> values.Project | None:
        return _find(self._tables.projects, id_or_name)

    async def insert_project(self, project: values.Project) -> bool:
        return _insert_named(self._tables.projects, project, self._tables.projects.values())

    async def find_deployment(self, id_or_name: str, project_id: str | None = None) -> values.Deployment | None:
        rows = self._tables.deployments.values()
        return _find({row.id: row for row in rows if project_id in {None, row.project_id}}, id_or_name)

    async def list_deployments(
        self, project_id: str | None, name: str | None, after: str | None, limit: int
    ) -> Sequence[values.Deployment]:
        rows = self._tables.deployments.values()
        return _page(
            (row for row in rows if project_id in {None, row.project_id} and name in {None, row.name}), after, limit
        )

    async def insert_deployment(self, deployment: values.Deployment) -> bool:
        rows = self._tables.deployments.values()
        siblings = [row for row in rows if row.project_id == deployment.project_id]
        return _insert_named(self._tables.deployments, deployment, siblings)

    async def update_deployment(self, deployment: values.Deployment) -> None:
        _replace(self._tables.deployments, deployment)

    async def delete_deployment(self, deployment_id: str) -> None:
        tables = self._tables
        tables.deployments.pop(deployment_id, None)
        gone = {row.id for row in tables.services.values() if row.deployment_id == deployment_id}
        tables.services = {key: row for key, row in tables.services.items() if key not in gone}
        tables.releases = {key: row for key, row in tables.releases.items() if row.deployment_id != deployment_id}
        tables.routes = {key: row for key, row in tables.routes.items() if row.service_id not in gone}

    async def get_release(self, deployment_id: str, number: int) -> values.Release | None:
        rows = self._tables.releases.values()
        return next((row for row in rows if (row.deployment_id, row.number) == (deployment_id, number)), None)

    async def list_releases(self, deployment_id: str) -> Sequence[values.Release]:
        rows = self._tables.releases.values()
        return sorted((row for row in rows if row.deployment_id == deployment_id), key=lambda row: row.number)

    async def newest_releases(self, deployment_ids: Sequence[str]) -> Mapping[str, values.Release]:
        return {one: rows[-1] for one in deployment_ids if (rows := await self.list_releases(one))}

    async def insert_release(self, release: values.Release) -> None:
        self._tables.releases[release.id] = release

    async def update_release(self, release: values.Release) -> None:
        _replace(self._tables.releases, release)

    async def find_service(self, id_or_name: str) -> values.Service | None:
        return _find(self._tables.services, id_or_name)

    async def list_services(
        self, project_id: str | None, name: str | None, after: str | None, limit: int
    ) -> Sequence[values.Service]:
        rows = self._tables.services.values()
        return _page(
            (row for row in rows if project_id in {None, row.project_id} and name in {None, row.name}), after, limit
        )

    async def list_services_of_instance(self, instance_id: str) -> Sequence[values.Service]:
        return _ordered(row for row in self._tables.services.values() if row.instance_id == instance_id)

    async def services_by_id(self, service_ids: Sequence[str]) -> Mapping[str, values.Service]:
        return {one: self._tables.services[one] for one in service_ids if one in self._tables.services}

    async def count_services(self) -> Mapping[str, int]:
        counts: dict[str, int] = {}
        for row in self._tables.services.values():
            counts[row.instance_id] = counts.get(row.instance_id, 0) + 1
        return counts

    async def insert_service(self, service: values.Service) -> None:
        self._tables.services[service.id] = service

    async def update_service(self, service: values.Service) -> None:
        _replace(self._tables.services, service)

    async def get_route(self, route_id: str) -> values.Route | None:
        return self._tables.routes.get(route_id)

    async def list_routes(
        self, project_id: str | None, service_id: str | None, after: str | None, limit: int
    ) -> Sequence[values.Route]:
        rows = self._tables.routes.values()
        chosen = (row for row in rows if project_id in {None, row.project_id} and service_id in {None, row.service_id})
        return _page(chosen, after, limit)

    async def routes_of(self, service_ids: Sequence[str]) -> Mapping[str, Sequence[values.Route]]:
        found: dict[str, list[values.Route]] = {}
        for row in _ordered(self._tables.routes.values()):
            if row.service_id in service_ids:
                found.setdefault(row.service_id, []).append(row)
        return found

    async def insert_route(self, route: values.Route) -> bool:
        if any((row.domain, row.path) == (route.domain, route.path) for row in self._tables.routes.values()):
            return False
        self._tables.routes[route.id] = route
        return True

    async def update_route(self, route: values.Route) -> None:
        _replace(self._tables.routes, route)

    async def delete_route(self, route_id: str) -> None:
        self._tables.routes.pop(route_id, None)

    async def find_instance(self, id_or_name: str) -> values.Instance | None:
        return _find(self._tables.instances, id_or_name)

    async def list_instances(self, after: str | None, limit: int) -> Sequence[values.Instance]:
        return _page(self._tables.instances.values(), after, limit)

    async def insert_instance(self, instance: values.Instance) -> bool:
        return _insert_named(self._tables.instances, instance, self._tables.instances.values())

    async def update_instance(self, instance: values.Instance) -> None:
        _replace(self._tables.instances, instance)

    async def insert_join_token(self, digest: str, expires_at: float) -> None:
        self._tables.join_tokens[digest] = expires_at

    async def spend_join_token(self, digest: str, now: float) -> bool:
        expires_at = self._tables.join_tokens.pop(digest, None)
        return expires_at is not None and now < expires_at

    async def put_sample(self, sample: values.Sample) -> None:
        self._tables.samples[sample.instance_id] = sample

    async def get_sample(self, instance_id: str) -> values.Sample | None:
        return self._tables.samples.get(instance_id)

    async def insert_audit(self, at: values.Time, actor: str, action: str, target: str, data: dict[str, Any]) -> None:
        self._tables.audit[len(self._tables.audit) + 1] = AuditRow(at, actor, action, target, data)


class MemoryStore:
    """See ports.Store. `audit` shows tests what was written down."""

    def __init__(self) -> None:
        self._tables = Tables()
        self._writer = asyncio.Lock()

    @property
    def audit(self) -> tuple[AuditRow, ...]:
        return tuple(self._tables.audit.values())

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[MemoryTransaction]:
        yield MemoryTransaction(self._tables.copy())

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[MemoryTransaction]:
        async with self._writer:
            tables = self._tables.copy()
            yield MemoryTransaction(tables)
            self._tables = tables

    async def close(self) -> None:
        """Nothing is held."""


def _ordered(rows: Iterable[R]) -> list[R]:
    return sorted(rows, key=lambda row: (row.created_at, row.id))


def _page(rows: Iterable[R], after: str | None, limit: int) -> list[R]:
    start = paging.split(after) if after is not None else None
    return [row for row in _ordered(rows) if start is None or (row.created_at, row.id) > start][:limit]


def _find(rows: Mapping[str, N], id_or_name: str) -> N | None:
    named = (row for row in _ordered(rows.values()) if row.name == id_or_name)
    return rows.get(id_or_name) or next(named, None)


def _insert_named(rows: dict[str, N], new: N, siblings: Iterable[N]) -> bool:
    if any(row.name == new.name for row in siblings):
        return False
    rows[new.id] = new
    return True


def _replace(rows: dict[str, R], row: R) -> None:
    if row.id in rows:
        rows[row.id] = row
