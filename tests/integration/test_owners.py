"""Whose port it is: a real listener, one that ended, and a thief at other addresses and in its place."""

import asyncio
import contextlib
import dataclasses
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from node_agent import clock, errors, ports
from node_agent.model import process, spec
from node_agent.reconciler import gate
from node_agent.reconciler.owners import Owners
from tests.proxy_fixtures import free_port
from tests.unit.test_plan import SERVICE, a_release
from tests.waiting import wait_until_async

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")
OWNER, THIEF = 64321, 64322
LISTENER = (
    "import os, socket, sys, time; os.setgid({uid}); os.setuid({uid}); s = socket.socket({family}); {option}"
    "s.bind(({address!r}, {port})); s.listen(); print('listens', flush=True); time.sleep(1000)"
)
V6_ONLY = "s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1); "


class OneSupervisor:
    """The part of the supervisor that is asked."""

    def __init__(self) -> None:
        self.pid = 0
        self.port = 0

    async def processes(self) -> tuple[process.ProcessStatus, ...]:
        return (status(self.pid, self.port),)


def status(pid: int, port: int) -> process.ProcessStatus:
    return process.ProcessStatus(process.ProcessId(SERVICE, 1, 0, "web.1"), "running", pid, port, 0.0, 0, "")


@pytest.fixture
def listen() -> Iterator:
    """Start a program of a user that listens; its process."""
    started: list[subprocess.Popen] = []

    def start(uid: int, address: str, port: int) -> subprocess.Popen:
        family = "socket.AF_INET6" if ":" in address else "socket.AF_INET"
        option = V6_ONLY if ":" in address else ""
        text = LISTENER.format(uid=uid, address=address, port=port, family=family, option=option)
        found = subprocess.Popen(
            [sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(found)
        assert found.stdout is not None
        found.said = found.stdout.readline()  # type: ignore[attr-defined]
        return found

    yield start
    for found in started:
        found.kill()
        found.communicate()


async def owned(owners: Owners, supervisor: OneSupervisor) -> bool:
    await owners.look()
    return owners.owns(status(supervisor.pid, supervisor.port))


@pytest.fixture
def supervisor() -> OneSupervisor:
    found = OneSupervisor()
    found.port = free_port()
    return found


async def test_a_process_owns_its_port_once_it_listens_and_its_successor_has_to_be_seen_anew(
    listen, supervisor
) -> None:
    owners = Owners(supervisor)
    supervisor.pid = os.getpid()
    assert not await owned(owners, supervisor)
    supervisor.pid = listen(OWNER, "127.0.0.1", supervisor.port).pid
    assert await owned(owners, supervisor)
    assert not owners.owns(status(supervisor.pid + 1, supervisor.port))
    assert not owners.owns(status(0, supervisor.port))


async def test_a_thief_that_listens_in_place_of_the_owner_is_not_taken_for_it(listen, supervisor) -> None:
    owners = Owners(supervisor)
    first = listen(OWNER, "127.0.0.1", supervisor.port)
    supervisor.pid = first.pid
    assert await owned(owners, supervisor)
    first.kill()
    first.wait()
    listen(THIEF, "127.0.0.1", supervisor.port)
    supervisor.pid = listen(OWNER, "127.0.0.2", supervisor.port).pid  # the owner is back, and found its place taken
    assert not await owned(owners, supervisor)


@pytest.mark.parametrize("address", ["127.0.0.2", "::1", "::"])
async def test_a_stranger_beside_the_owner_neither_gets_requests_nor_takes_them_away(
    listen, supervisor, address
) -> None:
    owners = Owners(supervisor)
    if ":" in address and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    supervisor.pid = listen(OWNER, "127.0.0.1", supervisor.port).pid
    assert listen(THIEF, address, supervisor.port).said == "listens\n"
    assert await owned(owners, supervisor)


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
async def test_nobody_else_can_listen_where_the_owner_does(listen, supervisor, address) -> None:
    supervisor.pid = listen(OWNER, "127.0.0.1", supervisor.port).pid
    assert listen(THIEF, address, supervisor.port).said == ""
    assert await owned(Owners(supervisor), supervisor)


@contextlib.contextmanager
def no_file_can_be_opened() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_who_owned_a_port_owns_it_while_the_kernel_cannot_be_asked(listen, supervisor) -> None:
    owners = Owners(supervisor)
    supervisor.pid = listen(OWNER, "127.0.0.1", supervisor.port).pid
    assert await owned(owners, supervisor)
    with no_file_can_be_opened(), pytest.raises(errors.AgentError, match="who listens where"):
        await owners.look()
    assert owners.owns(status(supervisor.pid, supervisor.port))


async def test_what_changed_is_told_whoever_saw_it_first(listen, supervisor) -> None:
    owners, told = Owners(supervisor), []
    running = asyncio.create_task(owners.run(told.append))
    try:
        supervisor.pid = listen(OWNER, "127.0.0.1", supervisor.port).pid
        await owners.look()
        await wait_until_async(lambda: told == [SERVICE])
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_the_gate_asks_for_the_same_as_requests_do(listen, supervisor) -> None:
    """A stranger answers where the app would have to."""
    listen(THIEF, "127.0.0.1", supervisor.port)
    supervisor.pid = listen(OWNER, "127.0.0.2", supervisor.port).pid
    check = spec.HealthCheck(start_period_s=0.1, interval_s=0.01)
    release = dataclasses.replace(a_release(), health_check=check)
    (found,) = await supervisor.processes()
    watched = gate.Watched(found.id, release, ports.Artifact(1, "c" * 40, "d", "node-20.1.0", None))
    with pytest.raises(errors.ReleaseFailedError, match=r"not at 127\.0\.0\.1, or not alone") as failed:
        await gate.wait(supervisor, watched, clock.SystemClock())
    assert failed.value.code == "wrong_address"
