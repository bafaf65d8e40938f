"""The life of a release as one table, and its projection to the words that users see.

The agent reports levels, not edges: a report may be several steps ahead of what is stored, late, or repeated.
"""

import enum
from collections.abc import Sequence

from control_plane import errors
from control_plane.domain import values


class State(enum.Enum):
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


GOOD = frozenset({State.LIVE, State.DRAINING, State.RETIRED})
UNFINISHED = frozenset({State.PENDING, State.FETCHING, State.BUILDING, State.STARTING, State.CHECKING, State.SWITCHING})
GIVEN_UP = frozenset({State.FAILED, State.CANCELLED, State.SUPERSEDED})
ENDED = GIVEN_UP | {State.RETIRED}

TRANSITIONS: dict[State, frozenset[State]] = {
    State.PENDING: frozenset({State.FETCHING}) | GIVEN_UP,
    State.FETCHING: frozenset({State.BUILDING}) | GIVEN_UP,
    State.BUILDING: frozenset({State.STARTING}) | GIVEN_UP,
    State.STARTING: frozenset({State.CHECKING}) | GIVEN_UP,
    State.CHECKING: frozenset({State.SWITCHING}) | GIVEN_UP,
    State.SWITCHING: frozenset({State.LIVE}) | GIVEN_UP,
    State.LIVE: frozenset({State.DRAINING}),
    State.DRAINING: frozenset({State.RETIRED}),
    State.RETIRED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
    State.SUPERSEDED: frozenset(),
}

PUBLIC: dict[State, str] = {
    State.PENDING: "pending",
    State.FETCHING: "building",
    State.BUILDING: "building",
    State.STARTING: "deploying",
    State.CHECKING: "deploying",
    State.SWITCHING: "deploying",
    State.LIVE: "running",
    State.DRAINING: "running",
    State.RETIRED: "running",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
    State.SUPERSEDED: "cancelled",  # never the newest one, but the projection is total
}
STATUSES = frozenset(PUBLIC.values()) | {"deleting", "stopped"}
# Reasons that are the control plane's own.
MAX_PINNED = 10  # of a deployment
KEPT_SOURCES = 10  # of a deployment: what these newest releases were uploaded with is kept
WAITS_FOR_SOURCE = "waits_for_source"
OVERDUE = "overdue"


def _reachable(start: State) -> frozenset[State]:
    found: set[State] = set()
    waiting = [start]
    while waiting:
        new = TRANSITIONS[waiting.pop()] - found
        found |= new
        waiting.extend(new)
    return frozenset(found)


AHEAD: dict[State, frozenset[State]] = {state: _reachable(state) for state in State}


def next_state(state: State, wanted: State) -> State:
    """`wanted` when it is one step from `state`, else IllegalTransitionError."""
    if wanted not in TRANSITIONS[state]:
        raise errors.IllegalTransitionError(f"cannot go from {state.value} to {wanted.value}")
    return wanted


def advance(state: State, reported: State) -> State:
    """Where a release stands after a report: ahead when the table leads there, else where it was."""
    return reported if reported in AHEAD[state] else state


def parse(word: str) -> State | None:
    """The state of that name; None for a word of a newer agent."""
    try:
        return State(word)
    except ValueError:
        return None


def public_status(run: values.Run, newest: State) -> str:
    """The one word for a deployment, from the wish and its newest release."""
    if run is values.Run.REMOVED:
        return "deleting"
    if run is values.Run.STOPPED:
        return "stopped"
    return PUBLIC[newest]


def waits_for_source(one: values.Release) -> bool:
    """Whether it is of an upload that has not come: nothing that an instance could do."""
    return one.config.source == "local" and not one.archive


def is_given_up(one: values.Release) -> bool:
    """Whether the control plane ended it, so that the instance must be told."""
    return State(one.state) is State.CANCELLED or (State(one.state) is State.FAILED and one.reason == OVERDUE)


def last_good(releases: Sequence[values.Release], live: int) -> values.Release | None:
    """What a rollback goes back to: the newest that served and is older than what serves now (`live`, 0 for nothing)."""
    found = [one for one in releases if State(one.state) in GOOD and (not live or one.number < live)]
    return max(found, key=lambda one: one.number, default=None)


def diagram() -> str:
    """The table as a Mermaid state diagram, for the documentation."""
    edges = [f"    {a.value} --> {b.value}" for a in State for b in State if b in TRANSITIONS[a]]
    ends = [f"    {state.value} --> [*]" for state in State if not TRANSITIONS[state]]
    return "\n".join(["stateDiagram-v2", f"    [*] --> {State.PENDING.value}", *edges, *ends])
