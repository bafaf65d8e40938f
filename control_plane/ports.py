"""How the siblings of the control plane meet. Each Protocol has a real implementation and a fake, one suite for both."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from typing import IO, Protocol

from control_plane.domain import lease, series, values, webhook

EVENTS = "events"


class AccountRows(Protocol):
    """People, their tokens, and settings of the installation."""

    async def get_user(self, user_id: str) -> values.User | None: ...
    async def find_user(self, email: str) -> values.User | None: ...
    async def list_users(self, after: str | None, limit: int) -> Sequence[values.User]: ...
    async def count_users(self) -> int: ...
    async def count_operators(self) -> int:
        """Those that are not disabled."""
        ...

    async def insert_user(self, user: values.User) -> bool: ...
    async def update_user(self, user: values.User) -> None: ...
    async def delete_user(self, user_id: str) -> None:
        """With memberships, logins and tokens."""
        ...

    async def insert_family(self, family: values.Family) -> None: ...
    async def get_family(self, family_id: str) -> values.Family | None: ...
    async def swap_jti(self, family_id: str, old: str, new: str) -> bool:
        """True for the one caller that knew the newest, while the family is not revoked."""
        ...

    async def revoke_family(self, family_id: str) -> None: ...
    async def revoke_families(self, user_id: str, but: str = "") -> None:
        """All logins of the user except `but`."""
        ...

    async def drop_families(self, ended_before: values.Time) -> None:
        """Logins whose last refresh token has expired."""
        ...

    async def insert_token(self, token: values.Token) -> bool: ...
    async def find_token(self, digest: str) -> values.Token | None: ...
    async def list_tokens(self, user_id: str, after: str | None, limit: int) -> Sequence[values.Token]: ...
    async def touch_token(self, token_id: str, at: values.Time) -> None: ...
    async def delete_token(self, token_id: str, user_id: str) -> bool: ...
    async def drop_tokens(self, ended_before: values.Time) -> None:
        """Personal tokens that expired earlier."""
        ...

    async def get_setting(self, key: str) -> str | None: ...
    async def put_setting(self, key: str, value: str) -> None:
        """Settings are sealed at rest."""
        ...


class ProjectRows(Protocol):
    async def list_projects(
        self, projects: Collection[str] | None, name: str | None, after: str | None, limit: int
    ) -> Sequence[values.Project]: ...
    async def projects_by_id(self, project_ids: Collection[str]) -> Mapping[str, values.Project]: ...
    async def find_project(self, id_or_name: str) -> values.Project | None: ...
    async def insert_project(self, project: values.Project) -> bool: ...
    async def update_project(self, project: values.Project) -> bool:
        """False when its new name is taken."""
        ...

    async def delete_project(self, project_id: str) -> None:
        """With members and webhooks; there must be no deployment in it. Its events stay."""
        ...

    async def list_members(self, project_id: str) -> Sequence[values.Member]: ...
    async def roles_of(self, user_id: str) -> Mapping[str, str]:
        """Project id → role."""
        ...

    async def put_member(self, member: values.Member) -> None: ...
    async def delete_member(self, project_id: str, user_id: str) -> bool: ...


class DeploymentRows(Protocol):
    """Deployments, their releases, and the services that run them."""

    async def find_deployment(self, id_or_name: str, project_id: str | None = None) -> values.Deployment | None: ...
    async def named_deployments(self, id_or_name: str) -> Sequence[values.Deployment]:
        """The one of that id first, then those of that name in any project."""
        ...

    async def list_deployments(
        self, projects: Collection[str] | None, name: str | None, after: str | None, limit: int
    ) -> Sequence[values.Deployment]: ...
    async def insert_deployment(self, deployment: values.Deployment) -> bool: ...
    async def update_deployment(self, deployment: values.Deployment) -> None: ...
    async def delete_deployment(self, deployment_id: str) -> None:
        """With its releases, service and routes."""
        ...

    async def get_release(self, deployment_id: str, number: int) -> values.Release | None: ...
    async def list_releases(self, deployment_id: str) -> Sequence[values.Release]: ...
    async def releases_below(self, deployment_id: str, before: int | None, limit: int) -> Sequence[values.Release]:
        """Newest first, those with a number below `before`."""
        ...

    async def pinned_releases(self, deployment_ids: Sequence[str]) -> Mapping[str, Sequence[tuple[int, int]]]:
        """(number, release whose build it uses or 0) of what is pinned of each deployment that has any, oldest first."""
        ...

    async def unfinished_releases(self) -> Sequence[values.Release]:
        """Of all deployments, those that are neither live nor ended."""
        ...

    async def newest_releases(self, deployment_ids: Sequence[str]) -> Mapping[str, values.Release]:
        """The one with the highest number of each."""
        ...

    async def insert_release(self, new: values.Release) -> None: ...
    async def update_release(self, changed: values.Release) -> None: ...
    async def drop_releases(self, keep: int) -> None:
        """All but the newest `keep` of each deployment, those that are pinned, that serve, and that are not finished."""
        ...

    async def archives_in_use(self, project_id: str | None = None) -> frozenset[str]:
        """Of uploaded sources, those that the newest release.KEPT_SOURCES releases of a deployment name, or pinned ones."""
        ...

    async def find_service(self, id_or_name: str) -> values.Service | None: ...
    async def named_services(self, id_or_name: str) -> Sequence[values.Service]:
        """The one of that id first, then those of that name in any project."""
        ...

    async def list_services(
        self, projects: Collection[str] | None, name: str | None, after: str | None, limit: int
    ) -> Sequence[values.Service]: ...
    async def list_services_of_instance(self, instance_id: str) -> Sequence[values.Service]: ...
    async def services_by_id(self, service_ids: Sequence[str]) -> Mapping[str, values.Service]: ...
    async def count_services(self) -> Mapping[str, int]:
        """How many each instance has; without those that have none."""
        ...

    async def insert_service(self, service: values.Service) -> None: ...
    async def update_service(self, service: values.Service) -> None: ...

    async def append_env_change(self, change: values.EnvChange) -> None: ...
    async def list_env_changes(self, service_id: str, before: int | None, limit: int) -> Sequence[values.EnvChange]:
        """Newest first, those with a sequence below `before`."""
        ...

    async def drop_env_changes(self, keep: int) -> None:
        """All but the newest `keep` of each service."""
        ...


class RouteRows(Protocol):
    async def get_route(self, route_id: str) -> values.Route | None: ...
    async def list_routes(
        self,
        projects: Collection[str] | None,
        service_id: str | None,
        domain: str | None,
        after: str | None,
        limit: int,
        status: str | None = None,
    ) -> Sequence[values.Route]: ...
    async def routes_of(self, service_ids: Sequence[str]) -> Mapping[str, Sequence[values.Route]]:
        """All routes of each service; a service without any is left out."""
        ...

    async def routes_below(self, domain: str) -> Sequence[values.Route]:
        """Those whose domain ends with `.domain`, wildcards included, and those of `*.` what is above `domain`."""
        ...

    async def insert_route(self, route: values.Route) -> bool:
        """False when (domain, path) is taken anywhere in the installation."""
        ...

    async def update_route(self, route: values.Route) -> bool:
        """False when its new (domain, path) is taken."""
        ...

    async def delete_route(self, route_id: str) -> None: ...


class InstanceRows(Protocol):
    async def find_instance(self, id_or_name: str) -> values.Instance | None: ...
    async def list_instances(self, after: str | None, limit: int) -> Sequence[values.Instance]: ...
    async def insert_instance(self, instance: values.Instance) -> bool: ...
    async def update_instance(self, instance: values.Instance) -> None: ...
    async def delete_instance(self, instance_id: str) -> None:
        """With its sample and points; there must be no service on it."""
        ...

    async def insert_join_token(self, digest: str, expires_at: float) -> None: ...
    async def spend_join_token(self, digest: str, now: float) -> bool:
        """True exactly once for a token that has not expired; expired ones are dropped on the way."""
        ...

    async def drop_join_tokens(self, ended_before: float) -> None: ...

    async def put_sample(self, sample: values.Sample) -> None: ...
    async def get_sample(self, instance_id: str) -> values.Sample | None: ...
    async def get_point(self, instance_id: str, step_s: int, place: int) -> series.Point | None:
        """What is in that place of the instance's ring of `step_s`."""
        ...

    async def put_point(self, instance_id: str, step_s: int, place: int, point: series.Point) -> None: ...
    async def list_points(self, instance_id: str, step_s: int, since: float, until: float) -> Sequence[series.Point]:
        """Those of a ring whose slots begin at `since` or later and before `until`, oldest first."""
        ...


