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
    """Durations in seconds. `kind` is tcp or http; `path` counts for http."""

    kind: str = "tcp"
    path: str = "/"
    interval_s: float = 0.25
    timeout_s: float = 5.0
    retries: int = 2
    start_period_s: float = 60.0


@dataclasses.dataclass(frozen=True, slots=True)
class Config:
    """What a user declares: the mutable fields of a deployment, and in a release the immutable snapshot of them."""

    source: str  # remote; other sources are refused until an instance can take them
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
    env: tuple[tuple[str, str], ...]
    health_check: HealthCheck
    description: str = ""


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


@dataclasses.dataclass(frozen=True, slots=True)
class Desired:
    """What the hub sends for one service."""

    service_id: str
    generation: int
    name: str
    run: Run
    restart: int
    release: Release | None
    routes: tuple[Route, ...]


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
