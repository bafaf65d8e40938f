"""The running side of deployments. Imported by way of `values`."""

import dataclasses
from collections.abc import Mapping

from control_plane.domain.values.declared import Run
from control_plane.domain.values.plain import Time


@dataclasses.dataclass(frozen=True, slots=True)
class Crash:
    """One end of a process that nobody asked for. `code` is an exit code, a signal or an errno, as `kind` says."""

    kind: str
    code: int
    words: str
    at: float
    ran_s: float
    cpu_s: float
    max_rss_bytes: int
    lines: tuple[str, ...]


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
    crash: Crash | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Cron:
    """A cron entry of the live release as its agent told of it; times in seconds since the epoch, 0 for never."""

    name: str
    schedule: str
    next_at: float
    last_started_at: float
    last_outcome: str


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
    cron: tuple[Cron, ...] = ()


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
class Usage:
    """What a process with all that it started used at the last sample; percent of one core."""

    cpu_percent: float
    rss_bytes: int


@dataclasses.dataclass(frozen=True, slots=True)
class ServiceView(Service):
    """A service as its page shows it: the public words in `observed`, and the conditions of `at`."""

    conditions: tuple[Condition, ...] = ()
    at: Time | None = None
    usage: Mapping[int, "Usage"] = dataclasses.field(default_factory=dict)  # by pid; empty in lists
