"""A connection that breaks at the worst moment, without a goodbye."""

import asyncio
import contextlib
import dataclasses

import pytest

from control_plane.domain import values
from tests.hub_fixtures import SERVICE, Agent, Cable, a_hub, a_report, a_wish, eventually
from tests.waiting import wait_until_async


@contextlib.asynccontextmanager
async def wired(tmp_path):
    async with a_hub(tmp_path / "hub") as hub, Cable(hub).plugged() as cable:
        agent = Agent(hub, tmp_path / "agent")
        agent.address = cable.address
        await agent.join()
        agent.start()
        try:
            await agent.connected()
            yield hub, agent, cable
        finally:
            await agent.stop()


async def test_a_report_whose_acknowledgement_was_lost_comes_again(tmp_path):
    async with wired(tmp_path) as (hub, agent, cable):
        record, stored, gate = hub.status.record, asyncio.Event(), asyncio.Event()

        async def stuck(instance_id, epoch, report):
            await record(instance_id, epoch, report)
            if not stored.is_set():
                stored.set()
                await gate.wait()

        hub.status.record = stuck
        await agent.spool.add(a_report("once"))
        await asyncio.wait_for(stored.wait(), 10)
        cable.cut()
        await eventually(lambda: not agent.spool.reports)
        gate.set()
        assert [report.sequence for report in hub.status.reports] == [1, 1]


async def test_a_wish_made_while_the_cable_is_cut_arrives_after_it(tmp_path):
    async with wired(tmp_path) as (hub, agent, cable):
        for generation in range(1, 6):
            cable.cut()
            hub.wish(a_wish(generation=generation))
            await eventually(lambda generation=generation: agent.inbox.held.get(SERVICE) == generation)
        assert [wanted.generation for wanted in agent.inbox.effects] == [1, 2, 3, 4, 5]


async def test_a_follower_outlives_cuts_without_a_lost_or_doubled_line(tmp_path):
    async with wired(tmp_path) as (hub, agent, cable):
        await agent.logs.append("0")
        lines = hub.relay.read(agent.identity.instance_id, values.LogQuery(SERVICE, follow=True))
        got: list[int] = []
        async with asyncio.timeout(30):
            for number in range(1, 6):
                while len(got) < number:
                    got += [line.seq for line in await anext(lines)]
                cable.cut()
                await agent.logs.append(str(number))
            while len(got) < 6:
                got += [line.seq for line in await anext(lines)]
        assert got == [1, 2, 3, 4, 5, 6]
        await lines.aclose()
        await eventually(lambda: agent.logs.readers == 0)


@pytest.mark.slow
async def test_keepalive_finds_a_silent_peer_on_both_ends_and_the_agent_comes_back(tmp_path):
    async with wired(tmp_path) as (hub, agent, cable):
        await agent.stop()
        await hub.stop()
        hub.settings = dataclasses.replace(hub.settings, lease_s=3600.0)
        await hub.start()
        agent.start()
        await agent.connected()
        await eventually(lambda: hub.instances.online)
        cable.flows.clear()
        await wait_until_async(lambda: not agent.session.connected, timeout=40.0)
        await wait_until_async(lambda: not hub.instances.online, timeout=40.0)
        cable.flows.set()
        await agent.connected()
