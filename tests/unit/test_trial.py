"""A canary's trial: its steps, the weights of its processes, what counts as a request, and when it must stop."""

import pytest

from node_agent.model import spec
from node_agent.model.canary import ENOUGH, Counts, verdict, weights
from node_agent.proxy.requests import RequestCounts
from node_agent.reconciler.trial import percents


def test_the_steps_rise_from_the_first_weight() -> None:
    assert percents(spec.Strategy("canary", 10, (5, 10, 50), 1.0)) == (10, 50)


@pytest.mark.parametrize(("percent", "former", "new"), [(10, 1, 1), (25, 3, 2), (99, 100, 1)])
def test_the_new_processes_get_their_percent_together(percent: int, former: int, new: int) -> None:
    old_weight, new_weight = weights(percent, former, new)
    assert new_weight * new / (new_weight * new + old_weight * former) == pytest.approx(percent / 100)


def test_a_canary_stops_when_it_does_clearly_worse_than_the_former_release() -> None:
    assert verdict(Counts(ENOUGH - 1, ENOUGH - 1), Counts(1000, 0)) == ""
    assert verdict(Counts(100, 5), Counts(1000, 0)) == ""
    assert "6 of 100 requests" in verdict(Counts(100, 6), Counts(1000, 0))
    assert verdict(Counts(100, 30), Counts(1000, 300)) == ""


def test_requests_are_counted_by_port_and_how_they_ended() -> None:
    counts = RequestCounts()
    for line in (
        b"<190>Nov 25 07:00:00 hits: 127.0.0.1:20001|200",
        b"<190>Nov 25 07:00:00 hits: 127.0.0.1:20001|500",
        b"<190>Nov 25 07:00:00 hits: 127.0.0.1:20002|-",
        b"<190>Nov 25 07:00:00 hits: 127.0.0.1:20002, 127.0.0.1:20001|502, 404",
        b"hits: nonsense|200",
        b"",
    ):
        counts.feed(line)
    assert counts.of({20001}) == Counts(3, 1)
    assert counts.of({20002}) == Counts(2, 2)
    assert counts.of({20001, 20002}) == Counts(5, 3)
    counts.drop(20002)
    assert counts.of({20002}) == Counts()
