"""The words for a service, total over what may be true of it."""

import itertools

import pytest

from node_agent.model import spec, summary
from node_agent.model.process_state import State

WORDS = {"starting", "running", "degraded", "crash_looping", "stopping", "stopped", "failed"}


@pytest.mark.parametrize(
    ("states", "word"),
    [
        (("running",), "running"),
        (("starting",), "running"),
        (("backoff",), "degraded"),
        (("running", "crash_looping"), "crash_looping"),
        ((), "degraded"),
    ],
)
def test_a_live_service_is_as_well_as_its_processes(states: tuple[str, ...], word: str) -> None:
    found = summary.service_status(spec.Run.RUNNING, live=True, static=False, states=states, failed=False)
    assert found == word


def test_a_failed_newest_release_does_not_make_a_live_service_failed() -> None:
    told = {"static": False, "states": ("running",), "failed": True}
    assert summary.service_status(spec.Run.RUNNING, live=True, **told) == "running"
    assert summary.service_status(spec.Run.RUNNING, live=False, **told) == "failed"


def test_a_service_that_runs_is_unhealthy_when_a_check_of_it_failed_and_one_at_rest_is_not() -> None:
    assert summary.service_health("running", unhealthy=True) == "unhealthy"
    assert summary.service_health("running") == "healthy"
    assert summary.service_health("stopping", unhealthy=True) == "unknown"


def test_every_combination_has_a_word() -> None:
    flags = (False, True)
    for run, live, static, failed, state in itertools.product(spec.Run, flags, flags, flags, State):
        for states in ((), (state.value,)):
            found = summary.service_status(run, live=live, static=static, states=states, failed=failed)
            assert found in WORDS
            assert summary.service_health(found) in {"healthy", "unhealthy", "unknown"}
