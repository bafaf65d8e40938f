"""The restart policy, as a reader of the documentation would put it."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from node_agent.model.restart import (
    FORGIVEN_AFTER_S,
    LOOP_EXITS,
    LOOP_WINDOW_S,
    MAX_DELAY_S,
    Exit,
    History,
    next_restart,
)

CHANCE = st.floats(0, 1, exclude_max=True)
LIVES = st.lists(st.tuples(st.floats(0, 200), CHANCE), min_size=1, max_size=40)


def live_through(lives):
    """The decisions about a process that lived each time for so long, and was restarted as decided."""
    now, history, found = 1000.0, History(), []
    for length, chance in lives:
        end = Exit(now, now + length)
        decision = next_restart(history, end, chance)
        found.append((end, decision))
        now, history = end.ended + decision.after_s, decision.history
    return found


def test_the_first_restart_is_at_once_and_the_next_ones_wait_twice_as_long_each():
    delays = [decision.after_s for _, decision in live_through([(0.0, 0.0)] * 10)]
    assert delays == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]


def test_five_exits_within_a_minute_are_a_crash_loop_and_four_are_not():
    loops = [decision.history.looping for _, decision in live_through([(0.1, 0.5)] * 5)]
    assert loops == [False, False, False, False, True]


def test_a_minute_of_life_is_forgiveness():
    (*_, (_, looping)) = live_through([(0.0, 0.0)] * 9)
    assert looping.history.looping
    after = next_restart(looping.history, Exit(5000.0, 5000.0 + FORGIVEN_AFTER_S), 0.0)
    assert after.after_s == 0.0
    assert after.history == History(1, (5060.0,))


def test_a_crash_loop_stays_one_although_slow_retries_leave_the_window():
    decisions = [decision for _, decision in live_through([(1.0, 0.0)] * 20)]
    assert all(decision.history.looping for decision in decisions[4:])


def test_a_process_that_was_never_healthy_for_a_minute_is_not_forgiven_however_long_it_was_up():
    history, delays = History(), []
    for number in range(LOOP_EXITS):
        assert not history.looping
        decision = next_restart(history, Exit(number * 500.0, number * 500.0 + 300.0, well_s=2.0), 0.0)
        history = decision.history
        delays.append(decision.after_s)
    assert delays == [0.0, 1.0, 2.0, 4.0, 8.0]
    assert history.looping


def test_a_process_that_was_healthy_for_a_minute_starts_again_at_once_when_it_hangs():
    (*_, (_, looping)) = live_through([(0.0, 0.0)] * 9)
    decision = next_restart(looping.history, Exit(5000.0, 5100.0, well_s=FORGIVEN_AFTER_S), 0.0)
    assert (decision.after_s, decision.history.looping) == (0.0, False)


@given(LIVES)
def test_it_never_gives_up_and_never_waits_longer_than_a_minute(lives):
    for _, decision in live_through(lives):
        assert 0.0 <= decision.after_s <= MAX_DELAY_S


@given(LIVES)
def test_without_forgiveness_the_wait_never_shrinks_by_more_than_jitter(lives):
    for (_, before), (end, after) in itertools.pairwise(live_through(lives)):
        if end.ended - end.started < FORGIVEN_AFTER_S:
            assert after.after_s >= before.after_s * 0.75


@given(LIVES)
def test_no_minute_has_more_than_ten_restarts(lives):
    starts = [end.ended + decision.after_s for end, decision in live_through(lives)]
    for first in starts:
        assert sum(first <= at < first + 60.0 for at in starts) <= 10


@given(LIVES)
def test_looping_means_five_exits_within_a_minute_since_the_last_forgiveness(lives):
    exits = []
    was_looping = False
    for end, decision in live_through(lives):
        if end.ended - end.started >= FORGIVEN_AFTER_S:
            exits, was_looping = [], False
        exits.append(end.ended)
        lately = [at for at in exits if end.ended - at < LOOP_WINDOW_S]
        was_looping = was_looping or len(lately) >= LOOP_EXITS
        assert decision.history.looping is was_looping


@given(LIVES)
def test_the_history_does_not_grow(lives):
    for _, decision in live_through(lives):
        assert len(decision.history.recent) <= LOOP_EXITS
