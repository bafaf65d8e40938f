"""The health gate against real listeners: whose port it is, what a check answers, and what a failure says."""

import asyncio
import contextlib
import dataclasses
import os
import socket
import subprocess
import sys

import pytest

from node_agent import clock, errors, ports
from node_agent.model import process, spec
from node_agent.model.crash import Crash, Kind
from node_agent.reconciler import gate, sockets
from node_agent.supervisor_client import SupervisorClient
from tests.proxy_fixtures import free_port
from tests.supervisor_host import a_job
from tests.supervisor_host import a_process as a_program
from tests.supervisor_host import host as host  # noqa: PLC0414 - the fixture
from tests.unit.test_plan import SERVICE, a_release
from tests.waiting import wait_until, wait_until_async

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


def watched(process_id: process.ProcessId, release: spec.ReleaseSpec) -> gate.Watched:
    return gate.Watched(process_id, release, ports.Artifact(1, "c" * 40, "d", "node-20.1.0", None))


HTTP = spec.HealthCheck(kind="http", path="/health", timeout_s=2)


async def test_a_good_answer_passes_and_a_bad_one_is_quoted() -> None:
    async with answering(b"HTTP/1.1 204 No Content") as port:
        assert await gate.probe(port, HTTP) == ""
    async with answering(b"HTTP/1.1 500 Oops") as port:
        assert await gate.probe(port, HTTP) == "GET /health answered 500"
    async with answering(b"nonsense") as port:
        assert "answered nothing" in await gate.probe(port, HTTP)


async def test_a_check_that_this_host_does_not_know_fails_the_release_at_once() -> None:
    release = dataclasses.replace(a_release(), health_check=spec.HealthCheck(kind="telepathy"))
    process_id = process.ProcessId(SERVICE, 1, 0, "web.1")
    with pytest.raises(errors.ReleaseFailedError, match="tcp and command; change health_check") as caught:
        await gate.wait(None, watched(process_id, release), clock.SystemClock())
    assert caught.value.code == "unsupported_check"


@pytest.fixture
async def serving(host):
    """A supervisor with a process that listens; (client, its id)."""
    host.start()
    client = SupervisorClient(host.paths)
    await client.connect(20)
    command = host.script(
        "app.py",
        "import os, socket, time\ns = socket.create_server(('127.0.0.1', int(os.environ['PORT'])))\ntime.sleep(1000)",
    )
    wanted = a_program(command, port=free_port())
    await client.start(wanted)
    yield client, wanted
    await client.close()


def a_command(command: str, **changes) -> spec.ReleaseSpec:
    check = spec.HealthCheck(kind="command", command=command, start_period_s=0.0, interval_s=0.01, **changes)
    return dataclasses.replace(a_release(), health_check=check, env=(("KEY", "hush"),), commit="c" * 40)


async def wait_for(serving, release: spec.ReleaseSpec) -> None:
    client, wanted = serving

    async def listens() -> bool:
        (found,) = await client.processes()
        return found.pid and wanted.port in sockets.ports_of(found.pid)

    await wait_until_async(listens)
    await gate.wait(client, watched(wanted.id, release), clock.SystemClock())


async def test_a_command_checks_the_process_on_its_port_with_its_environment(serving) -> None:
    await wait_for(serving, a_command(f'test "$PORT $KEY" = "{serving[1].port} hush"', retries=1))


async def test_a_command_that_fails_or_hangs_fails_the_gate(serving, host) -> None:
    with pytest.raises(errors.ReleaseFailedError, match="`exit 3` exited 3"):
        await wait_for(serving, a_command("exit 3"))
    with pytest.raises(errors.ReleaseFailedError, match=r"did not end within 0\.2 s"):
        await wait_for(serving, a_command("sleep 1000", timeout_s=0.2))
    assert list(host.marked()) == [str(serving[1].id)]