class HistoryRows(Protocol):
    """What happened: the audit, events, and what requests with a key were answered."""

    async def append_audit(self, entry: values.AuditEntry) -> values.AuditEntry:
        """`entry` in its place in the chain."""
        ...

    async def list_audit(
        self, projects: Collection[str] | None, wanted: values.AuditQuery, before: int | None, limit: int
    ) -> Sequence[values.AuditEntry]:
        """Newest first, those with a sequence below `before`. Those of no project are shown for None alone."""
        ...

    async def audit_after(self, sequence: int, limit: int) -> Sequence[values.AuditEntry]:
        """Oldest first, all projects."""
        ...

    async def append_event(self, event: values.Event) -> values.Event:
        """`event` with its sequence."""
        ...

    async def list_events(
        self, projects: Collection[str] | None, wanted: values.EventQuery, after: int, limit: int
    ) -> Sequence[values.Event]:
        """Oldest first, those with a sequence above `after`. Events of no project are shown for None alone."""
        ...

    async def drop_events(self, before: values.Time) -> None: ...

    async def find_event(self, event_id: str) -> values.Event | None: ...
    async def newest_event(self) -> int:
        """The highest sequence; 0 without any."""
        ...

    async def find_answer(self, principal: str, route: str, key: str) -> values.StoredAnswer | None: ...
    async def insert_answer(self, answer: values.StoredAnswer) -> bool:
        """False when the key was used already."""
        ...

    async def drop_answers(self, before: float) -> None:
        """Those that were stored earlier (seconds since the epoch)."""
        ...


