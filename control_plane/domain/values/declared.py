"""What a user declares: a configuration and what it is made of. Imported by way of `values`."""

import dataclasses
import enum


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
class CronEntry:
    """A command that runs in the environment of the live release whenever `schedule` (UTC) says.

    `overlap`: what happens while its last run is still under way: skip, allow or replace.
    """

    name: str
    schedule: str
    command: str
    overlap: str = "skip"
    timeout_s: float = 3600.0


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
    git_host_key: str = ""  # of the ssh server
    submodules: bool = False
    replicas: int = 1
    resources: Resources = Resources()
    strategy: Strategy = Strategy()
    port_mode: str = "env"  # env: the app listens on PORT; fixed: always on `port`, so that releases take turns
    auto_rollback: bool = False  # go back by itself when a release keeps crashing soon after it went live
    processes: tuple[tuple[str, str], ...] = ()  # name → command, sorted; `web` is run_cmd
    process_replicas: tuple[tuple[str, int], ...] = ()  # name → how often it runs; one that is not there runs once
    volumes: tuple[tuple[str, str], ...] = ()  # name → mount below the working directory, sorted
    cron: tuple[CronEntry, ...] = ()  # sorted by name
    labels: tuple[tuple[str, str], ...] = ()
    placement: tuple[tuple[str, str], ...] = ()  # labels that an instance must have
    # Made for a deployment by ssh; nobody declares it.
    deploy_key: str = dataclasses.field(default="", repr=False, compare=False)
    deploy_public_key: str = dataclasses.field(default="", compare=False)
    given: tuple[str, ...] = dataclasses.field(
        default=(), compare=False
    )  # what was asked for, also if it is the default
