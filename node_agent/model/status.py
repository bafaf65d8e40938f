"""What is: the report of one service, as it goes to the control plane."""

import dataclasses
import enum

from node_agent.model.crash import Crash
from node_agent.model.decided import Rows


class ReleaseState(enum.Enum):
    """The host's part of a release's life; the public words are the control plane's business."""

    PENDING = "pending"
    FETCHING = "fetching"
    BUILDING = "building"
    STARTING = "starting"
    CHECKING = "checking"
    SWITCHING = "switching"
    LIVE = "live"
    DRAINING = "draining"
    RETIRED = "retired"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"


SERVED = frozenset({ReleaseState.LIVE, ReleaseState.DRAINING, ReleaseState.RETIRED})
# The release command was run, if there is one.
PREPARED = SERVED | {ReleaseState.STARTING, ReleaseState.CHECKING, ReleaseState.SWITCHING}
UNFINISHED = frozenset(
    {
        ReleaseState.PENDING,
        ReleaseState.FETCHING,
        ReleaseState.BUILDING,
        ReleaseState.STARTING,
        ReleaseState.CHECKING,
        ReleaseState.SWITCHING,
    }
)


@dataclasses.dataclass(frozen=True, slots=True)
class ReleaseReport:
    """`decided` is what its source decided, told of the wished release alone."""

    number: int
    state: ReleaseState
    reason: str = ""
    message: str = ""
    commit: str = ""
    changed_at: float = 0.0
    decided: Rows = ()


@dataclasses.dataclass(frozen=True, slots=True)
class ProcessReport:
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
class RouteReport:
    """`state` is active, failed or quarantined; `message` has nginx's own words."""

    id: str
    state: str
    message: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class CronReport:
    """One cron entry of the live release. Times are seconds since the epoch, 0 for never; `last_outcome` is running,
    exited(N), signalled(N), timeout, cancelled, replaced, interrupted, oom: WORDS or start_failed: WORDS,
    "" before its first run.
    """

    name: str
    schedule: str
    next_at: float
    last_started_at: float
    last_outcome: str


@dataclasses.dataclass(frozen=True, slots=True)
class ServiceReport:
    """Answers the wish `observed_generation`; `removed` confirms a tombstone.

    `branch_head` is where the branch of the wished release pointed to at the last look, "" when nobody looked.
    """

    service_id: str
    observed_generation: int
    status: str
    health: str
    live_release: int
    message: str
    releases: tuple[ReleaseReport, ...]
    processes: tuple[ProcessReport, ...]
    routes: tuple[RouteReport, ...]
    removed: bool = False
    branch_head: str = ""
    cron: tuple[CronReport, ...] = ()
