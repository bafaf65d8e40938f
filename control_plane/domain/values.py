"""The frozen values that everything else passes around. The words are those of the vocabulary in docs/explanation."""

import dataclasses
import datetime
import enum
from collections.abc import Mapping
from typing import Any

Time = datetime.datetime


class Run(enum.Enum):
    """What is wanted of a service; REMOVED is the tombstone."""

    RUNNING = "running"
    STOPPED = "stopped"
    REMOVED = "removed"


@dataclasses.dataclass(frozen=True, slots=True)
class HealthCheck:
    """Durations in seconds. `kind` is tcp, http or command; `path` counts for http, `command` for command."""

    kind: str = "tcp"
    path: str = "/"
    interval_s: float = 0.25
    timeout_s: float = 5.0
    retries: int = 2
    start_period_s: float = 60.0
    command: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable of an application. No value is ever printed; a `secret` one never leaves the API."""

    key: str
    value: str = dataclasses.field(repr=False)
    secret: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Resources:
    """Limits of each process; 0 is none. `strict`: refuse an instance that cannot enforce them."""

    memory_bytes: int = 0
    cpu: float = 0.0
    pids: int = 0
    disk_bytes: int = 0
    strict: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Strategy:
    """How a release takes over: rolling, recreate or canary (`weight` percent first, then `steps`, `interval_s` apart)."""

    kind: str = "rolling"
    weight: int = 0
    steps: tuple[int, ...] = ()
    interval_s: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class Config:
    """What a user declares: the mutable fields of a deployment, and in a release the immutable snapshot of them."""

    source: str  # remote (git) or local (an archive that was uploaded)
    remote: str
    branch: str
    commit: str  # empty: the head of the branch
    runtime: str  # nodejs | python | static (aliases are resolved before)
    version: str
    build_cmd: str
    run_cmd: str
    working_dir: str
    static_dir: str
    port: int
    env: tuple[Variable, ...]  # sorted by key
    health_check: HealthCheck
    description: str = ""
    git_token: str = dataclasses.field(default="", repr=False)
    replicas: int = 1
    resources: Resources = Resources()
    strategy: Strategy = Strategy()
    processes: tuple[tuple[str, str], ...] = ()  # name → command, sorted; `web` is run_cmd
    labels: tuple[tuple[str, str], ...] = ()
    placement: tuple[tuple[str, str], ...] = ()  # labels that an instance must have
    given: tuple[str, ...] = dataclasses.field(
        default=(), compare=False
    )  # what was asked for, also if it is the default


@dataclasses.dataclass(frozen=True, slots=True)
class Project:
    id: str
    name: str
    description: str
    created_at: Time
    generation: int = 1
    updated_at: Time | None = None
    deleting: bool = False  # it goes with its last deployment, and takes nothing new


@dataclasses.dataclass(frozen=True, slots=True)
class User:
    """`operator` is the role over the whole installation. Access tokens from before `valid_from` are refused."""

    id: str
    email: str
    password_hash: str = dataclasses.field(repr=False)
    operator: bool
    created_at: Time
    disabled: bool = False
    valid_from: float = 0.0
    generation: int = 1
    updated_at: Time | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """What `user_id` is in a project: viewer, developer, admin or owner."""

    project_id: str
    user_id: str
    role: str
    created_at: Time


@dataclasses.dataclass(frozen=True, slots=True)
class Family:
    """One login: the refresh tokens that followed each other. `jti` is that of the newest; an older one revokes all."""

    id: str
    user_id: str
    jti: str
    created_at: Time
    expires_at: Time
    revoked: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Token:
    """A personal access token, known by its digest. Empty `scopes`: all that its user may; `project_id`: nowhere else."""

    id: str
    user_id: str
    name: str
    digest: str
    scopes: tuple[str, ...]
    project_id: str
    expires_at: Time | None
    last_used_at: Time | None
    created_at: Time


@dataclasses.dataclass(frozen=True, slots=True)
class Principal:
    """Who calls, and from where: set once per request by the authentication hook.

    `roles` says what the caller is in each project. A personal token narrows: `scopes` (None: no narrowing), `only` (the
    id of its one project) and `until` (when it ends). `family` is the login that an access token belongs to.
    """

    user_id: str
    email: str
    operator: bool = False
    roles: Mapping[str, str] = dataclasses.field(default_factory=dict)
    scopes: frozenset[str] | None = None
    only: str = ""
    until: Time | None = None
    family: str = ""
    address: str = ""
    request_id: str = ""


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
class EventQuery:
    """Filters of events; empty ones let everything through. `since` is a time."""

    types: tuple[str, ...] = ()
    subject: str = ""
    since: Time | None = None


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


@dataclasses.dataclass(frozen=True, slots=True)
class Deployment:
    """`release` is the newest number. The public status is a projection, see domain/release.py.

    `poll`: look at the branch from time to time and deploy what is new. `hook_digest` is that of the token in the
    address that git hosts call, `hook_secret` signs their calls; both empty until a hook was made.
    """

    id: str
    project_id: str
    name: str
    service_id: str
    config: Config
    release: int
    created_at: Time
    updated_at: Time
    generation: int = 1
    poll: bool = True
    hook_digest: str = ""
    hook_secret: str = dataclasses.field(default="", repr=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Release:
    """Immutable but for its state, which only moves along the transition table."""

    id: str
    deployment_id: str
    number: int
    config: Config
    commit: str
    state: str
    reason: str
    message: str
    created_at: Time
    changed_at: Time
    build_of: int = 0  # the release whose build this one uses again; 0: it has its own
    archive: str = ""  # of an uploaded source: the SHA-256 of the archive, in hex
    cause: str = ""  # what made it: create, update, redeploy, rollback, env, start, upload, hook, poll, patch


@dataclasses.dataclass(frozen=True, slots=True)
class Process:
    name: str
    release: int
    state: str
    pid: int
    port: int
    started_at: float
    restarts: int
    last_exit: str


@dataclasses.dataclass(frozen=True, slots=True)
class Observed:
    """What the agent measured last of one service, under the generation that it answers."""

    generation: int = 0
    status: str = "unknown"
    health: str = "unknown"
    live_release: int = 0
    message: str = ""
    processes: tuple[Process, ...] = ()
    reported_at: Time | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Service:
    """The running side of a deployment, 1 : 1. Every change of the wish raises `generation`."""

    id: str
    deployment_id: str
    project_id: str
    name: str
    instance_id: str
    run: Run
    restart: int
    generation: int
    acknowledged: int  # newest generation that the agent stored
    observed: Observed
    created_at: Time
    updated_at: Time
    request_id: str = ""  # of the request that made the newest wish; empty when nobody asked


@dataclasses.dataclass(frozen=True, slots=True)
class Condition:
    """One thing that can be said of an object. `status` is True, False or Unknown; `reason` one word for programs."""

    type: str
    status: str
    reason: str
    message: str


@dataclasses.dataclass(frozen=True, slots=True)
class ServiceView(Service):
    """A service as its page shows it: the public words in `observed`, and the conditions of `at`."""

    conditions: tuple[Condition, ...] = ()
    at: Time | None = None
    usage: Mapping[int, "Usage"] = dataclasses.field(default_factory=dict)  # by pid; empty in lists


@dataclasses.dataclass(frozen=True, slots=True)
class Usage:
    """What a process with all that it started used at the last sample; percent of one core."""

    cpu_percent: float
    rss_bytes: int


@dataclasses.dataclass(frozen=True, slots=True)
class RouteOptions:
    """How the proxy serves a route. `tls` is off, auto or own (then `certificate` and `key` are PEM).

    `basic_auth` holds (user, hash) pairs; `weights` (service id, percent) pairs that share the traffic.
    """

    tls: str = "off"
    certificate: str = ""
    key: str = dataclasses.field(default="", repr=False)
    redirect_to: str = ""
    force_https: bool = False
    basic_auth: tuple[tuple[str, str], ...] = dataclasses.field(default=(), repr=False)
    headers: tuple[tuple[str, str], ...] = ()
    max_body_bytes: int = 25 << 20
    websocket: bool = True
    maintenance: bool = False
    weights: tuple[tuple[str, int], ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Route:
    """`status` is pending, active, failed or quarantined; `message` has nginx's own words."""

    id: str
    project_id: str
    service_id: str
    domain: str
    path: str
    port: int
    status: str
    message: str
    created_at: Time
    options: RouteOptions = RouteOptions()
    generation: int = 1
    updated_at: Time | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Instance:
    """A host with an agent. `epoch` counts its sessions; `facts` is what it said of itself at the last connect."""

    id: str
    name: str
    epoch: int
    online: bool
    last_seen: Time | None
    agent_version: str
    boot_id: str
    facts: dict[str, Any]
    created_at: Time
    labels: tuple[tuple[str, str], ...] = ()
    cordoned: bool = False
    revoked: bool = False
    generation: int = 1
    draining: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class InstanceView(Instance):
    """An instance as its page shows it: the projected status, and how many services are on it."""

    status: str = "offline"
    services: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Sample:
    """The newest measurement of an instance: structured, and as Prometheus text."""

    instance_id: str
    time: float
    families: dict[str, Any]
    exposition: str