class WebhookRows(Protocol):
    async def get_webhook(self, webhook_id: str) -> values.Webhook | None: ...
    async def list_webhooks(
        self, projects: Collection[str] | None, after: str | None, limit: int
    ) -> Sequence[values.Webhook]: ...
    async def webhooks_for(self, project_id: str) -> Sequence[values.Webhook]:
        """The enabled ones of the project and those of the whole installation."""
        ...

    async def insert_webhook(self, hook: values.Webhook) -> None: ...
    async def update_webhook(self, hook: values.Webhook) -> None: ...
    async def delete_webhook(self, webhook_id: str) -> None: ...

    async def insert_delivery(self, delivery: webhook.Delivery) -> None: ...
    async def get_delivery(self, delivery_id: str) -> webhook.Delivery | None: ...
    async def update_delivery(self, delivery: webhook.Delivery) -> None: ...
    async def list_deliveries(
        self, webhook_id: str, after: str | None, limit: int, state: str | None = None
    ) -> Sequence[webhook.Delivery]:
        """Newest first."""
        ...

    async def fail_deliveries(self, webhook_id: str, at: values.Time) -> None:
        """All that wait: their webhook was disabled."""
        ...

    async def due_deliveries(self, now: float, limit: int, without: Collection[str] = ()) -> Sequence[webhook.Delivery]:
        """Of each (enabled webhook, subject) the first that waits, when its time has come; not of those in `without`."""
        ...

    async def next_delivery_at(self, after: float) -> float | None:
        """The earliest time behind `after` at which one of those is due."""
        ...

    async def webhooks_behind(self, most: int) -> Sequence[str]:
        """The ids of the enabled webhooks for which more than `most` deliveries wait."""
        ...

    async def drop_deliveries(self, before: values.Time) -> None:
        """Those that came to an end earlier, with their attempts; what waits stays."""
        ...

    async def insert_attempt(self, attempt: webhook.Attempt) -> None: ...
    async def attempts_of(self, delivery_ids: Sequence[str]) -> Mapping[str, Sequence[webhook.Attempt]]: ...


class LeaseRows(Protocol):
    async def get_lease(self, name: str) -> lease.Lease | None: ...
    async def swap_lease(self, old: lease.Lease, new: lease.Lease) -> bool:
        """Replace the row that is exactly `old`; False when it is not. One that never was is `Lease(name)`."""
        ...


class Transaction(
    AccountRows, ProjectRows, DeploymentRows, RouteRows, InstanceRows, HistoryRows, WebhookRows, LeaseRows, Protocol
):
    """All reads and writes of one unit of work; a writing one commits whole when its block ends without an error.

    `get_*` and `find_*` answer None when there is none. `insert_*` answers False when a unique name is taken. `update_*`
    replaces the row of the same id. Lists are ordered by creation, oldest first unless said otherwise; `after` is a
    position of domain/paging.py, and the page begins behind it. `projects` are the ids that may be shown, None is all.
    """


