"""A canary's trial: its steps, the weights of its processes, what counts as a request, and when it must stop."""

import dataclasses
import types

import pytest

from node_agent import errors, ports
from node_agent.model import process, spec
from node_agent.model.actions import Target
from node_agent.model.canary import ENOUGH, Counts, verdict, weights
from node_agent.proxy.requests import RequestCounts
from node_agent.reconciler import trial
from node_agent.reconciler.trial import percents

SERVICE = "svc_01HZZZZZZZZZZZZZZZZZZZZZZZ"
FORMER, NEW = Target(1, 0), Target(2, 0)
BRIEF = spec.Strategy("canary", 10, (50,), 0.01)


def test_the_steps_rise_from_the_first_weight() -> None:
    assert percents(spec.Strategy("canary", 10, (5, 10, 50), 1.0)) == (10, 50)


@pytest.mark.parametrize(("percent", "former", "new"), [(10, 1, 1), (25, 3, 2), (99, 100, 1)])
def test_the_new_processes_get_their_percent_together(percent: int, former: int, new: int) -> None:
    old_weight, new_weight = weights(percent, former, new)
    assert new_weight * new / (new_weight * new + old_weight * former) == pytest.approx(percent / 100)


def test_while_no_former_process_runs_the_new_ones_have_all_requests() -> None:
    assert weights(10, 0, 2)[1] > 0


class Service:
    """What a trial asks of its ServiceHost: two processes, the share that the proxy gives, and what `changed` brings."""

    def __init__(self, *datagrams: bytes, deaf: int = 0) -> None:
        self.service_id = SERVICE
        self.trial: tuple[Target, int] | None = None
        self.requests = RequestCounts()
        self.host = types.SimpleNamespace(requests=self.requests, sites=self)
        self.restarts = 0
        self.shares: list[int] = []
        self._datagrams, self._deaf = datagrams, deaf

    def changed(self) -> None:
        for datagram in self._datagrams:
            self.requests.feed(datagram)

    def site(self, _: str) -> ports.Site | None:
        """The proxy comes round to it after `deaf` looks."""
        assert self.trial is not None
        self._deaf -= 1
        if self._deaf >= 0:
            return None
        self.shares.append(self.trial[1])
        return ports.Site(SERVICE, ports.Upstream(1, (1,), canary=ports.Canary(2, (2,), self.trial[1])), ())

    async def of(self, target: Target) -> list[process.ProcessStatus]:
        name = process.ProcessId(SERVICE, target.release, 0, "web.1")
        return [process.ProcessStatus(name, "running", 1, target.release, 0.0, self.restarts, "")]


async def test_a_canary_goes_through_its_steps() -> None:
    service = Service(*[b"127.0.0.1:2|200"] * ENOUGH)
    await trial.run(service, NEW, FORMER, BRIEF)
    assert service.shares == [10, 50]


async def test_only_time_in_which_the_canary_has_its_share_counts() -> None:
    service = Service(deaf=3)
    await trial.run(service, NEW, FORMER, BRIEF)
    assert service.shares == [10, 50]


async def test_a_canary_that_does_not_get_its_share_for_long_is_stopped() -> None:
    service = Service(deaf=trial.PATIENCE)
    with pytest.raises(errors.ReleaseFailedError, match="could not be given its 10 percent") as failed:
        await trial.run(service, NEW, FORMER, BRIEF)
    assert (failed.value.code, service.shares) == ("canary_failed", [])


async def test_few_failures_in_each_step_are_enough_together() -> None:
    service = Service(*[b"127.0.0.1:2|500"] * (ENOUGH // 2))
    with pytest.raises(errors.ReleaseFailedError, match=f"{ENOUGH} of {ENOUGH} requests") as failed:
        await trial.run(service, NEW, FORMER, BRIEF)
    assert failed.value.code == "canary_failed"
    assert service.trial == (NEW, 50)


async def test_a_canary_that_was_started_again_is_stopped() -> None:
    service = Service()
    service.changed = lambda: setattr(service, "restarts", 1)  # type: ignore[method-assign]
    with pytest.raises(errors.ReleaseFailedError, match="the canary crashed") as failed:
        await trial.run(service, NEW, FORMER, dataclasses.replace(BRIEF, steps=()))
    assert failed.value.code == "canary_crashed"


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
