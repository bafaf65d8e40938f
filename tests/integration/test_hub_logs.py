"""Log lines from an agent to one reader, over the real wire."""

import asyncio
import contextlib

import pytest

from control_plane import errors
from control_plane.domain import values
from tests.hub_fixtures import FOREIGN, QUICK_RELAY, SERVICE, a_hub, an_agent, eventually


@contextlib.asynccontextmanager
async def both(tmp_path):
    async with a_hub(tmp_path / "hub") as hub, an_agent(hub, tmp_path / "agent") as agent:
        yield hub, agent


def reading(hub, agent, **query):
    return hub.relay.read(agent.identity.instance_id, values.LogQuery(SERVICE, **query))


async def some(lines, count):
    """The next `count` texts of a reader."""
    got = []
    async with asyncio.timeout(10):
        while len(got) < count:
            got += [line.line.decode() for line in await anext(lines)]
    return got


async def test_the_tail_comes_and_the_reader_ends(tmp_path):
    async with both(tmp_path) as (hub, agent):
        await agent.logs.append("one", "two", "three")
        batches = [batch async for batch in reading(hub, agent, tail=2)]
        assert [(line.seq, line.line) for batch in batches for line in batch] == [(2, b"two"), (3, b"three")]
        await eventually(lambda: agent.logs.readers == 0)


async def test_an_empty_log_ends_at_once(tmp_path):
    async with both(tmp_path) as (hub, agent):
        assert [batch async for batch in reading(hub, agent) if batch] == []


async def test_a_follower_gets_what_is_new_and_its_leaving_ends_the_reading(tmp_path):
    async with both(tmp_path) as (hub, agent):
        await agent.logs.append("old")
        lines = reading(hub, agent, follow=True)
        assert await some(lines, 1) == ["old"]
        await agent.logs.append("new")
        assert await some(lines, 1) == ["new"]
        assert agent.logs.readers == 1
        await lines.aclose()
        await eventually(lambda: agent.logs.readers == 0)


async def test_a_follower_ends_when_the_log_is_deleted(tmp_path):
    async with both(tmp_path) as (hub, agent):
        await agent.logs.append("last")
        lines = reading(hub, agent, follow=True)
        assert await some(lines, 1) == ["last"]
        await agent.logs.delete()
        async with asyncio.timeout(10):
            assert [batch async for batch in lines if batch] == []


async def test_what_goes_wrong_at_the_agent_is_said(tmp_path):
    async with both(tmp_path) as (hub, agent):
        with pytest.raises(errors.UnavailableError, match="there is none"):
            await anext(hub.relay.read(agent.identity.instance_id, values.LogQuery(FOREIGN)))


async def test_an_instance_that_is_away_is_named(tmp_path):
    async with a_hub(tmp_path / "hub") as hub:
        with pytest.raises(errors.UnavailableError) as raised:
            await anext(hub.relay.read("ins_away", values.LogQuery(SERVICE)))
        assert raised.value.details == {"instance": "ins_away"}


async def test_a_follower_outlives_a_restart_of_the_agent_without_a_lost_or_doubled_line(tmp_path):
    async with both(tmp_path) as (hub, agent):
        await agent.logs.append("1", "2")
        lines = reading(hub, agent, follow=True)
        assert await some(lines, 2) == ["1", "2"]
        await agent.stop()
        await agent.logs.append("3", "4")
        agent.start()
        assert await some(lines, 2) == ["3", "4"]
        await agent.logs.append("5")
        assert await some(lines, 1) == ["5"]
        assert agent.logs.asked[-1].after_seq == 2
        await lines.aclose()


async def test_a_follower_learns_when_the_agent_does_not_come_back(tmp_path):
    async with both(tmp_path) as (hub, agent):
        hub.relay._settings = type(QUICK_RELAY)(resume_s=0.1, retry_s=0.01)
        await agent.logs.append("1")
        lines = reading(hub, agent, follow=True)
        assert await some(lines, 1) == ["1"]
        await agent.stop()
        with pytest.raises(errors.UnavailableError):
            async with asyncio.timeout(10):
                await anext(lines)


async def test_a_slow_follower_gets_a_marker_for_what_it_missed(tmp_path):
    async with both(tmp_path) as (hub, agent):
        await agent.logs.append("first")
        lines = reading(hub, agent, follow=True)
        assert await some(lines, 1) == ["first"]
        (request,) = hub.relay._requests.values()
        for number in range(40):
            await agent.logs.append(f"line {number}")
        await eventually(lambda: request.buffer._gap and request.buffer._gap[1] == 41, "the last line to be dropped")
        got = []
        async with asyncio.timeout(10):
            while not got or max(got[-1].seq, got[-1].gap_to) < 41:
                got += await anext(lines)
        (marker,) = [line for line in got if line.gap_to]
        assert [line.seq for line in got if not line.gap_to] == list(range(2, marker.seq))
        assert marker.gap_to == 41
        await agent.logs.append("after")
        assert await some(lines, 1) == ["after"]
        await lines.aclose()


async def test_a_slow_reader_of_a_long_tail_loses_nothing(tmp_path):
    async with both(tmp_path) as (hub, agent):
        await agent.logs.append(*[f"line {number}" for number in range(50)])

        async def one_by_one(query):
            from node_agent.model import log

            for line in agent.logs.lines:
                yield log.LogBatch((line,), caught_up=line.seq == 50)

        agent.logs.read = one_by_one
        lines = reading(hub, agent, tail=50)
        first = await some(lines, 1)
        (request,) = hub.relay._requests.values()
        await eventually(lambda: len(request.buffer._batches) == 4, "the buffer to be full")
        assert first + await some(lines, 49) == [f"line {number}" for number in range(50)]
        await lines.aclose()


async def test_many_readers_of_one_instance_do_not_mix(tmp_path):
    async with both(tmp_path) as (hub, agent):
        await agent.logs.append(*"abcdef")
        readers = [reading(hub, agent, tail=tail, follow=True) for tail in range(1, 7)]
        got = await asyncio.gather(*(some(lines, tail) for tail, lines in enumerate(readers, start=1)))
        assert ["".join(texts) for texts in got] == ["f", "ef", "def", "cdef", "bcdef", "abcdef"]
        await asyncio.gather(*(lines.aclose() for lines in readers))
        await eventually(lambda: agent.logs.readers == 0)
        assert hub.relay._requests == {}


async def test_stopping_the_hub_ends_followers_soon(tmp_path):
    async with both(tmp_path) as (hub, agent):
        hub.relay._settings = type(QUICK_RELAY)(resume_s=0.1, retry_s=0.01)
        await agent.logs.append("1")
        lines = reading(hub, agent, follow=True)
        assert await some(lines, 1) == ["1"]
        async with asyncio.timeout(10):
            await hub.stop()
            with pytest.raises(errors.UnavailableError):
                await anext(lines)
