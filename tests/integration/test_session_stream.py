"""Both ends of the wire over real mutual TLS on loopback: wishes down, acknowledgements and reports up."""

import asyncio

import pytest

from control_plane.domain import values
from node_agent import errors
from node_agent.model import spec
from tests.hub_fixtures import FOREIGN, SERVICE, a_hub, a_report, a_wish, an_agent, eventually


async def test_a_wish_reaches_the_inbox_whole_and_is_acknowledged(tmp_path):
    async with a_hub(tmp_path / "hub") as hub, an_agent(hub, tmp_path / "agent") as agent:
        hub.wish(a_wish(generation=4))
        await eventually(lambda: hub.desired.acknowledgements)
        assert hub.desired.acknowledgements[0] == (agent.identity.instance_id, SERVICE, 4)
        wanted = agent.inbox.effects[0]
        assert (wanted.generation, wanted.name, wanted.run, wanted.restart) == (4, "web", spec.Run.RUNNING, 2)
        assert wanted.release.runtime is spec.Runtime.NODEJS
        assert wanted.release.commit == "abc"
        assert wanted.release.env == (("A", "1"), ("B", "2"))
        assert wanted.release.health_check.path == "/up"
        assert [route.domain for route in wanted.routes] == ["a.example.com"]


async def test_a_wish_is_sent_again_until_it_is_acknowledged_and_takes_effect_once(tmp_path):
    async with a_hub(tmp_path / "hub") as hub, an_agent(hub, tmp_path / "agent") as agent:
        hub.desired.fail_acks = 2
        hub.wish(a_wish(generation=1))
        await eventually(lambda: len(hub.desired.acknowledgements) >= 3)
        asked = hub.desired.asked
        await eventually(lambda: hub.desired.asked >= asked + 3)
        assert len(hub.desired.acknowledgements) == 3
        assert len(agent.inbox.effects) == 1


async def test_an_older_wish_changes_nothing_and_is_answered_with_what_is_held(tmp_path):
    async with a_hub(tmp_path / "hub") as hub, an_agent(hub, tmp_path / "agent") as agent:
        agent.inbox.held[SERVICE] = 9
        hub.wish(a_wish(generation=5))
        await eventually(lambda: hub.desired.acknowledgements)
        assert hub.desired.acknowledgements[0][2] == 9
        assert agent.inbox.effects == []


async def test_generations_of_the_hello_keep_known_wishes_from_being_sent(tmp_path):
    async with a_hub(tmp_path / "hub") as hub, an_agent(hub, tmp_path / "agent") as agent:
        await agent.stop()
        agent.inbox.held[SERVICE] = 5
        hub.wish(a_wish(generation=5))
        agent.start()
        await agent.connected()
        asked = hub.desired.asked
        await eventually(lambda: hub.desired.asked >= asked + 3)
        assert agent.inbox.accepted == []


async def test_a_tombstone_arrives_as_one(tmp_path):
    async with a_hub(tmp_path / "hub") as hub, an_agent(hub, tmp_path / "agent") as agent:
        hub.wish(a_wish(generation=2, run=values.Run.REMOVED))
        await eventually(lambda: agent.inbox.effects)
        assert agent.inbox.effects[0].run is spec.Run.REMOVED


async def test_a_report_arrives_whole_and_leaves_the_spool(tmp_path):
    async with a_hub(tmp_path / "hub") as hub, an_agent(hub, tmp_path / "agent") as agent:
        await agent.spool.add(a_report("fine"))
        await eventually(lambda: not agent.spool.reports)
        (report,) = hub.status.reports
        assert (report.service_id, report.observed.message, report.observed.live_release) == (SERVICE, "fine", 3)
        assert report.observed.processes[0].pid == 42
        assert report.releases[0].state == "live"
        assert report.routes[0].state == "active"


async def test_a_report_is_repeated_while_the_store_is_busy(tmp_path):
    async with a_hub(tmp_path / "hub") as hub, an_agent(hub, tmp_path / "agent") as agent:
        hub.status.busy = 2
        await agent.spool.add(a_report())
        await eventually(lambda: not agent.spool.reports)
        assert hub.status.attempts == 3


async def test_reports_made_while_the_hub_is_away_arrive_at_its_return_on_the_same_port(tmp_path):
    async with a_hub(tmp_path / "hub") as hub, an_agent(hub, tmp_path / "agent") as agent:
        await hub.stop()
        await eventually(lambda: not agent.session.connected)
        await agent.spool.add(a_report("meanwhile"))
        await hub.start()
        await eventually(lambda: not agent.spool.reports)
        assert agent.session.connected
        assert [report.observed.message for report in hub.status.reports] == ["meanwhile"]


