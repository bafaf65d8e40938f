"""What a new supervisor finds after the former one was killed."""

import asyncio
import dataclasses
import os
import pathlib
import signal

import pytest

from node_agent.clock import SystemClock
from node_agent.model.process import ProcessId
from node_agent.model.process_state import State
from node_agent.supervisor import records
from node_agent.supervisor.service_index import ServiceIndex
from node_agent.supervisor_client import SupervisorClient
from tests.supervisor_host import SERVICE, SupervisorHost, a_job, a_process, reach
from tests.supervisor_host import host as host  # noqa: PLC0414 - the fixture
from tests.waiting import wait_until, wait_until_async

MARKER = str(a_process().id)


async def client_of(host):
    client = SupervisorClient(host.paths)
    await client.connect(20)
    return client


async def the_process(client):
    (found,) = await client.processes()
    return found


async def test_a_killed_supervisors_process_is_adopted_under_the_same_pid(host):
    host.start()
    client = await client_of(host)
    before = await client.start(a_process())
    host.kill()
    host.start()
    await reach(host, client)
    after = await wait_until_async(lambda: reachable(client))
    assert (after.pid, after.state, after.restarts, after.port) == (before.pid, "running", 0, before.port)
    assert (await client.start(a_process())).pid == before.pid
    assert host.marked()[MARKER] == [before.pid]
    await client.stop(before.id, 5.0)
    assert not os.path.exists(f"/proc/{before.pid}") or not host.marked()
    await client.close()


async def reachable(client):
    """The one process, once the client found the new supervisor."""
    try:
        return await the_process(client)
    except Exception:  # the client is still coming back
        return None


async def test_without_any_record_the_process_is_found_by_its_marker_and_not_doubled(host):
    host.start()
    client = await client_of(host)
    before = await client.start(a_process())
    host.kill()
    for record in host.paths.records.iterdir():
        record.unlink()
    host.start()
    after = await wait_until_async(lambda: reachable(client))
    assert (after.id, after.pid, after.state, after.port) == (before.id, before.pid, "running", before.port)
    assert (await client.start(a_process())).pid == before.pid
    os.kill(before.pid, signal.SIGKILL)

    async def restarted():
        return (await the_process(client)).pid not in {0, before.pid}

    await wait_until_async(restarted, what="a restart with the command that start brought")
    await client.close()


async def test_a_process_found_without_record_that_ends_is_exited_until_the_agent_starts_it(host):
    host.start()
    client = await client_of(host)
    before = await client.start(a_process())
    host.kill()
    for record in host.paths.records.iterdir():
        record.unlink()
    host.start()
    await wait_until_async(lambda: reachable(client))
    os.kill(before.pid, signal.SIGKILL)

    async def exited():
        return (await the_process(client)).state == "exited"

    await wait_until_async(exited)
    await client.start(a_process())

    async def started():
        return (await the_process(client)).pid not in {0, before.pid}

    await wait_until_async(started)
    await client.close()


async def test_a_process_that_ended_while_nobody_looked_is_started_again_once(host):
    host.start()
    client = await client_of(host)
    before = await client.start(a_process())
    host.kill()
    os.kill(before.pid, signal.SIGKILL)
    wait_until(lambda: not host.marked(), what="the end of the process")
    host.start()

    async def restarted():
        found = await reachable(client)
        return found if found and found.pid else None

    after = await wait_until_async(restarted)
    assert after.pid != before.pid
    assert (after.restarts, after.last_exit) == (1, "unknown")
    assert host.marked()[MARKER] == [after.pid]
    await client.close()


@pytest.mark.parametrize(
    "changed", [{}, {"pid": 0, "state": State.BACKOFF}], ids=["nobody looked", "its end was written"]
)
async def test_what_a_process_that_ended_left_behind_is_not_taken_for_it(host, changed):
    host.start()
    client = await client_of(host)
    before = await client.start(a_process("setsid -f sleep 1000; exec sleep 999"))
    wait_until(lambda: [name_of(pid) for pid in host.marked().get(MARKER, [])] == ["sleep"] * 2, what="the child")
    (child,) = set(host.marked()[MARKER]) - {before.pid}
    host.kill()
    os.kill(before.pid, signal.SIGKILL)
    wait_until(lambda: host.marked() == {MARKER: [child]}, what="the end of the process alone")
    change_record(host, **changed)
    host.start()

    async def restarted():
        found = await reachable(client)
        return found if found and found.pid not in {0, child} else None

    after = await wait_until_async(restarted)
    assert (after.state in {"starting", "running"}, after.restarts) == (True, 1)
    assert child not in host.marked()[MARKER]
    await client.close()


