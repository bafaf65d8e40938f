"""What the agent's end decides without a wire: how a wish is read, when to come back."""

import asyncio
import dataclasses
import random

import pytest

from control_plane.domain import values
from control_plane.hub import wire as hub_wire
from node_agent.model import spec
from node_agent.session import wire
from node_agent.session.client import Ending, next_delay
from node_agent.session.settings import SessionSettings
from node_agent.session.tasks import undisturbed, until_first
from protos import agent_pb2 as pb
from tests.hub_fixtures import SERVICE, a_report, a_wish


def state(**changes) -> pb.ServiceState:
    message = hub_wire.desired(a_wish()).desired
    message.MergeFrom(pb.ServiceState(**changes))
    return message


def test_a_wish_survives_the_wire():
    wish = a_wish(generation=7)
    wanted = wire.wish(hub_wire.desired(wish).desired)
    config = wish.release.config
    read = dataclasses.asdict(wanted.release)
    for field in ("remote", "branch", "version", "build_cmd", "run_cmd", "working_dir", "static_dir", "port"):
        assert read[field] == getattr(config, field)
    assert read["env"] == tuple((one.key, one.value) for one in config.env)
    assert read["health_check"].items() <= dataclasses.asdict(config.health_check).items()
    assert wanted.routes[0] == spec.RouteSpec(wish.routes[0].id, "a.example.com", "/")


@pytest.mark.parametrize("run", list(values.Run))
def test_every_run_survives_the_wire(run):
    assert wire.wish(hub_wire.desired(a_wish(run=run)).desired).run.value == run.value


def test_a_tombstone_needs_no_release():
    wish = dataclasses.replace(a_wish(run=values.Run.REMOVED), release=None)
    assert wire.wish(hub_wire.desired(wish).desired).release is None


def _unknown_run() -> pb.ServiceState:
    message = state()
    message.run = 99
    return message


@pytest.mark.parametrize(
    "message",
    [
        pb.ServiceState(),
        _unknown_run(),
        state(service_id="../../etc"),
        state(generation=1 << 63),
        state(release=pb.Release(runtime="cobol")),
        state(release=pb.Release(health_check=pb.HealthCheck(timeout_s=float("nan")))),
        state(routes=[pb.Route(id="x;y")]),
        pb.ServiceState(service_id=SERVICE, generation=1, run=pb.RUN_RUNNING),
    ],
)
def test_what_this_version_cannot_read_is_ignored(message):
    assert wire.wish(message) is None


def test_a_report_survives_the_wire():
    said = a_report("words")
    read = hub_wire.report(wire.report(5, said).report)
    assert (read.sequence, read.service_id, read.removed) == (5, SERVICE, False)
    assert read.observed.generation == said.observed_generation
    assert dataclasses.asdict(read.observed.processes[0]) == dataclasses.asdict(said.processes[0])
    assert read.releases[0].changed_at == said.releases[0].changed_at


def test_text_that_is_no_unicode_still_goes_out():
    assert wire.report(1, a_report("bad \udcff byte")).report.message == "bad ? byte"


def test_the_back_off_grows_to_its_bound_with_jitter():
    settings, chance = SessionSettings(), random.Random(1)
    for failures in range(2000):
        delay = next_delay(Ending.BROKEN, failures, settings, chance)
        assert 0.125 <= delay <= 5.0
        if failures > 5:
            assert delay >= 2.5
    assert next_delay(Ending.RENEWED, 0, settings, chance) == 0.0
    assert next_delay(Ending.REFUSED, 0, settings, chance) >= 15.0


async def test_what_is_being_stored_is_stored_whole_when_the_connection_breaks():
    steps, gate = [], asyncio.Event()

    async def store():
        steps.append("begin")
        await gate.wait()
        steps.append("commit")

    task = asyncio.create_task(undisturbed(store()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps == ["begin", "commit"]


async def test_jobs_end_together_and_an_error_comes_out():
    ended = asyncio.Event()

    async def forever():
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def broken():
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await until_first(forever(), broken())
    assert ended.is_set()
