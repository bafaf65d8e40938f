"""What is wanted: the desired state of one service, as the control plane wrote it."""

import dataclasses
import enum

from node_agent.model.source import Access
from node_agent.model.volume import Volumes


class Run(enum.Enum):
    """REMOVED is the tombstone; absence never means removal."""

    RUNNING = "running"
    STOPPED = "stopped"
    REMOVED = "removed"


class Runtime(enum.Enum):
    """DETECT: nobody asked for one, the source says what it is. CUSTOM brings its own programs."""

    DETECT = ""
    NODEJS = "nodejs"
    PYTHON = "python"
    GO = "go"
    PHP = "php"
    RUBY = "ruby"
    JAVA = "java"
    DOTNET = "dotnet"
    STATIC = "static"
    CUSTOM = "custom"


@dataclasses.dataclass(frozen=True, slots=True)
class HealthCheck:
    """The gate before a release gets traffic: `retries` good answers in a row within `start_period_s`."""

    kind: str = "tcp"
    path: str = "/"
    interval_s: float = 0.25
    timeout_s: float = 5.0
    retries: int = 2
    start_period_s: float = 60.0
    command: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Resources:
    """Limits of each process; 0 is none. `strict`: rather fail than run without them."""

    memory_bytes: int = 0
    cpu: float = 0.0
    pids: int = 0
    disk_bytes: int = 0
    strict: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Strategy:
    """How a release takes over: rolling, recreate or canary (`weight` percent first, then `steps`, each for `interval_s`)."""

    kind: str = "rolling"
    weight: int = 0
    steps: tuple[int, ...] = ()
    interval_s: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class CronEntry:
    """A command that runs when `schedule` says. `overlap`: what happens while its last run is still under way: skip, allow
    or replace.
    """

    name: str
    schedule: str
    command: str
    overlap: str = "skip"
    timeout_s: float = 3600.0


@dataclasses.dataclass(frozen=True, slots=True)
class ReleaseSpec:
    """One immutable release; `commit` is empty until the branch was resolved.

    `secret_keys` name the variables of `env` that only the running application gets. `build_of` is the release whose
    build this one uses again, 0 when it has its own. A local source is the archive of that digest, a remote one is git.
    `process_replicas` are of processes beside `web`; one that is not named runs once. `given` names the fields that somebody asked for; those come before what the source says.
    """

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
    env: tuple[tuple[str, str], ...] = dataclasses.field(repr=False)
    health_check: HealthCheck
    secret_keys: tuple[str, ...] = ()
    build_of: int = 0
    source: str = "remote"
    archive: str = ""
    git_token: str = dataclasses.field(default="", repr=False)
    git_key: str = dataclasses.field(default="", repr=False)
    git_host_key: str = ""
    submodules: bool = False
    replicas: int = 1
    resources: Resources = Resources()
    strategy: Strategy = Strategy()
    processes: tuple[tuple[str, str], ...] = ()
    process_replicas: tuple[tuple[str, int], ...] = ()
    port_mode: str = "env"
    volumes: Volumes = ()
    given: tuple[str, ...] = ()
    cron: tuple[CronEntry, ...] = ()

    @property
    def takes_turns(self) -> bool:
        """Must the former release end before this one can begin?"""
        return self.strategy.kind == "recreate" or self.port_mode == "fixed"

    @property
    def access(self) -> Access:
        """What opens the repository."""
        return Access(self.git_token, self.git_key, self.git_host_key)

    @property
    def build_env(self) -> tuple[tuple[str, str], ...]:
        """What a build gets: no secret."""
        return tuple((key, value) for key, value in self.env if key not in self.secret_keys)


@dataclasses.dataclass(frozen=True, slots=True)
class RouteOptions:
    """How the proxy serves a route. `basic_auth` holds (user, hash), `weights` (service id, percent)."""

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
class RouteSpec:
    id: str
    domain: str
    path: str = "/"
    options: RouteOptions = RouteOptions()


@dataclasses.dataclass(frozen=True, slots=True)
class ServiceSpec:
    """The wish for one service under its generation; a tombstone may have `release` None.

    `cancelled`: the release shall not go live, unless it did already; what serves goes on. `poll_s` is how often to
    look where the branch points to, 0 never. `pinned` are releases that stay on disk.
    """

    service_id: str
    generation: int
    name: str
    run: Run
    restart: int
    release: ReleaseSpec | None
    routes: tuple[RouteSpec, ...] = ()
    cancelled: bool = False
    poll_s: int = 0
    pinned: tuple[int, ...] = ()
