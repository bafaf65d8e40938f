"""What every log relay does: the one in memory, and the one over the wire to an agent."""

import asyncio
import contextlib

import pytest

from control_plane import errors
from control_plane.domain import values
from control_plane.fakes.relay import MemoryRelay
from tests.hub_fixtures import INSTANCE, SERVICE, a_hub, an_agent


@contextlib.asynccontextmanager
async def in_memory(tmp_path):
    relay = MemoryRelay()
    relay.connect(INSTANCE)
    count = 0

    async def append(*texts, time=1.0, stream="stdout", process="web.1"):
        nonlocal count
        for text in texts:
            count += 1
            await relay.append(SERVICE, values.LogLine(count, time, stream, process, 1, text.encode()))

    yield relay, INSTANCE, append, lambda: relay.end(SERVICE)


@contextlib.asynccontextmanager
async def over_the_wire(tmp_path):
    async with a_hub(tmp_path / "hub") as hub, an_agent(hub, tmp_path / "agent") as agent:
        yield hub.relay, agent.identity.instance_id, agent.logs.append, agent.logs.delete


@pytest.fixture(params=[in_memory, over_the_wire], ids=["memory", "wire"])
async def world(request, tmp_path):
    async with request.param(tmp_path) as made:
        yield made


async def texts(lines) -> list[str]:
    async with asyncio.timeout(10):
        return [line.line.decode() async for batch in lines for line in batch]


async def test_a_tail_has_the_last_lines_and_ends(world):
    relay, instance_id, append, _ = world
    await append("a", "b", "c")
    assert await texts(relay.read(instance_id, values.LogQuery(SERVICE, tail=2))) == ["b", "c"]


async def test_after_a_number_come_all_that_follow_it(world):
    relay, instance_id, append, _ = world
    await append("a", "b", "c")
    assert await texts(relay.read(instance_id, values.LogQuery(SERVICE, tail=1, after_seq=1))) == ["b", "c"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"grep": "b"}, ["b1", "b2"]),
        ({"grep": "b", "tail": 1}, ["b2"]),
        ({"grep": "b", "after_seq": 2}, ["b2"]),
        ({"grep": "ü"}, ["ü"]),
        ({"stream": "stderr"}, ["b2"]),
        ({"process": "worker.1"}, ["ü"]),
        ({"source": "build"}, ["made"]),
        ({"source": "run", "tail": 1}, ["ü"]),
        ({"since": 2.0}, ["b2", "ü", "made"]),
        ({"until": 1.0}, ["a", "b1"]),
        ({"since": 2.0, "until": 3.0}, ["b2", "ü"]),
        ({"since": 9.0}, []),
    ],
)
async def test_a_query_gets_what_matches_it_alone(world, query, expected):
    relay, instance_id, append, _ = world
    await append("a", "b1")
    await append("b2", time=2.0, stream="stderr")
    await append("ü", time=3.0, process="worker.1")
    await append("made", time=4.0, process="build")
    assert await texts(relay.read(instance_id, values.LogQuery(SERVICE, **query))) == expected


async def test_a_follower_gets_new_lines_that_match(world):
    relay, instance_id, append, delete = world
    lines = relay.read(instance_id, values.LogQuery(SERVICE, follow=True, grep="b"))
    following = asyncio.create_task(texts(lines))
    await append("a", "b", "c")
    await append("bb")
    await delete()
    assert await following == ["b", "bb"]


async def test_an_empty_log_has_no_lines(world):
    relay, instance_id, _, _ = world
    assert await texts(relay.read(instance_id, values.LogQuery(SERVICE))) == []


async def test_a_follower_gets_every_line_once_until_the_log_is_deleted(world):
    relay, instance_id, append, delete = world
    await append("a")
    lines = relay.read(instance_id, values.LogQuery(SERVICE, follow=True))
    async with asyncio.timeout(10):
        assert [line.line for line in await anext(lines)] == [b"a"]
    await append("b", "c")
    following = asyncio.create_task(texts(lines))
    await append("d")
    await delete()
    assert await following == ["b", "c", "d"]


async def test_an_instance_that_is_away_is_named(world):
    relay, _, _, _ = world
    with pytest.raises(errors.UnavailableError) as raised:
        await texts(relay.read("ins_away", values.LogQuery(SERVICE)))
    assert raised.value.details["instance"] == "ins_away"
