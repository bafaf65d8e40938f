"""The store in memory: same contract as store/, one writer at a time, a snapshot for each reader."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Collection, Mapping, Sequence

from control_plane.domain import release, series, values
from control_plane.fakes import tables
from control_plane.fakes.history import HistoryRows
from control_plane.fakes.leases import LeaseRows
from control_plane.fakes.people import PeopleRows


class MemoryTransaction(PeopleRows, HistoryRows, LeaseRows):
    """See ports.Transaction."""

    async def find_deployment(self, id_or_name: str, project_id: str | None = None) -> values.Deployment | None:
        rows = self._tables.deployments.values()
        return tables.find({row.id: row for row in rows if project_id in {None, row.project_id}}, id_or_name)

    async def named_deployments(self, id_or_name: str) -> Sequence[values.Deployment]:
        return tables.named(self._tables.deployments, id_or_name)

    async def list_deployments(
        self, projects: Collection[str] | None, name: str | None, after: str | None, limit: int
    ) -> Sequence[values.Deployment]:
        rows = self._tables.deployments.values()
        return tables.page(
            (row for row in rows if tables.allowed(row.project_id, projects) and name in {None, row.name}), after, limit
        )

    async def insert_deployment(self, deployment: values.Deployment) -> bool:
        rows = self._tables.deployments.values()
        siblings = [row for row in rows if row.project_id == deployment.project_id]
        return tables.insert_named(self._tables.deployments, deployment, siblings)

    async def update_deployment(self, deployment: values.Deployment) -> None:
        tables.replace(self._tables.deployments, deployment)

    async def delete_deployment(self, deployment_id: str) -> None:
        kept = self._tables
        kept.deployments.pop(deployment_id, None)
        gone = {row.id for row in kept.services.values() if row.deployment_id == deployment_id}
        kept.services = {key: row for key, row in kept.services.items() if key not in gone}
        kept.releases = {key: row for key, row in kept.releases.items() if row.deployment_id != deployment_id}
        kept.routes = {key: row for key, row in kept.routes.items() if row.service_id not in gone}
        kept.env_changes = {key: row for key, row in kept.env_changes.items() if row.service_id not in gone}

    async def get_release(self, deployment_id: str, number: int) -> values.Release | None:
        rows = self._tables.releases.values()
        return next((row for row in rows if (row.deployment_id, row.number) == (deployment_id, number)), None)

    async def list_releases(self, deployment_id: str) -> Sequence[values.Release]:
        rows = self._tables.releases.values()
        return sorted((row for row in rows if row.deployment_id == deployment_id), key=lambda row: row.number)

    async def releases_below(self, deployment_id: str, before: int | None, limit: int) -> Sequence[values.Release]:
        rows = reversed(await self.list_releases(deployment_id))
        return [row for row in rows if before is None or row.number < before][:limit]

    async def unfinished_releases(self) -> Sequence[values.Release]:
        return [row for row in self._tables.releases.values() if release.State(row.state) in release.UNFINISHED]

    async def newest_releases(self, deployment_ids: Sequence[str]) -> Mapping[str, values.Release]:
        return {one: rows[-1] for one in deployment_ids if (rows := await self.list_releases(one))}

    async def insert_release(self, new: values.Release) -> None:
        self._tables.releases[new.id] = new

    async def update_release(self, changed: values.Release) -> None:
        tables.replace(self._tables.releases, changed)

    async def drop_releases(self, keep: int) -> None:
        newest = {row.id: row.release for row in self._tables.deployments.values()}
        self._tables.releases = {
            key: row
            for key, row in self._tables.releases.items()
            if row.pinned
            or row.number > newest[row.deployment_id] - keep
            or release.State(row.state) not in release.ENDED
        }

    async def archives_in_use(self, project_id: str | None = None) -> frozenset[str]:
        known = [one for one in self._tables.deployments.values() if project_id in {None, one.project_id}]
        oldest = {one.id: one.release - release.KEPT_SOURCES for one in known}
        rows = (row for row in self._tables.releases.values() if row.deployment_id in oldest)
        kept = (row for row in rows if row.pinned or row.number > oldest[row.deployment_id])
        return frozenset(row.archive for row in kept if row.archive)

    async def pinned_releases(self, deployment_ids: Sequence[str]) -> Mapping[str, Sequence[tuple[int, int]]]:
        found: dict[str, list[tuple[int, int]]] = {}
        for row in sorted(self._tables.releases.values(), key=lambda one: one.number):
            if row.pinned and row.deployment_id in deployment_ids:
                found.setdefault(row.deployment_id, []).append((row.number, row.build_of))
        return found

    async def named_services(self, id_or_name: str) -> Sequence[values.Service]:
        return tables.named(self._tables.services, id_or_name)

    async def append_env_change(self, change: values.EnvChange) -> None:
        sequence = max(self._tables.env_changes, default=0) + 1
        self._tables.env_changes[sequence] = dataclasses.replace(change, sequence=sequence)

    async def list_env_changes(self, service_id: str, before: int | None, limit: int) -> Sequence[values.EnvChange]:
        rows = [row for row in self._tables.env_changes.values() if row.service_id == service_id]
        older = [row for row in rows if before is None or row.sequence < before]
        return sorted(older, key=lambda row: -row.sequence)[:limit]

    async def drop_env_changes(self, keep: int) -> None:
        services = {row.service_id for row in self._tables.env_changes.values()}
        kept = {row.sequence for one in services for row in await self.list_env_changes(one, None, keep)}
        self._tables.env_changes = {key: row for key, row in self._tables.env_changes.items() if key in kept}

    async def find_service(self, id_or_name: str) -> values.Service | None:
        return tables.find(self._tables.services, id_or_name)

    async def list_services(
        self, projects: Collection[str] | None, name: str | None, after: str | None, limit: int
    ) -> Sequence[values.Service]:
        rows = self._tables.services.values()
        return tables.page(
            (row for row in rows if tables.allowed(row.project_id, projects) and name in {None, row.name}), after, limit
        )

    async def list_services_of_instance(self, instance_id: str) -> Sequence[values.Service]:
        return tables.ordered(row for row in self._tables.services.values() if row.instance_id == instance_id)

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
        tables.replace(self._tables.services, service)

    async def get_route(self, route_id: str) -> values.Route | None:
        return self._tables.routes.get(route_id)

    async def list_routes(
        self,
        projects: Collection[str] | None,
        service_id: str | None,
        domain: str | None,
        after: str | None,
        limit: int,
        status: str | None = None,
    ) -> Sequence[values.Route]:
        rows = (row for row in self._tables.routes.values() if tables.allowed(row.project_id, projects))
        rows = (row for row in rows if service_id in {None, row.service_id} and domain in {None, row.domain})
        chosen = (row for row in rows if status in {None, row.status})
        return tables.page(chosen, after, limit)

    async def routes_of(self, service_ids: Sequence[str]) -> Mapping[str, Sequence[values.Route]]:
        found: dict[str, list[values.Route]] = {}
        for row in tables.ordered(self._tables.routes.values()):
            if row.service_id in service_ids:
                found.setdefault(row.service_id, []).append(row)
        return found

    async def routes_below(self, domain: str) -> Sequence[values.Route]:
        above = "*." + domain.partition(".")[2]
        rows = self._tables.routes.values()
        return tables.ordered(row for row in rows if row.domain.endswith(f".{domain}") or row.domain == above)

    async def insert_route(self, route: values.Route) -> bool:
        if any((row.domain, row.path) == (route.domain, route.path) for row in self._tables.routes.values()):
            return False
        self._tables.routes[route.id] = route
        return True

    async def update_route(self, route: values.Route) -> bool:
        others = (row for row in self._tables.routes.values() if row.id != route.id)
        if any((row.domain, row.path) == (route.domain, route.path) for row in others):
            return False
        tables.replace(self._tables.routes, route)
        return True

    async def delete_route(self, route_id: str) -> None:
        self._tables.routes.pop(route_id, None)

    async def find_instance(self, id_or_name: str) -> values.Instance | None:
        return tables.find(self._tables.instances, id_or_name)

    async def list_instances(self, after: str | None, limit: int) -> Sequence[values.Instance]:
        return tables.page(self._tables.instances.values(), after, limit)

    async def insert_instance(self, instance: values.Instance) -> bool:
        return tables.insert_named(self._tables.instances, instance, self._tables.instances.values())

    async def update_instance(self, instance: values.Instance) -> None:
        tables.replace(self._tables.instances, instance)

    async def delete_instance(self, instance_id: str) -> None:
        self._tables.instances.pop(instance_id, None)
        self._tables.samples.pop(instance_id, None)
        kept = self._tables.points.items()
        self._tables.points = {key: point for key, point in kept if key[0] != instance_id}

    async def insert_join_token(self, digest: str, expires_at: float) -> None:
        self._tables.join_tokens[digest] = expires_at

    async def spend_join_token(self, digest: str, now: float) -> bool:
        expires_at = self._tables.join_tokens.pop(digest, None)
        return expires_at is not None and now < expires_at

    async def drop_join_tokens(self, ended_before: float) -> None:
        kept = {digest: at for digest, at in self._tables.join_tokens.items() if at > ended_before}
        self._tables.join_tokens = kept

    async def put_sample(self, sample: values.Sample) -> None:
        self._tables.samples[sample.instance_id] = sample

    async def get_sample(self, instance_id: str) -> values.Sample | None:
        return self._tables.samples.get(instance_id)

    async def get_point(self, instance_id: str, step_s: int, place: int) -> series.Point | None:
        return self._tables.points.get((instance_id, step_s, place))

    async def put_point(self, instance_id: str, step_s: int, place: int, point: series.Point) -> None:
        self._tables.points[instance_id, step_s, place] = point

    async def list_points(self, instance_id: str, step_s: int, since: float, until: float) -> Sequence[series.Point]:
        rows = [point for key, point in self._tables.points.items() if key[:2] == (instance_id, step_s)]
        return sorted((point for point in rows if since <= point.time < until), key=lambda point: point.time)


class MemoryStore:
    """See ports.Store. `audit` shows tests what was written down."""

    def __init__(self) -> None:
        self._tables = tables.Tables()
        self._writer = asyncio.Lock()

    @property
    def audit(self) -> tuple[values.AuditEntry, ...]:
        return tuple(self._tables.audit.values())

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[MemoryTransaction]:
        yield MemoryTransaction(self._tables.copy())

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[MemoryTransaction]:
        async with self._writer:
            changed = self._tables.copy()
            yield MemoryTransaction(changed)
            self._tables = changed

    async def close(self) -> None:
        """Nothing is held."""
