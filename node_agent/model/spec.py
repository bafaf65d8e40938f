"""What is wanted: the desired state of one service, as the control plane wrote it."""

import dataclasses
import enum


class Run(enum.Enum):
    """REMOVED is the tombstone; absence never means removal."""

    RUNNING = "running"
    STOPPED = "stopped"
    REMOVED = "removed"


class Runtime(enum.Enum):
    NODEJS = "nodejs"
    PYTHON = "python"
    STATIC = "static"


@dataclasses.dataclass(frozen=True, slots=True)
class HealthCheck:
    """The gate before a release gets traffic: `retries` good answers in a row within `start_period_s`."""

    kind: str = "tcp"
    path: str = "/"
    interval_s: float = 0.25
    timeout_s: float = 5.0
    retries: int = 2
    start_period_s: float = 60.0


@dataclasses.dataclass(frozen=True, slots=True)
class ReleaseSpec:
    """One immutable release; `commit` is empty until the branch was resolved."""

    number: int
    remote: str
    branch: str
    commit: str
    runtime: Runtime
    version: str
    build_cmd: str
    run_cmd: str
    working_dir: str
    static_dir: str
    port: int
    env: tuple[tuple[str, str], ...]
    health_check: HealthCheck


@dataclasses.dataclass(frozen=True, slots=True)
class RouteSpec:
    id: str
    domain: str
    path: str = "/"


@dataclasses.dataclass(frozen=True, slots=True)
class ServiceSpec:
    """The wish for one service under its generation; a tombstone may have `release` None."""

    service_id: str
    generation: int
    name: str
    run: Run
    restart: int
    release: ReleaseSpec | None
    routes: tuple[RouteSpec, ...] = ()