async def test_what_a_life_wrote_that_nobody_took_over_is_numbered_to_its_end(host):
    host.start()
    client = await client_of(host)
    await client.start(a_process("while :; do echo and on; done"))
    file = host.paths.log_file(SERVICE, "web.1", 1, "stdout")
    wait_until(lambda: file.stat().st_size > 1000, what="its lines")
    host.kill()
    change_record(host, pid=0, state=State.BACKOFF, retry_at=SystemClock().monotonic() + 1000)
    host.start()
    await wait_until_async(lambda: reachable(client))
    await client.stop(a_process().id, 0.0)
    assert host.marked() == {}
    index = ServiceIndex(host.paths.log_index(SERVICE))
    assert list(index.positions.values()) == [file.stat().st_size]
    index.close()
    await client.close()


def name_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def change_record(host, **changed):
    (file,) = host.paths.records.glob("svc*.json")
    file.write_bytes(records.encode(dataclasses.replace(records.newest(file.read_bytes()), **changed)))


async def test_a_stop_that_was_interrupted_is_finished(host):
    command = host.script("stubborn.py", "import signal, time\nsignal.signal(15, signal.SIG_IGN)\ntime.sleep(1000)\n")
    host.start()
    client = await client_of(host)
    started = await client.start(a_process(command))
    wait_until(lambda: ignores_sigterm(started.pid))
    stopping = asyncio.create_task(client.stop(started.id, 0.5))

    async def begun():
        return (await the_process(client)).state == "stopping"

    await wait_until_async(begun)
    host.kill()
    await asyncio.gather(stopping, return_exceptions=True)
    host.start()
    wait_until(lambda: not host.marked(), what="the end of the process")
    wait_until(lambda: not list(host.paths.records.glob("svc*")))
    await client.close()


def ignores_sigterm(pid):
    with open(f"/proc/{pid}/status") as status:
        mask = next(line for line in status if line.startswith("SigIgn:"))
    return int(mask.split()[1], 16) & (1 << (signal.SIGTERM - 1))


async def test_a_record_that_cannot_be_read_does_not_stop_the_others(host):
    host.start()
    client = await client_of(host)
    before = await client.start(a_process())
    host.kill()
    (host.paths.records / f"{SERVICE}.r9.n0.web.1.json").write_text("{torn")
    host.start()
    after = await wait_until_async(lambda: reachable(client))
    assert after.pid == before.pid
    await client.close()


async def test_a_job_left_by_a_killed_supervisor_is_ended(host):
    host.start()
    client = await client_of(host)
    running = asyncio.create_task(client.run_job(a_job("sleep 1000 & sleep 1000")))
    await wait_until_async(lambda: len(host.marked().get(a_job("").id, [])) == 3)
    host.kill()
    await asyncio.gather(running, return_exceptions=True)
    host.start()
    wait_until(lambda: not host.marked(), what="the end of the job")
    await client.close()


async def test_two_data_directories_never_take_each_others_processes(host, tmp_path_factory):
    other = SupervisorHost(tmp_path_factory.mktemp("other"))
    try:
        host.start()
        other.start()
        one, two = await client_of(host), await client_of(other)
        mine, theirs = await one.start(a_process()), await two.start(a_process())
        host.kill()
        host.start()
        assert (await wait_until_async(lambda: reachable(one))).pid == mine.pid
        await one.stop(mine.id, 5.0)
        assert (await the_process(two)).pid == theirs.pid
        assert list(other.marked().values()) == [[theirs.pid]]
        await one.close()
        await two.close()
    finally:
        other.close()


async def test_sigterm_ends_the_supervisor_alone(host):
    process = host.start()
    client = await client_of(host)
    before = await client.start(a_process())
    process.terminate()
    assert process.wait(20) == 0
    assert host.marked()[MARKER] == [before.pid]
    await client.close()


def test_a_second_supervisor_on_the_same_directory_says_so_and_ends(host):
    host.start()
    wait_until(host.paths.supervisor_socket.exists)
    first = host.process
    second = host.start()
    assert second.wait(20) == 3
    host.process = first
    assert "another one already serves" in host.output.read_text()
    assert first.poll() is None


async def test_the_socket_of_a_very_long_directory_works(tmp_path):
    deep = tmp_path.joinpath(*["d" * 40] * 4)
    deep.mkdir(parents=True)
    host = SupervisorHost(deep)
    try:
        host.start()
        client = await client_of(host)
        status = await client.start(a_process(id=ProcessId(SERVICE, 1, 0, "web.1")))
        assert status.pid
        await client.close()
    finally:
        host.close()