async def test_lives_that_end_after_one_good_answer_each_do_not_pass_together(host) -> None:
    """The first restart comes at once: so a check may never meet a port that nobody listens on."""
    host.start()
    client = SupervisorClient(host.paths)
    await client.connect(20)
    listens = (
        "import os, pathlib, socket, time\ns = socket.create_server(('127.0.0.1', int(os.environ['PORT'])))\n"
        "pathlib.Path(os.environ['HOME'], 'pid').write_text(str(os.getpid()))\ntime.sleep(1000)"
    )
    wanted = a_program(host.script("app.py", listens), port=free_port())
    await client.start(wanted)
    known = 'until pid=$(cat "$HOME/pid") && test "$pid"; do sleep 0.01; done'
    ends = f'{known}; kill -9 "$pid"; until test "$(cat "$HOME/pid")" != "$pid"; do sleep 0.01; done'
    check = dataclasses.replace(a_command(ends).health_check, retries=2, start_period_s=1.0, timeout_s=30.0)
    with pytest.raises(errors.ReleaseFailedError, match="it was good 1 times in a row, not 2"):
        await wait_for((client, wanted), dataclasses.replace(a_release(), health_check=check))
    await client.close()


async def test_a_cancelled_gate_ends_its_command(serving, host) -> None:
    task = asyncio.create_task(wait_for(serving, a_command("sleep 1000", timeout_s=60.0)))
    await wait_until_async(lambda: any(marker.endswith(".run") for marker in host.marked()))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert list(host.marked()) == [str(serving[1].id)]


async def test_a_forgotten_service_leaves_no_command_behind(serving, host) -> None:
    client, wanted = serving
    await client.stop(wanted.id, 1.0)
    job = a_job("sleep 1000", kind=process.JobKind.CHECK, port=1)
    running = asyncio.create_task(client.run_job(job))
    await wait_until_async(lambda: job.id in host.marked())
    await client.forget(wanted.id.service_id)
    assert (await running).outcome == "cancelled"
    assert host.marked() == {}


async def test_a_refused_connection_and_silence_are_told_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert "no answer within" in await gate.probe(port, dataclasses.replace(HTTP, timeout_s=0.05))
    assert "cannot connect" in await gate.probe(port, HTTP)


def test_a_starting_app_is_asked_again_soon_and_less_often_while_it_answers_badly() -> None:
    pauses = [gate.pause_s(dataclasses.replace(HTTP, interval_s=0.3), bad) for bad in (0, 1, 2, 3, 1000)]
    assert pauses == [0.05, 0.1, 0.2, 0.3, 0.3]
    assert gate.pause_s(dataclasses.replace(HTTP, interval_s=0.01), 5) == 0.01


def test_a_port_belongs_to_the_process_tree_that_listens(listener) -> None:
    pid, port = listener
    assert sockets.ports_of(pid) == {port}
    assert port in sockets.listening_ports()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")
