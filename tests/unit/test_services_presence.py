"""Presence as a lease: told when it ends in silence, and when it comes back; and what processes use, from samples."""

import asyncio

import pytest

from control_plane.domain import service, values
from control_plane.services.context import ensure_defaults
from control_plane.services.presence import Presence
from tests import builders
from tests.builders import OPERATOR
from tests.unit.test_services_life import a_plane


@pytest.fixture
async def plane():
    made = a_plane()
    await ensure_defaults(made.context)
    await made.join()
    return made


async def told(plane):
    async with plane.store.read() as tx:
        events = await tx.list_events(None, values.EventQuery(), 0, 99)
    return [event.type for event in events if event.type in {"instance.online", "instance.offline"}]


async def test_a_lease_that_ends_in_silence_is_told_once(plane):
    presence = Presence(plane.context)
    assert await presence.lapse() == 0
    plane.clock.advance(41)
    assert await presence.lapse() == 1
    assert await presence.lapse() == 0
    assert await told(plane) == ["instance.online", "instance.offline"]
    assert not (await plane.instances.get(OPERATOR, "host-1")).online


async def test_two_replicas_that_see_the_same_end_tell_of_it_once(plane):
    plane.clock.advance(41)
    async with plane.store.write():  # both have looked when the first may write
        both = [asyncio.create_task(Presence(plane.context).lapse()) for _ in range(2)]
        for _ in range(20):  # turns of the loop, no time
            await asyncio.sleep(0)
    assert await asyncio.gather(*both) == [1, 1]
    assert await told(plane) == ["instance.online", "instance.offline"]


async def test_a_heartbeat_of_the_same_session_brings_it_back(plane):
    presence = Presence(plane.context)
    plane.clock.advance(41)
    await presence.lapse()
    await presence.heartbeat(plane.instance.id, plane.epoch)
    await presence.heartbeat(plane.instance.id, plane.epoch)
    assert await told(plane) == ["instance.online", "instance.offline", "instance.online"]
    assert (await plane.instances.get(OPERATOR, "host-1")).online


async def test_an_agent_that_comes_and_goes_is_told_of_once(plane):
    presence = Presence(plane.context)
    rows = len(plane.store.audit)
    for _ in range(100):
        plane.clock.advance(1)
        await plane.instances.disconnected(plane.instance.id, plane.epoch)
        assert not (await plane.instances.get(OPERATOR, "host-1")).online
        assert await presence.lapse() == 0
        plane.epoch = await plane.instances.connected(plane.instance.id, "0.1.0", "boot", {})
        assert (await plane.instances.get(OPERATOR, "host-1")).online
    assert await told(plane) == ["instance.online"]
    assert len(plane.store.audit) == rows


async def test_one_that_left_and_stays_away_is_told_when_its_lease_has_ended(plane):
    presence = Presence(plane.context)
    await plane.instances.disconnected(plane.instance.id, plane.epoch)
    plane.clock.advance(41)
    assert [await presence.lapse(), await presence.lapse()] == [1, 0]
    await plane.instances.connected(plane.instance.id, "0.1.0", "boot", {})
    assert await told(plane) == ["instance.online", "instance.offline", "instance.online"]


async def test_a_heartbeat_of_an_older_session_brings_nothing_back(plane):
    presence = Presence(plane.context)
    await plane.instances.connected(plane.instance.id, "0.1.0", "boot", {})
    plane.clock.advance(41)
    await presence.lapse()
    await presence.heartbeat(plane.instance.id, plane.epoch)
    assert not (await plane.instances.get(OPERATOR, "host-1")).online


async def test_what_processes_use_is_shown_of_one_service_while_the_sample_is_fresh(plane):
    await plane.deployments.create(OPERATOR, builders.some_fields())
    found = await plane.services.get(OPERATOR, "app")
    now = plane.clock.now().timestamp()
    members = [{"pid": 4711, "cpu_percent": 1.5, "rss_bytes": 1000}, {"pid": "x"}, None]
    families = {"services": {found.id: {"members": members}}}
    await plane.instances.record_sample(plane.instance.id, values.Sample("", now, families, ""))
    assert (await plane.services.get(OPERATOR, "app")).usage == {4711: values.Usage(1.5, 1000)}
    plane.clock.advance(61)
    assert (await plane.services.get(OPERATOR, "app")).usage == {}


@pytest.mark.parametrize(
    "families", [{}, {"services": 1}, {"services": {"svc": 1}}, {"services": {"svc": {"members": 1}}}]
)
def test_a_sample_of_another_form_says_nothing(families):
    assert service.usage_in(values.Sample("", builders.START.timestamp(), families, ""), "svc", builders.START) == {}
