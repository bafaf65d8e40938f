"""An agent with a valid certificate and bad manners, made by hand."""

import asyncio
import contextlib

import grpc
import pytest

from control_plane import errors
from control_plane.domain import values
from node_agent.paths import Paths
from node_agent.session import identity
from protos import agent_pb2 as pb
from protos import agent_pb2_grpc as rpc
from tests.hub_fixtures import FOREIGN, SECRET, SERVICE, a_hub, a_wish, an_agent, eventually


@contextlib.asynccontextmanager
async def by_hand(hub, tmp_path):
    """A stub with a fresh identity, and its stream after hello and welcome."""
    hub.instances.secrets.add(SECRET)
    who = await identity.enrol(Paths(tmp_path / "hand"), hub.token, hub.enrol_address)
    async with connected(hub, who) as (stub, call):
        yield who, stub, call


@contextlib.asynccontextmanager
async def connected(hub, who):
    async with who.channel(hub.address) as channel:
        stub = rpc.HubStub(channel)
        call = stub.Connect()
        await call.write(pb.AgentMessage(hello=pb.Hello(protocol=1)))
        assert (await call.read()).welcome.instance_id == who.instance_id
        try:
            yield stub, call
        finally:
            call.cancel()


async def test_a_message_over_four_mebibytes_breaks_only_its_own_stream(tmp_path):
    async with a_hub(tmp_path / "hub") as hub, an_agent(hub, tmp_path / "agent") as agent:
        async with by_hand(hub, tmp_path) as (_, _stub, call):
            report = pb.StatusReport(sequence=1, service_id=SERVICE, message="x" * (5 << 20))
            await call.write(pb.AgentMessage(report=report))
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await call.read()
            assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert agent.session.connected
        assert hub.status.attempts == 0


async def test_no_hello_no_session(tmp_path):
    async with a_hub(tmp_path / "hub") as hub:
        who = await identity.enrol(Paths(tmp_path / "hand"), hub.token, hub.enrol_address)
        async with who.channel(hub.address) as channel:
            call = rpc.HubStub(channel).Connect()
            await call.write(pb.AgentMessage(heartbeat=pb.Heartbeat()))
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await call.read()
            assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert hub.instances.online == set()


async def test_lines_for_the_request_of_another_instance_reach_nobody(tmp_path):
    async with a_hub(tmp_path / "hub") as hub, an_agent(hub, tmp_path / "agent") as agent:
        await agent.logs.append("mine")
        lines = hub.relay.read(agent.identity.instance_id, values.LogQuery(SERVICE, follow=True))
        assert [line.line for line in await anext(lines)] == [b"mine"]
        (request_id,) = hub.relay._requests
        async with by_hand(hub, tmp_path) as (_, stub, _call):
            logs = stub.SendLogs()
            forged = pb.LogBatch(request_id=request_id, lines=[pb.LogLine(seq=2, line=b"forged")], end=True)
            await logs.write(forged)
            assert await asyncio.wait_for(logs, 5) == pb.LogsDone()
        await agent.logs.append("mine too")
        assert [line.line for line in await anext(lines)] == [b"mine too"]
        await lines.aclose()


async def test_unreadable_lines_end_the_reader_and_are_not_asked_for_again(tmp_path):
    async with a_hub(tmp_path / "hub") as hub, by_hand(hub, tmp_path) as (who, stub, call):
        lines = hub.relay.read(who.instance_id, values.LogQuery(SERVICE, follow=True))
        first = asyncio.create_task(anext(lines))
        asked = (await call.read()).logs
        logs = stub.SendLogs()
        await logs.write(pb.LogBatch(request_id=asked.request_id, lines=[pb.LogLine(seq=1, time=float("nan"))]))
        with pytest.raises(errors.UnavailableError):
            await asyncio.wait_for(first, 5)
        assert await logs.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_dropped_acknowledgement_brings_the_wish_again_and_one_stops_it(tmp_path):
    async with a_hub(tmp_path / "hub") as hub, by_hand(hub, tmp_path) as (_, _stub, call):
        hub.wish(a_wish(generation=3))
        first, again = (await call.read()).desired, (await call.read()).desired
        assert first == again
        await call.write(pb.AgentMessage(ack=pb.Ack(service_id=SERVICE, generation=3)))
        await eventually(lambda: hub.desired.acknowledgements)
        hub.wish(a_wish(generation=4))
        assert await _next_generation(call, above=3) == 4