def test_a_port_belongs_to_the_process_whose_user_alone_listens_there(listener) -> None:
    """The kernel's table of sockets says so; nothing of the other user's process is looked into."""
    program = (
        "import os, socket, time; os.setuid(64321); s = socket.create_server(('127.0.0.1', 0)); "
        "print(s.getsockname()[1], flush=True); time.sleep(1000)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as other:
        try:
            port = int(other.stdout.readline())
            assert sockets.ports_of(other.pid) == {port}
            assert sockets.ports_of(listener[0]) == {listener[1]}
        finally:
            other.kill()
    assert sockets.ports_of(other.pid) == frozenset()


def test_established_connections_of_a_port_are_counted(listener) -> None:
    _, port = listener
    assert sockets.established(frozenset({port})) == 0
    with socket.create_connection(("127.0.0.1", port)):
        wait_until(lambda: sockets.established(frozenset({port})) == 1, 5)


@dataclasses.dataclass
class OneProcess:
    """The part of the supervisor that the gate asks: one process, and the others of its service."""

    status: process.ProcessStatus
    others: tuple[process.ProcessStatus, ...] = ()

    async def processes(self) -> tuple[process.ProcessStatus, ...]:
        return (self.status, *self.others)


def a_process(pid: int, port: int, **more: object) -> process.ProcessStatus:
    known = process.ProcessStatus(process.ProcessId(SERVICE, 1, 0, "web.1"), "running", pid, port, 0.0, 0, "")
    return dataclasses.replace(known, **more)


async def wait(
    status: process.ProcessStatus, check: spec.HealthCheck, others: tuple[process.ProcessStatus, ...] = ()
) -> None:
    release = dataclasses.replace(a_release(), health_check=check)
    await gate.wait(OneProcess(status, others), watched(status.id, release), clock.SystemClock())


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


async def test_the_port_of_the_release_that_serves_is_not_taken_for_that_of_the_new_one(listener) -> None:
    former = a_process(listener[0], listener[1])
    new = dataclasses.replace(former, id=process.ProcessId(SERVICE, 2, 0, "web.1"), port=1)
    with pytest.raises(errors.ReleaseFailedError, match="did not listen on") as failed:
        await wait(new, QUICK, (former,))
    assert failed.value.code == "never_listened"


async def test_a_process_without_requests_passes_when_it_stays_up(listener) -> None:
    worker = dataclasses.replace(a_process(listener[0], 1), id=process.ProcessId(SERVICE, 1, 0, "worker.1"))
    await wait(worker, spec.HealthCheck(start_period_s=60.0))


async def test_a_process_without_requests_that_ends_again_and_again_fails_the_gate() -> None:
    status = a_process(0, 1, id=process.ProcessId(SERVICE, 1, 0, "worker.1"), restarts=3, last_exit="exited(1)")
    with pytest.raises(errors.ReleaseFailedError, match="ended before it was healthy"):
        await wait(status, spec.HealthCheck(start_period_s=60.0))
    with pytest.raises(errors.ReleaseFailedError, match=r"worker\.1 did not stay up") as failed:
        await wait(dataclasses.replace(status, restarts=1), spec.HealthCheck(start_period_s=0.1))
    assert failed.value.code == "unsteady"


async def test_a_process_that_somebody_stops_fails_the_gate() -> None:
    another = a_process(0, 1, id=process.ProcessId(SERVICE, 2, 0, "web.1"))
    with pytest.raises(errors.ReleaseFailedError, match="was stopped before it was healthy") as failed:
        await gate.wait(OneProcess(another), watched(a_process(0, 1).id, a_release()), clock.SystemClock())
    assert failed.value.code == "process_gone"


async def test_an_app_that_listens_on_its_declared_port_is_told_of_the_mode_for_it(listener) -> None:
    release = dataclasses.replace(a_release(), port=listener[1], health_check=QUICK)
    status = a_process(listener[0], 1)
    with pytest.raises(errors.ReleaseFailedError, match="set port_mode to fixed") as failed:
        await gate.wait(OneProcess(status), watched(status.id, release), clock.SystemClock())
    assert failed.value.code == "fixed_port"


CRASH = Crash(Kind.EXITED, 7, "", at=1.0, ran_s=0.1, lines=("no DATABASE_URL",))


async def test_an_app_that_needs_too_much_memory_is_told_so() -> None:
    crash = Crash(Kind.OOM, 9, "more than 64 MiB of memory", at=1.0, ran_s=0.1)
    with pytest.raises(
        errors.ReleaseFailedError, match=r"more than 64 MiB of memory.*raise its limit in resources"
    ) as failed:
        await wait(a_process(0, 1, restarts=3, last_exit=str(crash), crash=crash), QUICK)
    assert failed.value.code == "out_of_memory"


async def test_an_app_that_keeps_ending_fails_with_its_last_words() -> None:
    crashed = a_process(0, 1, restarts=3, last_exit="exited 7", crash=CRASH)
    with pytest.raises(errors.ReleaseFailedError, match=r"exited 7.*no DATABASE_URL") as failed:
        await wait(crashed, QUICK)
    assert failed.value.code == "crashed"
