"""Log lines from the disk of an agent to one reader, over the real wire and through restarts of all three."""

import asyncio
import contextlib
import pathlib
import random

import pytest

from control_plane import clock, errors
from control_plane.domain import values
from control_plane.hub.relay import Relay
from control_plane.hub.settings import RelaySettings
from node_agent.log_reader import LogReader
from tests.hub_fixtures import SERVICE, a_hub, an_agent, eventually
from tests.log_files import WrittenLog

LINE = b"x" * 1000 + b"\n"
MIB = 1 << 20


@contextlib.asynccontextmanager
async def all_parts(tmp_path):
    async with a_hub(tmp_path / "hub") as hub, an_agent(hub, tmp_path / "agent") as agent:
        log = WrittenLog(agent.paths, SERVICE)
        agent.logs = LogReader(agent.paths)
        await restart_agent(agent)
        yield hub, agent, log


async def restart_agent(agent):
    await agent.stop()
    agent.start()
    await agent.connected()


async def restart_hub(hub, agent):
    """Nothing of the old one is known to the new one but its certificates and ports."""
    await hub.stop()
    hub.relay = Relay(clock.SystemIds(), RelaySettings(retry_s=0.05))
    await hub.start()
    await agent.connected()


class Follower:
    """A client: it knows the last number it got, and asks again behind it whenever its stream ends."""

    def __init__(self, hub, agent):
        self._hub, self._agent = hub, agent
        self.lines = []
        self._stream = None

    @property
    def seen(self):
        return max(self.lines[-1].seq, self.lines[-1].gap_to) if self.lines else 0

    async def run(self):
        while True:
            query = values.LogQuery(SERVICE, follow=True, tail=1000, after_seq=self.seen)
            async with contextlib.aclosing(self._hub.relay.read(self._agent.identity.instance_id, query)) as stream:
                with contextlib.suppress(errors.UnavailableError):
                    async for batch in stream:
                        self.lines += batch
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def following(follower):
    task = asyncio.create_task(follower.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def writing(log, texts):
    for number in range(1, 10**6):
        texts.append(b"line %d" % number)
        log.write(texts[-1] + b"\n")
        await asyncio.sleep(0.002)


@pytest.mark.parametrize("seed", range(2))
async def test_no_line_is_lost_or_doubled_while_agent_control_plane_and_client_are_restarted(tmp_path, seed):
    async with all_parts(tmp_path) as (hub, agent, log):
        texts, follower = [], Follower(hub, agent)
        writer = asyncio.create_task(writing(log, texts))
        restarts = ["agent", "hub", "client"] * 2
        random.Random(seed).shuffle(restarts)
        for which in restarts:
            async with following(follower):
                goal = len(texts) + 30
                await eventually(lambda goal=goal: follower.seen >= goal, f"lines before the restart of the {which}")
                if which == "agent":
                    await restart_agent(agent)
                elif which == "hub":
                    await restart_hub(hub, agent)
        writer.cancel()
        async with following(follower):
            await eventually(lambda: follower.seen == log.seq - 1)
        assert [line.seq for line in follower.lines] == list(range(1, log.seq))
        assert [line.line for line in follower.lines] == texts[: log.seq - 1]


async def test_a_follower_that_was_away_learns_exactly_what_was_given_up_meanwhile(tmp_path):
    async with all_parts(tmp_path) as (hub, agent, log):
        follower = Follower(hub, agent)
        log.write(b"1\n2\n3\n")
        async with following(follower):
            await eventually(lambda: follower.seen == 3)
        for number in range(4, 40):
            log.write(b"%d\n" % number)
        log.give_up(20)
        async with following(follower):
            await eventually(lambda: follower.seen == 39)
        assert [(line.seq, line.gap_to) for line in follower.lines[:5]] == [(1, 0), (2, 0), (3, 0), (4, 22), (23, 0)]
        assert [line.line for line in follower.lines[4:]] == [b"%d" % number for number in range(23, 40)]


def resident() -> int:
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * 4096


async def test_a_reader_that_stops_in_a_long_tail_costs_little_memory_and_loses_nothing(tmp_path):
    async with all_parts(tmp_path) as (hub, agent, log):
        for _ in range(400):
            log.write(LINE * 250)  # 100 MB in all
        lines = hub.relay.read(agent.identity.instance_id, values.LogQuery(SERVICE, tail=10**6))
        first = await anext(lines)
        before = resident()
        (request,) = hub.relay._requests.values()
        await eventually(lambda: not request.buffer._has_room(), "the buffer to be full")
        assert resident() - before < 32 * MIB
        count = len(first)
        async for batch in lines:
            count += len(batch)
        assert count == 100_000
        assert resident() - before < 48 * MIB


async def test_a_follower_that_stops_costs_little_memory_and_its_marker_is_exact(tmp_path):
    async with all_parts(tmp_path) as (hub, agent, log):
        log.write(b"first\n")
        lines = hub.relay.read(agent.identity.instance_id, values.LogQuery(SERVICE, follow=True))
        await anext(lines)
        (request,) = hub.relay._requests.values()
        before = resident()
        for _ in range(200):
            log.write(LINE * 250)
        await eventually(
            lambda: request.buffer._gap and request.buffer._gap[1] == 50_001, "the last line to be dropped"
        )
        assert resident() - before < 32 * MIB
        expected, lost = 2, 0
        while expected <= 50_001:
            for line in await anext(lines):
                assert line.seq == expected
                expected = (line.gap_to or line.seq) + 1
                lost += line.gap_to - line.seq + 1 if line.gap_to else 0
        assert lost > 40_000
        await lines.aclose()


async def test_lines_that_were_found_late_are_marked_on_their_whole_way(tmp_path):
    async with all_parts(tmp_path) as (hub, agent, log):
        log.write(b"in time\n")
        log.write(b"late\n", late=True)
        query = values.LogQuery(SERVICE)
        found = [line async for batch in hub.relay.read(agent.identity.instance_id, query) for line in batch]
        assert [(line.line, line.late) for line in found] == [(b"in time", False), (b"late", True)]