async def test_a_report_for_a_foreign_service_is_refused_audited_and_not_repeated(tmp_path):
    async with a_hub(tmp_path / "hub") as hub, an_agent(hub, tmp_path / "agent") as agent:
        await agent.spool.add(a_report(service_id=FOREIGN))
        await eventually(lambda: not agent.spool.reports)
        assert hub.status.reports == []
        assert [(row[0], row[1]) for row in hub.audit.rows] == [(agent.identity.instance_id, FOREIGN)]
        await agent.spool.add(a_report())
        await eventually(lambda: hub.status.reports)


async def test_a_report_about_what_is_no_id_is_dropped(tmp_path):
    async with a_hub(tmp_path / "hub") as hub, an_agent(hub, tmp_path / "agent") as agent:
        await agent.spool.add(a_report(service_id="../../etc"))
        await eventually(lambda: not agent.spool.reports)
        assert hub.status.attempts == 0


async def test_an_endless_message_is_cut_and_arrives(tmp_path):
    async with a_hub(tmp_path / "hub") as hub, an_agent(hub, tmp_path / "agent") as agent:
        await agent.spool.add(a_report("x" * (5 << 20)))
        await eventually(lambda: not agent.spool.reports)
        assert len(hub.status.reports[0].observed.message) == 16 * 1024


async def test_hello_heartbeats_and_samples_arrive(tmp_path):
    async with a_hub(tmp_path / "hub") as hub, an_agent(hub, tmp_path / "agent") as agent:
        await eventually(lambda: hub.instances.heartbeats >= 2 and len(hub.instances.samples) >= 2)
        assert hub.instances.samples[0].instance_id == agent.identity.instance_id
        assert hub.instances.samples[0].families == {"cpu": 1}
        assert hub.instances.facts["runtimes"] == {"nodejs": "22"}
        assert agent.identity.instance_id in hub.instances.online
    assert agent.identity.instance_id not in hub.instances.online


async def test_an_instance_that_was_removed_is_sent_away_for_good(tmp_path):
    async with a_hub(tmp_path / "hub") as hub, an_agent(hub, tmp_path / "agent") as agent:
        hub.instances.removed.add(agent.identity.instance_id)
        with pytest.raises(errors.FencedError, match="was removed"):
            await asyncio.wait_for(agent._task, 15)
        await eventually(lambda: agent.identity.instance_id not in hub.instances.online)


async def test_a_second_session_fences_the_first_which_stops_for_good(tmp_path):
    async with a_hub(tmp_path / "hub") as hub, an_agent(hub, tmp_path / "agent") as first:
        old = first._task
        copy = type(first)(hub, tmp_path / "agent")
        copy.identity = first.identity
        copy.start()
        try:
            with pytest.raises(errors.FencedError):
                await asyncio.wait_for(old, 10)
            await copy.connected()
            hub.wish(a_wish())
            await eventually(lambda: copy.inbox.effects)
            assert first.inbox.effects == []
            assert not first.session.connected
            assert hub.instances.online == {first.identity.instance_id}
        finally:
            await copy.stop()


async def test_a_silent_stream_loses_its_lease_and_the_agent_comes_back(tmp_path):
    async with a_hub(tmp_path / "hub") as hub:
        hub_settings = hub.settings
        async with an_agent(hub, tmp_path / "agent") as agent:
            epoch = hub.instances.epochs[agent.identity.instance_id]
            await agent.stop()
            agent.settings = type(agent.settings)(
                backoff_s=0.02, backoff_max_s=0.1, heartbeat_s=3600.0, sample_s=3600.0
            )
            await hub.stop()
            hub.settings = type(hub_settings)(
                hub_port=hub.settings.hub_port, enrol_port=hub.settings.enrol_port, lease_s=0.2
            )
            await hub.start()
            agent.start()
            await eventually(lambda: hub.instances.epochs[agent.identity.instance_id] >= epoch + 3)


async def test_a_failed_measurement_costs_a_sample_and_nothing_else(tmp_path):
    async with a_hub(tmp_path / "hub") as hub, an_agent(hub, tmp_path / "agent") as agent:
        await agent.stop()
        good, failures = agent.sample, [KeyError("gone"), OSError("gone"), errors.SupervisorUnavailableError("away")]

        async def sometimes():
            if failures:
                raise failures.pop()
            return await good()

        agent.sample = sometimes
        epoch = hub.instances.epochs[agent.identity.instance_id]
        agent.start()
        seen = len(hub.instances.samples)
        await eventually(lambda: len(hub.instances.samples) > seen)
        assert hub.instances.epochs[agent.identity.instance_id] == epoch + 1


async def test_facts_that_cannot_be_had_yet_are_asked_for_again(tmp_path):
    async with a_hub(tmp_path / "hub") as hub, an_agent(hub, tmp_path / "agent") as agent:
        await agent.stop()
        good, failures = agent.facts, [errors.SupervisorUnavailableError("away"), OSError("not yet")]

        async def later():
            if failures:
                raise failures.pop()
            return await good()

        agent.facts = later
        agent.start()
        await agent.connected()
