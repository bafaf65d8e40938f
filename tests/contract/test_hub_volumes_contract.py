"""What every ports.Runs does with volumes: the one in memory, and the one over the wire to an agent."""

import asyncio
import contextlib
import itertools

import pytest

from control_plane import errors
from control_plane.domain import values
from control_plane.fakes.runs import MemoryRuns
from tests.hub_fixtures import INSTANCE, SERVICE, a_hub, an_agent

numbers = itertools.count(500)
DIGEST = "a1" * 32


@contextlib.asynccontextmanager
async def in_memory(tmp_path):
    runs = MemoryRuns()
    runs.connect(INSTANCE)
    yield runs, INSTANCE, runs


@contextlib.asynccontextmanager
async def over_the_wire(tmp_path):
    async with a_hub(tmp_path / "hub") as hub, an_agent(hub, tmp_path / "agent") as agent:
        yield hub.runs, agent.identity.instance_id, agent.runner


@pytest.fixture(params=[in_memory, over_the_wire], ids=["memory", "wire"])
async def world(request, tmp_path):
    """The runs, an instance, and what is in its volumes."""
    async with request.param(tmp_path) as made:
        yield made


def a_query(archive: str = "") -> values.VolumeQuery:
    return values.VolumeQuery(f"run_{next(numbers):026d}", SERVICE, "data", archive, 30.0)


async def all_of(pieces) -> list[values.RunOutput]:
    async with asyncio.timeout(10):
        return [piece async for piece in pieces]


async def test_a_volume_is_written_out_whole_and_the_outcome_comes_last(world):
    runs, instance_id, volumes = world
    data = bytes(range(256)) * 2000
    volumes.keep(SERVICE, "data", data)
    *output, last = await all_of(runs.run(instance_id, a_query()))
    assert b"".join(piece.data for piece in output) == data
    assert {piece.stream for piece in output} == {"stdout"}
    assert (last.outcome, last.code) == ("exited", 0)


async def test_a_volume_is_restored_from_the_archive_that_is_named(world):
    runs, instance_id, volumes = world
    (last,) = await all_of(runs.run(instance_id, a_query(DIGEST)))
    assert (last.outcome, last.code) == ("exited", 0)
    assert volumes.restored == {(SERVICE, "data"): DIGEST}


async def test_an_instance_that_is_away_is_named_with_what_it_was_to_do(world):
    runs, _, _ = world
    with pytest.raises(errors.UnavailableError, match="cannot run the backup of the volume data") as raised:
        await all_of(runs.run("ins_away", a_query()))
    assert raised.value.details["instance"] == "ins_away"
    with pytest.raises(errors.UnavailableError, match="cannot run the restore of the volume data"):
        await all_of(runs.run("ins_away", a_query(DIGEST)))
