"""What the health checks of processes that serve found, and which process is to have another life. Pure.

Times are monotonic seconds. A process is unhealthy after `retries` failures in a row, until it answers well again: its
next lives stay under suspicion until then. Of one service at most one process at a time is replaced for its health, and
the next one only once that answers, or had its time to. So a database that is away costs a service one restart in each
start period, however many processes it has.
"""

import dataclasses
import math
from collections.abc import Mapping

from node_agent.model import spec

SHORTEST_S = 1.0  # an interval below is meant for a release that starts
LIVE_INTERVAL_S = 10.0
STANDSTILL_S = 1.0  # how late a look may be before nothing that failed meanwhile counts
ASK_AGAIN_S = 30.0  # more than the grace: a replacement that a supervisor forgot is asked for again
COUNTS = ("never", "once", "twice", "three times", "four times", "five times")


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """One check that ended: what was wrong, "" when nothing was. `void`: whoever looked stood still meanwhile."""

    at: float
    problem: str = ""
    void: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Health:
    """What is known of a process. `begun`, `well` (first and last good answer), `failures` and `asked` are of the life `pid`.

    `why` says why it is unhealthy, "" when it is not. `asked`: this life is being ended. `replaced_at` is when that was
    asked for last, of this life or a former one.
    """

    pid: int
    begun: float
    well: tuple[float, float] | None = None
    failures: int = 0
    why: str = ""
    asked: bool = False
    replaced_at: float = -math.inf

    @property
    def well_s(self) -> float:
        return self.well[1] - self.well[0] if self.well else 0.0


def interval_s(check: spec.HealthCheck) -> float:
    """How long from one look to the next, once a release serves."""
    return check.interval_s if check.interval_s >= SHORTEST_S else LIVE_INTERVAL_S


def stood_still(before: float, now: float, waited_s: float) -> bool:
    """Was more time between two looks at the clock than was waited for?"""
    return now - before > waited_s + STANDSTILL_S


def next_life(former: Health, pid: int, begun: float) -> Health:
    """Another process took its place; it inherits the suspicion."""
    return Health(pid, begun, why=former.why, replaced_at=former.replaced_at)


def after(health: Health, look: Look, check: spec.HealthCheck) -> Health:
    """What is known after one more look. Until its first good answer a life has its start period."""
    if not look.problem:
        first = health.well[0] if health.well else look.at
        return dataclasses.replace(health, well=(first, look.at), failures=0, why="")
    if look.void or (health.well is None and look.at - health.begun < check.start_period_s):
        return health
    failures = health.failures + 1
    why = f"{look.problem} {_times(failures)}" if failures >= check.retries else health.why
    return dataclasses.replace(health, failures=failures, why=why)


def asked(health: Health, now: float) -> Health:
    """Its replacement was asked for."""
    return dataclasses.replace(health, asked=True, replaced_at=now)


def next_to_replace(found: Mapping[str, Health], check: spec.HealthCheck, now: float) -> str | None:
    """The name of the process that is to be replaced now: of those that are unhealthy the one that was not for longest."""
    due = [name for name, one in found.items() if _is_due(one, check, now)]
    if any(_is_between(one, check, now) for name, one in found.items() if name not in due):
        return None
    return min(due, key=lambda name: (found[name].replaced_at, name), default=None)


def _is_due(health: Health, check: spec.HealthCheck, now: float) -> bool:
    return health.failures >= check.retries and not (health.asked and now - health.replaced_at < ASK_AGAIN_S)


def _is_between(health: Health, check: spec.HealthCheck, now: float) -> bool:
    """Was it replaced lately, and has not answered since? One that does not even start holds the others up no longer."""
    return bool(health.why) and now - health.replaced_at < check.start_period_s + ASK_AGAIN_S


def _times(count: int) -> str:
    return COUNTS[count] if count < len(COUNTS) else f"{count} times"
