"""The life of a release: its table, what a report may do, and the public words."""

import itertools
import pathlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane import errors
from control_plane.domain import release, values
from control_plane.domain.release import State

states = st.sampled_from(State)
HAPPY = ["pending", "fetching", "building", "starting", "checking", "switching", "live", "draining", "retired"]


def test_the_table_has_a_row_for_every_state_and_the_sets_cover_it():
    assert set(release.TRANSITIONS) == set(State)
    assert release.UNFINISHED | release.ENDED | {State.LIVE, State.DRAINING} == set(State)
    assert not release.UNFINISHED & release.ENDED


def test_the_happy_way_is_in_the_table_step_by_step():
    for here, there in itertools.pairwise(HAPPY):
        assert release.next_state(State(here), State(there)) is State(there)


@pytest.mark.parametrize("state", State)
def test_only_an_unfinished_release_can_be_given_up(state):
    assert (release.GIVEN_UP <= release.TRANSITIONS[state]) == (state in release.UNFINISHED)


@pytest.mark.parametrize(("state", "wanted"), list(itertools.product(State, State)))
def test_every_pair_moves_or_is_refused(state, wanted):
    if wanted in release.TRANSITIONS[state]:
        assert release.next_state(state, wanted) is wanted
    else:
        with pytest.raises(errors.IllegalTransitionError):
            release.next_state(state, wanted)


@given(states, st.lists(states))
def test_reports_in_any_order_never_lead_back(start, reports):
    state = start
    for reported in reports:
        new = release.advance(state, reported)
        assert new is state or new in release.AHEAD[state]
        assert state not in release.AHEAD[new]
        state = new


@given(states, states)
def test_a_repeated_report_changes_nothing(state, reported):
    once = release.advance(state, reported)
    assert release.advance(once, reported) is once


@given(st.lists(states))
def test_a_release_that_ended_has_ended_for_ever(reports):
    for ended in release.ENDED:
        state = ended
        for reported in reports:
            state = release.advance(state, reported)
        assert state is ended


def test_a_report_may_be_several_steps_ahead():
    assert release.advance(State.PENDING, State.LIVE) is State.LIVE
    assert release.advance(State.FETCHING, State.RETIRED) is State.RETIRED
    assert release.advance(State.LIVE, State.BUILDING) is State.LIVE
    assert release.advance(State.LIVE, State.FAILED) is State.LIVE


@pytest.mark.parametrize(("run", "state"), list(itertools.product(values.Run, State)))
def test_the_public_status_is_total(run, state):
    status = release.public_status(run, state)
    assert status in release.STATUSES
    assert (status == "deleting") == (run is values.Run.REMOVED)
    assert (status == "stopped") == (run is values.Run.STOPPED)


def test_an_unknown_word_is_no_state():
    assert release.parse("live") is State.LIVE
    assert release.parse("teleporting") is None


def test_the_diagram_in_the_documentation_is_that_of_the_table():
    page = (pathlib.Path(__file__).parents[2] / "docs" / "explanation" / "states.md").read_text(encoding="utf-8")
    diagrams = re.findall(r"```mermaid\n(.*?)\n```", page, re.DOTALL)
    assert diagrams == [release.diagram()], "write release.diagram() into docs/explanation/states.md"
    for state, word in release.PUBLIC.items():
        assert f"| `{state.value}` | `{word}` |" in page