async def _next_generation(call, above):
    while (generation := (await call.read()).desired.generation) <= above:
        pass
    return generation


async def test_a_hand_made_bad_sample_is_refused(tmp_path):
    async with a_hub(tmp_path / "hub") as hub, by_hand(hub, tmp_path) as (_, stub, _call):
        for text in ("[1]", "{", '{"a": NaN}', "[" * 100_000):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await stub.SendSample(pb.Sample(families_json=text), timeout=5)
            assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert hub.instances.samples == []


async def test_a_flood_of_samples_has_one_place_in_the_queue_for_the_writer(tmp_path, monkeypatch):
    async with a_hub(tmp_path / "hub") as hub, by_hand(hub, tmp_path) as (_, stub, _call):
        goes_on, waiting = asyncio.Event(), []

        async def slow(instance_id, _sample):
            waiting.append(instance_id)
            await goes_on.wait()

        monkeypatch.setattr(hub.instances, "record_sample", slow)
        first = stub.SendSample(pb.Sample(), timeout=20)
        await eventually(lambda: waiting)
        flood = await asyncio.gather(
            *(stub.SendSample(pb.Sample(), timeout=20) for _ in range(50)), return_exceptions=True
        )
        assert {answer.code() for answer in flood} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert len(waiting) == 1
        goes_on.set()
        assert await first == pb.SampleReply()
        assert await stub.SendSample(pb.Sample(), timeout=20) == pb.SampleReply()


async def test_one_that_never_reads_costs_bounded_memory_and_delays_nobody(tmp_path):
    async with a_hub(tmp_path / "hub") as hub, an_agent(hub, tmp_path / "agent") as agent, by_hand(hub, tmp_path):
        for number in range(200):
            wish = a_wish(generation=1, service_id=f"svc_{number:026d}")
            hub.desired.wishes[wish.service_id] = wish
        hub.notifier.instance_changed(agent.identity.instance_id)
        await eventually(lambda: len(agent.inbox.held) == 200)
        assert all(session._queue.qsize() <= 64 for session in hub.server._hub._sessions.values())


async def report_foreign(call, count):
    for sequence in range(1, count + 1):
        await call.write(pb.AgentMessage(report=pb.StatusReport(sequence=sequence, service_id=FOREIGN)))
    acknowledged = [(await call.read()).report_ack.sequence for _ in range(count)]
    assert acknowledged == list(range(1, count + 1))


async def test_a_hundred_foreign_reports_leave_fifty_audit_rows_in_however_many_sessions(tmp_path):
    async with a_hub(tmp_path / "hub") as hub, by_hand(hub, tmp_path) as (who, _stub, call):
        await report_foreign(call, 40)
        assert len(hub.audit.rows) == 40
        async with connected(hub, who) as (_, again):
            await report_foreign(again, 60)
        assert len(hub.audit.rows) == 50


async def test_a_report_that_hits_a_defect_of_ours_does_not_hold_up_the_others(tmp_path):
    async with a_hub(tmp_path / "hub") as hub, by_hand(hub, tmp_path) as (_, _stub, call):
        record = hub.status.record

        async def defective(instance_id, epoch, report):
            if report.sequence == 1:
                raise KeyError("a defect")
            await record(instance_id, epoch, report)

        hub.status.record = defective
        for sequence in (1, 2):
            await call.write(pb.AgentMessage(report=pb.StatusReport(sequence=sequence, service_id=SERVICE)))
        assert (await call.read()).report_ack.sequence == 2


async def test_an_acknowledgement_of_what_was_never_sent_is_refused(tmp_path):
    async with a_hub(tmp_path / "hub") as hub, by_hand(hub, tmp_path) as (_, _stub, call):
        await call.write(pb.AgentMessage(ack=pb.Ack(service_id=FOREIGN, generation=1 << 40)))
        await eventually(lambda: hub.audit.rows)
        assert hub.desired.acknowledgements == []