@dataclasses.dataclass(frozen=True, slots=True)
class ReleaseReport:
    number: int
    state: str
    reason: str
    message: str
    commit: str
    changed_at: float


@dataclasses.dataclass(frozen=True, slots=True)
class RouteReport:
    id: str
    state: str
    message: str


@dataclasses.dataclass(frozen=True, slots=True)
class ServiceReport:
    """One agent's report of one service. `removed` confirms a tombstone."""

    sequence: int
    service_id: str
    observed: Observed
    releases: tuple[ReleaseReport, ...]
    routes: tuple[RouteReport, ...]
    removed: bool
    branch_head: str = ""  # what the branch of the newest release pointed to at the last look


@dataclasses.dataclass(frozen=True, slots=True)
class Desired:
    """What the hub sends for one service. `cancelled`: end its release unless it is live, and keep what serves.

    `poll_s` is how often the agent looks whether the branch has moved; 0 is never.
    """

    service_id: str
    generation: int
    name: str
    run: Run
    restart: int
    release: Release | None
    routes: tuple[Route, ...]
    cancelled: bool = False
    poll_s: int = 0
    request_id: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class DeploymentView:
    """A deployment with what its page shows: the projected status, its reason, and where it can be reached."""

    deployment: Deployment
    project: str
    status: str
    status_reason: str
    live_release: int | None
    commit: str
    urls: tuple[str, ...]
    instance_id: str = ""
    pending_changes: bool = False
    warnings: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class LogQuery:
    service_id: str
    tail: int = 100
    follow: bool = False
    after_seq: int = 0
    source: str = ""
    release: int = 0
    since: float = 0.0
    until: float = 0.0
    grep: str = ""
    stream: str = ""
    process: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class RunQuery:
    """A one-off command in the environment of a service's live release."""

    run_id: str
    service_id: str
    command: str
    timeout_s: float


@dataclasses.dataclass(frozen=True, slots=True)
class RunOutput:
    """A piece of what a one-off command wrote; the last one has `outcome` and `code` instead.

    `outcome` is exited, signalled, timeout, cancelled or start_failed; `code` the exit code, signal or errno.
    """

    stream: str = ""
    data: bytes = b""
    outcome: str = ""
    code: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class LogLine:
    """`gap_to` not 0 marks the lines seq … gap_to as lost."""

    seq: int
    time: float
    stream: str
    process: str
    release: int
    line: bytes
    gap_to: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Page:
    """One page of a list; `next_cursor` is None on the last."""

    items: tuple[Any, ...]
    next_cursor: str | None
