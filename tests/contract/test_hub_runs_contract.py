"""What every ports.Runs does: the one in memory, and the one over the wire to an agent."""

import asyncio
import contextlib
import itertools

import pytest

from control_plane import errors
from control_plane.domain import values
from control_plane.fakes.runs import MemoryRuns
from tests.hub_fixtures import FOREIGN, INSTANCE, SERVICE, a_hub, an_agent, eventually

numbers = itertools.count()


@contextlib.asynccontextmanager
async def in_memory(tmp_path):
    runs = MemoryRuns()
    runs.connect(INSTANCE)
    runs.serve(SERVICE)
    yield runs, INSTANCE, lambda: len(runs.cancelled) > 0


@contextlib.asynccontextmanager
async def over_the_wire(tmp_path):
    async with a_hub(tmp_path / "hub") as hub, an_agent(hub, tmp_path / "agent") as agent:
        yield hub.runs, agent.identity.instance_id, lambda: not agent.runner.running


@pytest.fixture(params=[in_memory, over_the_wire], ids=["memory", "wire"])
async def world(request, tmp_path):
    async with request.param(tmp_path) as made:
        yield made


def a_query(command: str, timeout_s: float = 30.0, service_id: str = SERVICE) -> values.RunQuery:
    return values.RunQuery(f"run_{next(numbers):026d}", service_id, command, timeout_s)


async def all_of(pieces) -> list[values.RunOutput]:
    async with asyncio.timeout(10):
        return [piece async for piece in pieces]


async def test_the_output_comes_in_order_and_the_outcome_last(world):
    runs, instance_id, _ = world
    *output, last = await all_of(runs.run(instance_id, a_query("echo a; echo b; exit 3")))
    assert b"".join(piece.data for piece in output) == b"a\nb\n"
    assert {piece.stream for piece in output} == {"stdout"}
    assert {piece.outcome for piece in output} == {""}
    assert (last.outcome, last.code, last.data) == ("exited", 3, b"")


async def test_output_comes_at_once_while_the_command_goes_on(world):
    runs, instance_id, _ = world
    pieces = runs.run(instance_id, a_query("echo now; hang"))
    async with asyncio.timeout(10):
        assert (await anext(pieces)).data == b"now\n"
    await pieces.aclose()


async def test_closing_cancels_the_command(world):
    runs, instance_id, is_over = world
    pieces = runs.run(instance_id, a_query("echo now; hang"))
    async with asyncio.timeout(10):
        await anext(pieces)
    await pieces.aclose()
    await eventually(is_over, "the end of the command")


async def test_a_command_ends_at_its_deadline(world):
    runs, instance_id, _ = world
    (last,) = await all_of(runs.run(instance_id, a_query("hang", timeout_s=0.2)))
    assert last.outcome == "timeout"


async def test_a_service_without_a_live_release_runs_nothing(world):
    runs, instance_id, _ = world
    with pytest.raises(errors.ConflictError, match="no live release"):
        await all_of(runs.run(instance_id, a_query("exit 0", service_id=FOREIGN)))


async def test_an_instance_that_is_away_is_named(world):
    runs, _, _ = world
    with pytest.raises(errors.UnavailableError) as raised:
        await all_of(runs.run("ins_away", a_query("exit 0")))
    assert raised.value.details["instance"] == "ins_away"
