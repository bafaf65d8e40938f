"""The life of a supervised process as one table: what may follow on what, and nothing else."""

import enum

from node_agent.errors import IllegalTransitionError


class State(enum.Enum):
    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    BACKOFF = "backoff"
    CRASH_LOOPING = "crash_looping"
    STOPPING = "stopping"
    EXITED = "exited"


class Event(enum.Enum):
    START = "start"
    STAYED_UP = "stayed_up"
    DIED = "died"
    COMPLETED = "completed"
    RETRY = "retry"
    LOOPED = "looped"
    STOP = "stop"
    GONE = "gone"


TRANSITIONS: dict[State, dict[Event, State]] = {
    State.STOPPED: {Event.START: State.STARTING},
    State.STARTING: {Event.STAYED_UP: State.RUNNING, Event.DIED: State.BACKOFF, Event.STOP: State.STOPPING},
    State.RUNNING: {Event.DIED: State.BACKOFF, Event.COMPLETED: State.EXITED, Event.STOP: State.STOPPING},
    State.BACKOFF: {Event.RETRY: State.STARTING, Event.LOOPED: State.CRASH_LOOPING, Event.STOP: State.STOPPED},
    State.CRASH_LOOPING: {Event.RETRY: State.STARTING, Event.STOP: State.STOPPED},
    State.STOPPING: {Event.GONE: State.STOPPED},
    State.EXITED: {Event.START: State.STARTING, Event.STOP: State.STOPPED},
}
ALIVE = frozenset({State.STARTING, State.RUNNING, State.STOPPING})
WAITING = frozenset({State.BACKOFF, State.CRASH_LOOPING})
ENDED = frozenset({State.STOPPED, State.EXITED})


def next_state(state: State, event: Event) -> State:
    """The state after `event`. Raises IllegalTransitionError for a pair that the table does not have."""
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise IllegalTransitionError(f"cannot take {event.value} while {state.value}") from None
