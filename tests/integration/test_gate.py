"""The health gate against real listeners: whose port it is, what a check answers, and what a failure says."""

import asyncio
import contextlib
import dataclasses
import socket
import subprocess
import sys

import pytest

from node_agent import clock, errors
from node_agent.model import process, spec
from node_agent.reconciler import gate, sockets
from tests.unit.test_plan import SERVICE, a_release
from tests.waiting import wait_until

LISTENER = "import socket, sys, time\ns = socket.create_server(('127.0.0.1', 0))\nprint(s.getsockname()[1], flush=True)\ntime.sleep(60)"


@contextlib.asynccontextmanager
async def answering(head: bytes):
    """An HTTP server on loopback that answers everything with `head`; its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head + b"\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
def listener():
    """A process in a session of its own that listens; (pid, port)."""
    child = subprocess.Popen([sys.executable, "-c", LISTENER], stdout=subprocess.PIPE, start_new_session=True)
    assert child.stdout is not None
    try:
        yield child.pid, int(child.stdout.readline())
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


HTTP = spec.HealthCheck(kind="http", path="/health", timeout_s=2)


async def test_a_good_answer_passes_and_a_bad_one_is_quoted() -> None:
    async with answering(b"HTTP/1.1 204 No Content") as port:
        assert await gate.probe(port, HTTP) == ""
    async with answering(b"HTTP/1.1 500 Oops") as port:
        assert await gate.probe(port, HTTP) == "GET /health answered 500"
    async with answering(b"nonsense") as port:
        assert "answered nothing" in await gate.probe(port, HTTP)


async def test_a_check_that_this_host_does_not_know_fails_the_release_at_once() -> None:
    release = dataclasses.replace(a_release(), health_check=spec.HealthCheck(kind="command", command="./ok"))
    with pytest.raises(errors.ReleaseFailedError, match="knows http and tcp; change health_check") as caught:
        await gate.wait_healthy(None, process.ProcessId(SERVICE, 1, 0, "web.1"), release, clock.SystemClock())
    assert caught.value.code == "unsupported_check"


async def test_a_refused_connection_and_silence_are_told_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert "no answer within" in await gate.probe(port, dataclasses.replace(HTTP, timeout_s=0.05))
    assert "cannot connect" in await gate.probe(port, HTTP)


def test_a_port_belongs_to_the_process_tree_that_listens(listener) -> None:
    pid, port = listener
    assert sockets.ports_of(pid) == {port}
    assert port in sockets.listening_ports()


def test_established_connections_of_a_port_are_counted(listener) -> None:
    _, port = listener
    assert sockets.established(port) == 0
    with socket.create_connection(("127.0.0.1", port)):
        wait_until(lambda: sockets.established(port) == 1, 5)


@dataclasses.dataclass
class OneProcess:
    """The part of the supervisor that the gate asks."""

    status: process.ProcessStatus

    async def processes(self) -> tuple[process.ProcessStatus, ...]:
        return (self.status,)


def a_process(pid: int, port: int, **more: object) -> process.ProcessStatus:
    known = process.ProcessStatus(process.ProcessId(SERVICE, 1, 0, "web.1"), "running", pid, port, 0.0, 0, "")
    return dataclasses.replace(known, **more)


async def wait(status: process.ProcessStatus, check: spec.HealthCheck) -> None:
    release = dataclasses.replace(a_release(), health_check=check)
    await gate.wait_healthy(OneProcess(status), status.id, release, clock.SystemClock())


QUICK = spec.HealthCheck(start_period_s=0.2, interval_s=0.01)


async def test_the_gate_opens_for_the_process_that_owns_the_port(listener) -> None:
    await wait(a_process(*listener), QUICK)


async def test_an_answer_from_another_process_never_counts(listener) -> None:
    async with answering(b"HTTP/1.1 200 OK") as port:
        with pytest.raises(errors.ReleaseFailedError, match="instead of"):
            await wait(a_process(listener[0], port), QUICK)


async def test_an_app_that_ignores_port_is_told_so(listener) -> None:
    with pytest.raises(errors.ReleaseFailedError, match=f"listens on {listener[1]} instead of") as failed:
        await wait(a_process(listener[0], 1), QUICK)
    assert failed.value.code == "wrong_port"


async def test_an_app_that_keeps_ending_fails_with_its_last_words() -> None:
    crashed = a_process(0, 1, restarts=3, last_exit="exited 7", last_lines=("no DATABASE_URL",))
    with pytest.raises(errors.ReleaseFailedError, match=r"exited 7.*no DATABASE_URL") as failed:
        await wait(crashed, QUICK)
    assert failed.value.code == "crashed"