class Store(Protocol):
    """The one interface to the database; async, so that nobody writes a sync twin."""

    def read(self) -> contextlib.AbstractAsyncContextManager[Transaction]:
        """A snapshot for reading."""
        ...

    def write(self) -> contextlib.AbstractAsyncContextManager[Transaction]:
        """A durable transaction: committed when the block ends, rolled back when it raises.

        Raises UnavailableError when the database is busy for too long.
        """
        ...

    async def close(self) -> None: ...


class Notifier(Protocol):
    """Wakes whoever sends to an instance. A hint only: the rows are the truth."""

    def instance_changed(self, instance_id: str) -> None:
        """Also for the topic EVENTS, which is no instance: something happened, or waits for delivery."""
        ...

    async def wait(self, instance_id: str, timeout_s: float) -> bool:
        """True when the instance was told of since the last wait; False after `timeout_s`. For one consumer of a topic."""
        ...

    def count(self, topic: str) -> int:
        """How often the topic was told of; to be read before the rows are."""
        ...

    async def wait_beyond(self, topic: str, seen: int, timeout_s: float) -> int:
        """The count as soon as it is not `seen`, at the latest after `timeout_s`. For any number of consumers."""
        ...


class LogRelay(Protocol):
    """From the agent that stores a service's log to one reader."""

    def read(self, instance_id: str, query: values.LogQuery) -> AsyncIterator[Sequence[values.LogLine]]:
        """Batches: first the tail, then (follow) what is new; without follow it ends after the tail.

        Raises UnavailableError with details.instance when the agent is not connected or leaves meanwhile. A reader
        that is too slow gets a gap marker and costs bounded memory.
        """
        ...


class Runs(Protocol):
    """One-off commands, and what is done to volumes, on the instances that hold the services."""

    def run(
        self, instance_id: str, query: values.RunQuery | values.VolumeQuery
    ) -> AsyncGenerator[values.RunOutput, None]:
        """What the command writes as it writes it, in order per stream; the last piece alone has the outcome.

        Closing the iterator cancels the command. Raises UnavailableError with details.instance when the agent is not
        connected or leaves meanwhile, ConflictError when the service cannot run a command now.
        """
        ...


class Archives(Protocol):
    """Uploaded sources, by the SHA-256 of the archive in hex."""

    async def open(self, instance_id: str, archive: str) -> AsyncIterator[bytes]:
        """The bytes of the archive from the beginning. NotFoundError unless a service of that instance wants it."""
        ...


class ArchiveFiles(Protocol):
    """Where uploaded sources lie. What `keep` gave is held until `let_go`, so that no sweep takes it before it is used."""

    def keep(self, stream: IO[bytes]) -> str:
        """Store what `stream` gives and return its SHA-256 in hex; blocks, so it is called on a worker thread.

        InvalidError when it is no archive that we know, InsufficientStorageError when there is no room. What is stored
        is whole and durable; of anything else nothing is left.
        """
        ...

    def let_go(self, archive: str) -> None: ...

    def pieces(self, archive: str) -> AsyncIterator[bytes]:
        """The archive in pieces of at most 256 KiB; NotFoundError when it is not there."""
        ...

    async def size(self, archives: Collection[str]) -> int:
        """The bytes of `archives` together; one that is not there has none."""
        ...

    async def sweep(self, wanted: Collection[str]) -> None:
        """Remove every archive that is neither in `wanted` nor held, and what broken uploads left.

        What may be another process's is spared while it is fresh; a later sweep takes it.
        """
        ...


class CertificateAuthority(Protocol):
    """The installation's own CA for agents."""

    @property
    def ca_pem(self) -> bytes: ...

    def fingerprint(self) -> str:
        """SHA-256 in hex of the DER of the certificate that the enrolment listener shows; part of every join token."""
        ...

    def enrolment_pair(self) -> tuple[bytes, bytes]:
        """(key PEM, certificate PEM) for the enrolment listener; joining agents pin it by its fingerprint."""
        ...

    def check_csr(self, csr_pem: bytes) -> None:
        """InvalidError when `issue_instance` would refuse it; asked before a join token is spent."""
        ...

    def issue_instance(self, csr_pem: bytes, instance_id: str) -> bytes:
        """A client certificate (PEM) for spiffe://dployr/instance/<id>, 7 days. InvalidError when the CSR is bad."""
        ...

    def issue_server(self, names: Sequence[str]) -> tuple[bytes, bytes]:
        """(key PEM, certificate PEM) for the hub's listener."""
        ...
