"""Damaged records, lost journals, reboots: no process is doubled, none is left without an owner, none is hurried."""

import asyncio
import dataclasses
import os
import signal
import subprocess

import pytest

from node_agent.clock import SystemClock
from node_agent.model.process_state import State
from node_agent.supervisor import procfs, records
from tests.supervisor_host import a_process, reach
from tests.supervisor_host import client as client  # noqa: PLC0414 - the fixture
from tests.supervisor_host import host as host  # noqa: PLC0414 - the fixture
from tests.waiting import wait_until, wait_until_async

WEB = a_process()
MARKER = str(WEB.id)


@pytest.fixture
def foreign():
    """A process that is nobody's business."""
    with subprocess.Popen(["/bin/sleep", "1000"], env={}, start_new_session=True) as process:
        yield process
        process.kill()


def record_of(host):
    return host.paths.records / f"{MARKER}.json"


def rewrite(host, **changes):
    """A record that is whole and says something else."""
    record = records.newest(record_of(host).read_bytes())
    record_of(host).write_bytes(records.encode(dataclasses.replace(record, **changes)))


async def the_process(client):
    (found,) = await client.processes()
    return found


def flip(data):
    """The service of another id: JSON and ids stay good."""
    return data.replace(b"svc_00", b"svc_01")


async def test_a_record_whose_end_is_torn_is_believed_up_to_there(host, client):
    before = await client.start(WEB)
    await wait_until_async(lambda: record_of(host).read_bytes().count(b"\n") > 1)
    host.kill()
    record_of(host).write_bytes(record_of(host).read_bytes()[:-40])
    host.start()
    await reach(host, client)
    assert (await the_process(client)).pid == before.pid
    os.kill(before.pid, signal.SIGKILL)

    async def restarted():
        return (await the_process(client)).pid not in {0, before.pid}

    await wait_until_async(restarted, what="a restart without the agent's help")


@pytest.mark.parametrize("damage", [lambda data: data[:40], lambda _: b"", flip, lambda data: bytes(len(data))])
async def test_a_damaged_record_neither_doubles_nor_loses_its_process(host, client, damage):
    before = await client.start(WEB)
    host.kill()
    record_of(host).write_bytes(damage(record_of(host).read_bytes()))
    host.start()
    await reach(host, client)
    assert (await the_process(client)).pid == before.pid
    assert (await client.start(WEB)).pid == before.pid
    assert host.marked()[MARKER] == [before.pid]
    assert record_of(host).with_name(f"{MARKER}.json.damaged").exists()
    await client.stop(WEB.id, 5.0)
    assert host.marked() == {}


async def test_all_records_may_be_gone_while_processes_serve(host, client):
    others = [a_process(id=dataclasses.replace(WEB.id, restart=number)) for number in range(3)]
    for other in others:
        await client.start(other)
    pids = {found.id: found.pid for found in await client.processes()}
    host.kill()
    for record in host.paths.records.iterdir():
        record.unlink()
    host.start()
    await reach(host, client)
    assert {found.id: found.pid for found in await client.processes()} == pids
    for other in others:
        await client.stop(other.id, 5.0)
    assert host.marked() == {}


async def test_a_crash_looper_is_not_hurried_by_restarts_of_the_supervisor(host, client):
    await client.start(a_process("exit 1"))

    async def waits_long():
        found = await the_process(client)
        return found if found.restarts >= 3 and found.state == "backoff" else None

    before = await wait_until_async(waits_long)
    due = records.newest(record_of(host).read_bytes()).retry_at
    for _ in range(3):
        host.kill()
        host.start()
        await reach(host, client)
    after = await the_process(client)
    assert after.restarts == before.restarts or SystemClock().monotonic() >= due
    assert records.newest(record_of(host).read_bytes()).retry_at >= due


async def test_after_a_reboot_a_process_starts_again_and_nothing_trusts_the_old_pid(host, client, tmp_path, foreign):
    boot = tmp_path / "boot_id"
    boot.write_text("after\n")
    before = await client.start(WEB)
    host.kill()
    os.kill(before.pid, signal.SIGKILL)
    wait_until(lambda: not host.marked(), what="the end of the process")
    rewrite(host, pid=foreign.pid, started_ticks=procfs.started(foreign.pid))
    host.start("--boot-id-file", str(boot))
    await reach(host, client)

    async def runs():
        return (await the_process(client)).pid

    pid = await wait_until_async(runs)
    assert (await client.hello()).boot_id == "after"
    assert pid not in {before.pid, foreign.pid}
    assert host.marked()[MARKER] == [pid]
    await client.stop(WEB.id, 5.0)
    assert foreign.poll() is None


async def test_after_a_reboot_a_long_wait_is_forgotten(host, client, tmp_path):
    boot = tmp_path / "boot_id"
    boot.write_text("after\n")
    pid = (await client.start(WEB)).pid
    host.kill()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not procfs.started(pid), what="the end of the process")
    rewrite(host, pid=0, state=State.CRASH_LOOPING, retry_at=1e12)
    host.start("--boot-id-file", str(boot))
    await wait_until_async(lambda: host.marked().get(MARKER))


async def test_a_pid_that_now_belongs_to_another_is_left_alone(host, client, foreign):
    pid = (await client.start(WEB)).pid
    host.kill()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not procfs.started(pid), what="the end of the process")
    rewrite(host, pid=foreign.pid, started_ticks=procfs.started(foreign.pid) - 1)
    host.start()
    await reach(host, client)
    await wait_until_async(lambda: host.marked().get(MARKER))
    await client.stop(WEB.id, 0.0)
    assert foreign.poll() is None


async def test_a_supervisor_that_stood_still_does_once_what_it_missed(host, client):
    before = await client.start(WEB)
    other = a_process(id=dataclasses.replace(WEB.id, restart=1), port=20002)
    host.process.send_signal(signal.SIGSTOP)
    os.kill(before.pid, signal.SIGKILL)
    asked = [asyncio.create_task(client.start(each)) for each in (WEB, other, WEB)]
    wait_until(lambda: not procfs.started(before.pid), what="the end of the process")
    host.process.send_signal(signal.SIGCONT)
    await asyncio.gather(*asked)

    async def all_run():
        found = {each.id: each for each in await client.processes()}
        return found if all(each.pid not in {0, before.pid} for each in found.values()) else None

    found = await wait_until_async(all_run)
    assert (found[WEB.id].restarts, found[other.id].restarts) == (1, 0)
    assert host.marked() == {str(each): [status.pid] for each, status in found.items()}


async def test_a_request_whose_caller_gave_up_meanwhile_is_still_whole(host, client):
    """The agent asks again after the timeout: the second start finds what the first one did."""
    host.process.send_signal(signal.SIGSTOP)
    lost = asyncio.create_task(client.start(WEB))
    await asyncio.sleep(0)
    lost.cancel()
    await asyncio.gather(lost, return_exceptions=True)
    host.process.send_signal(signal.SIGCONT)
    status = await client.start(WEB)
    assert host.marked()[MARKER] == [status.pid]
