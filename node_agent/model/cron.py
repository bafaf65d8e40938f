"""Cron entries of a service: whether one is due, what becomes of it while it still runs, how a run ended in words. Pure.

An entry runs once in each minute (UTC) that its schedule names, if its release is live at any moment of that minute. A
minute in which nobody looked is over: nothing is made up for.
"""

import dataclasses
import enum

from node_agent.model import spec
from node_agent.model.process import JobResult, JobSpec
from schedules import cron

AT_ONCE = 10  # runs of one entry, where they may overlap
BACK = 60  # minutes that a clock may be set back by without a second run of what had its run


class Step(enum.Enum):
    NOTHING = "nothing"
    START = "start"
    SKIP = "skip"
    REPLACE = "replace"


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """One run of an entry, due at `minute` since the epoch. `outcome` is empty while it is under way."""

    service_id: str
    entry: str
    release: int
    minute: int
    started_at: float
    outcome: str = ""

    @property
    def job_id(self) -> str:
        return JobSpec.cron_id(self.service_id, self.release, self.entry, self.minute)


def next_step(entry: spec.CronEntry, minute: int, last: int | None, under_way: int) -> Step:
    """What to do now, in `minute`. `last` is the newest minute in which this was decided, `under_way` how many runs are."""
    schedule = _schedule(entry)
    if schedule is None or _had_its_turn(minute, last) or not schedule.matches(minute):
        return Step.NOTHING
    if entry.overlap == "replace" and under_way:
        return Step.REPLACE
    return Step.SKIP if under_way >= (AT_ONCE if entry.overlap == "allow" else 1) else Step.START


def next_at(entry: spec.CronEntry, minute: int, last: int | None) -> float:
    """When it runs next, in seconds since the epoch; 0 when it never does."""
    schedule = _schedule(entry)
    found = schedule.next_from(minute) if schedule else None
    if schedule and found is not None and last is not None and _had_its_turn(found, last):
        found = schedule.next_from(last + 1)
    return found * 60.0 if found is not None else 0.0


def words(result: JobResult | None) -> str:
    """How a run ended, as reports show it; None: nobody knows."""
    if result is None:
        return "interrupted"
    if result.outcome in {"start_failed", "oom"} and result.last_lines:
        return f"{result.outcome}: {result.last_lines[-1]}"
    return f"{result.outcome}({result.code})" if result.outcome in {"exited", "signalled"} else result.outcome


def problem(entry: spec.CronEntry) -> str:
    """Why it never runs; empty when it does. A newer control plane may know schedules that we do not."""
    try:
        cron.parse(entry.schedule)
    except cron.ScheduleError as error:
        return f"its schedule cannot be read here: {error}"
    return ""


def _had_its_turn(minute: int, last: int | None) -> bool:
    """One that lies far ahead was decided by a clock that was wrong."""
    return last is not None and minute <= last <= minute + BACK


def _schedule(entry: spec.CronEntry) -> cron.Schedule | None:
    try:
        return cron.parse(entry.schedule)
    except cron.ScheduleError:
        return None
