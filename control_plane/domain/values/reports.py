"""What the hub sends to an agent for one service, and what the agent reports of it. Imported by way of `values`."""

import dataclasses

from control_plane.domain.values.declared import Run
from control_plane.domain.values.deployments import Decided, Release
from control_plane.domain.values.routes import Route
from control_plane.domain.values.services import Observed


@dataclasses.dataclass(frozen=True, slots=True)
class ReleaseReport:
    number: int
    state: str
    reason: str
    message: str
    commit: str
    changed_at: float
    decided: tuple[Decided, ...] = ()


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

    `poll_s` is how often the agent looks whether the branch has moved; 0 is never. `pinned` are the numbers of the releases
    that stay on the instance.
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
    pinned: tuple[int, ...] = ()
