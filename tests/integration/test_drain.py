"""What a former release does with the connections that it still has when the requests go to the next one."""

import asyncio
import dataclasses
import socket

from node_agent import clock
from node_agent.model.actions import Target
from node_agent.reconciler.host import DRAIN_S, ServiceHost
from tests.integration.test_reconciler import SERVICE, Rig
from tests.integration.test_reconciler import rig as rig  # noqa: PLC0414 - the fixture
from tests.supervisor_host import a_process
from tests.waiting import wait_until_async

FORMER = Target(1, 0)


class SteppedClock(clock.SystemClock):
    """Goes on only when the test says so; `asked` counts the looks at it."""

    def __init__(self) -> None:
        self.time = 0.0
        self.asked = 0

    def monotonic(self) -> float:
        self.asked += 1
        return self.time

    async def looked_at_again(self) -> None:
        before = self.asked
        await wait_until_async(lambda: self.asked >= before + 2)


async def test_open_connections_are_waited_for_until_the_time_of_a_drain_is_up_and_then_the_app_is_stopped(
    rig: Rig,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as app, socket.create_connection(app.getsockname()):
        time, service, draining = await begin(rig, app)
        await time.looked_at_again()
        time.time = DRAIN_S - 0.1
        await time.looked_at_again()
        assert rig.supervisor.stopped == []
        time.time = DRAIN_S
        await draining
    assert [one.name for one in rig.supervisor.stopped] == ["web.1"]
    assert FORMER.release not in service.tried


async def test_a_former_release_is_stopped_as_soon_as_its_last_connection_ends(rig: Rig) -> None:
    with socket.create_server(("127.0.0.1", 0)) as app:
        with socket.create_connection(app.getsockname()):
            time, _, draining = await begin(rig, app)
            await time.looked_at_again()
            assert rig.supervisor.stopped == []
        await draining
    assert time.time == 0.0
    assert [one.name for one in rig.supervisor.stopped] == ["web.1"]


async def begin(rig: Rig, app: socket.socket) -> tuple[SteppedClock, ServiceHost, asyncio.Task[None]]:
    """The drain of a release with one process that had requests, at the port of `app`."""
    process = a_process(port=app.getsockname()[1])
    await rig.supervisor.start(dataclasses.replace(process, id=dataclasses.replace(process.id, service_id=SERVICE)))
    time = SteppedClock()
    service = ServiceHost(SERVICE, dataclasses.replace(rig.host, clock=time), lambda: None)
    service.tried.add(FORMER.release)
    return time, service, asyncio.create_task(service.drain(FORMER))
