"""The frozen values that everything else passes around. The words are those of the vocabulary in docs/explanation."""

import dataclasses
import datetime
import enum
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


@dataclasses.dataclass(frozen=True, slots=True)
class Project:
    id: str
    name: str
    description: str
    created_at: Time


@dataclasses.dataclass(frozen=True, slots=True)
class User:
    """`operator` is the role over the whole installation."""

    id: str
    email: str
    password_hash: str
    operator: bool
    created_at: Time
    disabled: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Principal:
    """Who calls: set once per request by the authentication hook."""

    user_id: str
    email: str
    permissions: frozenset[str]


@dataclasses.dataclass(frozen=True, slots=True)
class Deployment:
    """`release` is the newest number. The public status is a projection, see domain/release.py."""

    id: str
    project_id: str
    name: str
    service_id: str
    config: Config
    release: int
    created_at: Time
    updated_at: Time


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
