"""The table of process states is total, and its words are those of the documentation."""

import pytest

from node_agent.errors import IllegalTransitionError
from node_agent.model.process_state import ALIVE, ENDED, TRANSITIONS, WAITING, Event, State, next_state

PAIRS = [(state, event) for state in State for event in Event]


def test_every_state_has_a_row():
    assert set(TRANSITIONS) == set(State)


@pytest.mark.parametrize(("state", "event"), PAIRS)
def test_every_pair_is_in_the_table_or_refused_with_both_named(state, event):
    if event in TRANSITIONS[state]:
        assert next_state(state, event) is TRANSITIONS[state][event]
    else:
        with pytest.raises(IllegalTransitionError, match=f"cannot take {event.value} while {state.value}"):
            next_state(state, event)


def test_the_named_sets_are_a_partition():
    assert ALIVE | WAITING | ENDED == set(State)
    assert len(ALIVE) + len(WAITING) + len(ENDED) == len(State)


@pytest.mark.parametrize("state", [state for state in State if state not in {State.STOPPED, State.STOPPING}])
def test_every_state_but_the_stopped_ones_can_be_stopped(state):
    assert next_state(state, Event.STOP) is (State.STOPPING if state in ALIVE else State.STOPPED)


def test_every_state_can_be_reached_from_stopped():
    reached, waiting = set(), [State.STOPPED]
    while waiting:
        state = waiting.pop()
        if state not in reached:
            reached.add(state)
            waiting += TRANSITIONS[state].values()
    assert reached == set(State)


def test_the_words_are_those_that_users_see():
    words = "stopped starting running backoff stopping exited crash_looping"
    assert {state.value for state in State} == set(words.split())
