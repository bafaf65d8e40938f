"""One-off commands over the wire when something goes wrong, and archives on their way down."""

import asyncio
import gc
import hashlib

import grpc
import pytest

from control_plane import errors
from control_plane.domain import values
from control_plane.hub.runs import Runs
from control_plane.hub.settings import RunSettings
from node_agent.errors import ReleaseFailedError
from protos import agent_pb2 as pb
from protos import agent_pb2_grpc as rpc
from tests.hub_fixtures import SERVICE, a_hub, an_agent, eventually


@pytest.fixture
async def hub(tmp_path):
    async with a_hub(tmp_path / "hub") as started:
        yield started


@pytest.fixture
async def agent(hub, tmp_path):
    async with an_agent(hub, tmp_path / "agent") as connected:
        yield connected


def a_query(number: int, command: str) -> values.RunQuery:
    return values.RunQuery(f"run_{number:026d}", SERVICE, command, 30.0)


async def all_of(pieces) -> list[values.RunOutput]:
    async with asyncio.timeout(10):
        return [piece async for piece in pieces]


async def test_an_agent_that_goes_away_ends_its_commands(hub, agent):
    pieces = hub.runs.run(agent.identity.instance_id, a_query(1, "echo a; hang"))
    await anext(pieces)
    await agent.stop()
    with pytest.raises(errors.UnavailableError) as raised:
        await all_of(pieces)
    assert raised.value.details["instance"] == agent.identity.instance_id
    assert agent.runner.running == 0


async def test_a_call_that_breaks_on_the_agents_side_alone_ends_the_command_and_its_reader_learns_it(hub, agent):
    pieces = hub.runs.run(agent.identity.instance_id, a_query(1, "echo a; hang"))
    await anext(pieces)
    (call,) = [one for one in gc.get_objects() if isinstance(one, grpc.aio.StreamUnaryCall) and not one.done()]
    piece = pb.RunPiece(run_id=a_query(1, "").run_id, stream="stdout", data=b"x" * 65536)
    writes = [asyncio.create_task(call.write(piece)) for _ in range(100)]  # of two at once the second breaks the call
    await eventually(call.done, "the broken call")
    for write in writes:
        write.cancel()
    await asyncio.gather(*writes, return_exceptions=True)
    with pytest.raises(errors.UnavailableError, match="broke off") as raised:
        await all_of(pieces)
    assert raised.value.details["instance"] == agent.identity.instance_id
    assert agent.runner.running == 0
    assert agent.session.connected
    assert (await all_of(hub.runs.run(agent.identity.instance_id, a_query(2, "exit 0"))))[-1].outcome == "exited"


async def test_a_control_plane_that_goes_away_ends_the_commands(hub, agent):
    pieces = hub.runs.run(agent.identity.instance_id, a_query(1, "echo a; hang"))
    await anext(pieces)
    await hub.stop()
    await eventually(lambda: agent.runner.running == 0, "the end of the command")
    with pytest.raises(errors.UnavailableError):
        await all_of(pieces)


async def test_a_fifth_command_is_refused_and_the_four_go_on(hub, agent):
    running = [hub.runs.run(agent.identity.instance_id, a_query(number, "echo a; hang")) for number in range(4)]
    for pieces in running:
        await anext(pieces)
    with pytest.raises(errors.UnavailableError, match="runs 4 already"):
        await all_of(hub.runs.run(agent.identity.instance_id, a_query(9, "exit 0")))
    assert agent.runner.running == 4
    for pieces in running:
        await pieces.aclose()
    await eventually(lambda: agent.runner.running == 0)
    assert (await all_of(hub.runs.run(agent.identity.instance_id, a_query(10, "exit 0"))))[-1].outcome == "exited"


async def test_a_reader_that_does_not_read_makes_the_command_wait(hub, agent):
    pieces = hub.runs.run(agent.identity.instance_id, a_query(1, "echo a; flood 2000"))
    await anext(pieces)
    seen = -1
    while agent.runner.written != seen:  # until it stands still
        seen = agent.runner.written
        await asyncio.sleep(0.3)
    assert seen < 2000 * 65536
    assert sum(len(piece.data) for piece in await all_of(pieces)) == 2000 * 65536


async def test_an_agent_that_knows_of_no_commands_is_named(hub, agent):
    class Deaf:
        async def send(self, message):
            pass

    hub.runs.attach("ins_old", Deaf())
    with pytest.raises(errors.UnavailableError, match="does not take it up"):
        await all_of(hub.runs.run("ins_old", a_query(1, "exit 0")))


async def test_an_agent_that_never_tells_the_end_of_a_command_is_not_waited_for_beyond_its_deadline():
    class Connected:
        async def send(self, message):
            asked.append(message)

    async def silent():
        yield pb.RunPiece(run_id=query.run_id, stream="stdout", data=b"a")
        await asyncio.Event().wait()

    runs, asked = Runs(RunSettings(end_s=0.01)), []
    runs.attach("ins_silent", Connected())
    query = values.RunQuery("run_" + "1" * 26, SERVICE, "hang", 0.01)
    reading = asyncio.create_task(all_of(runs.run("ins_silent", query)))
    await eventually(lambda: asked)
    receiving = asyncio.create_task(runs.receive("ins_silent", silent()))
    with pytest.raises(errors.UnavailableError, match="cannot tell how the command ended"):
        await reading
    await receiving
    assert [message.WhichOneof("message") for message in asked] == ["run", "run_cancel"]


async def test_another_instance_cannot_answer_for_a_command(hub, agent, tmp_path):
    async with an_agent(hub, tmp_path / "other") as other:
        pieces = hub.runs.run(agent.identity.instance_id, a_query(1, "echo a; hang"))
        await anext(pieces)

        async def forged():
            yield pb.RunPiece(run_id=a_query(1, "").run_id, stream="stdout", data=b"forged")

        async with other.identity.channel(hub.address) as channel:
            await rpc.HubStub(channel).SendRun(forged(), timeout=5)
        await pieces.aclose()
    assert agent.runner.asked[0].run_id == a_query(1, "").run_id


async def test_an_archive_comes_whole_and_verified(hub, agent, tmp_path):
    data = bytes(range(256)) * 5000
    digest = hub.archives.put(agent.identity.instance_id, data)
    await agent.archives.fetch(digest, tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == data


async def test_an_archive_that_nobody_here_wants_is_not_given_out(hub, agent, tmp_path):
    digest = hub.archives.put("ins_other", b"secret source")
    with pytest.raises(ReleaseFailedError, match="upload it again") as caught:
        await agent.archives.fetch(digest, tmp_path / "got")
    assert caught.value.code == "archive_gone"


async def test_an_archive_that_comes_damaged_is_refused(hub, agent, tmp_path):
    digest = hub.archives.put(agent.identity.instance_id, b"good")
    hub.archives._archives[agent.identity.instance_id, digest] = b"evil"
    with pytest.raises(ReleaseFailedError, match="came damaged"):
        await agent.archives.fetch(digest, tmp_path / "got")


async def test_a_fetch_waits_for_the_control_plane(hub, agent, tmp_path):
    digest = hub.archives.put(agent.identity.instance_id, b"data")
    await hub.stop()
    await eventually(lambda: not agent.session.connected)
    fetching = asyncio.create_task(agent.archives.fetch(digest, tmp_path / "got"))
    await hub.start()
    async with asyncio.timeout(10):
        await fetching
    assert hashlib.sha256((tmp_path / "got").read_bytes()).hexdigest() == digest
