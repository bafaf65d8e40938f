"""Limits and ends on the best rung that this host has; what it lacks is skipped."""

import dataclasses
import os
import pathlib
import signal

import pytest

from node_agent.errors import SupervisorRefusedError
from node_agent.model.process import JobKind, Limits
from node_agent.supervisor import cages
from node_agent.supervisor_client import SupervisorClient
from tests.supervisor_host import SERVICE, a_job, a_process
from tests.supervisor_host import client as client  # noqa: PLC0414 - the fixture
from tests.supervisor_host import host as host  # noqa: PLC0414 - the fixture
from tests.waiting import wait_until, wait_until_async

MIB = 1 << 20
FORKER = """
import os, time
forked = refused = 0
for _ in range(500):
    try:
        if os.fork() == 0:
            time.sleep(1000)
        forked += 1
    except BlockingIOError:
        refused += 1
print(forked, refused, flush=True)
time.sleep(1000)
"""
HOG = """
import time
print("eating", flush=True)
kept = [bytearray(1 << 20) for _ in range(200)]
time.sleep(1000)
"""
STRAY = """
import os
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execve("/bin/sleep", ["{name}", "1000"], {{}})
    os._exit(0)
os.wait()
open("strayed", "w").close()
{end}
"""


@pytest.fixture
async def rung(client):
    return dict((await client.hello()).capabilities)


def demand(rung, name):
    if not rung["limits_rung"].startswith("cgroup") or name not in rung["limits"].split(","):
        pytest.skip(f"this host cannot limit {name} by a control group: {rung['limits_rung']}")


async def the_process(client):
    (found,) = await client.processes()
    return found


def said(host, name="web.1"):
    file = host.paths.log_file(SERVICE, name, 1, "stdout")
    return file.read_text() if file.exists() else ""


def named(name):
    """pids of processes that call themselves `name`; they carry nothing else of ours."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cmdline").read_bytes().startswith(f"{name}\0".encode()):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


async def test_a_fork_bomb_stays_within_its_limit_and_ends_whole(host, client, rung):
    demand(rung, "pids")
    wanted = a_process(host.script("app.py", FORKER), limits=Limits(pids=64))
    await client.start(wanted)
    wait_until(lambda: said(host).endswith("\n"))
    forked, refused = map(int, said(host).split())
    assert forked == 63
    assert refused == 500 - 63
    assert (await client.stats())[wanted.id].pids == 64
    neighbour = a_process(id=dataclasses.replace(wanted.id, restart=1))
    assert (await client.start(neighbour)).pid
    await client.stop(wanted.id, 0.0)
    assert str(wanted.id) not in host.marked()
    await client.stop(neighbour.id, 0.0)


async def test_a_bomb_that_forks_without_end_is_stopped(host, client, rung):
    demand(rung, "pids")
    bomb = "import os\nos.setsid\nopen('forked', 'w').close()\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass\n"
    wanted = a_process(host.script("app.py", bomb), limits=Limits(pids=32, cpu=0.2))
    await client.start(wanted)
    await wait_until_async((host.tree / "forked").exists)
    await client.stop(wanted.id, 0.0)
    assert host.marked() == {}


async def test_a_memory_hog_dies_alone_and_its_end_says_why(host, client, rung):
    demand(rung, "memory")
    neighbour = a_process(id=dataclasses.replace(a_process().id, restart=1))
    before = await client.start(neighbour)
    wanted = a_process(host.script("app.py", HOG), limits=Limits(memory_bytes=64 * MIB))
    await client.start(wanted)

    async def crashed():
        found = {each.id: each for each in await client.processes()}[wanted.id]
        return found if found.crash else None

    found = await wait_until_async(crashed)
    assert found.crash.kind.value == "oom"
    assert found.last_exit == "oom: more than 64 MiB of memory"
    assert found.crash.lines == ("eating",)
    assert 0 < found.crash.max_rss_bytes < 70 * MIB
    assert {each.id: each.pid for each in await client.processes()}[neighbour.id] == before.pid
    await client.stop(wanted.id, 0.0)
    await client.stop(neighbour.id, 0.0)


async def test_a_child_that_eats_too_much_is_the_reason_when_its_parent_gives_up(host, client, rung):
    demand(rung, "memory")
    host.script("app.py", HOG)
    wanted = a_process(f"{os.sys.executable} app.py; exit 3", limits=Limits(memory_bytes=64 * MIB))
    await client.start(wanted)

    async def crashed():
        return (await the_process(client)).crash

    assert (await wait_until_async(crashed)).kind.value == "oom"


async def test_what_wiped_its_environment_and_left_its_session_ends_with_its_process(host, client, rung):
    demand(rung, "pids")
    name = f"stray-{os.getpid()}-a"
    wanted = a_process(host.script("app.py", STRAY.format(name=name, end="import time; time.sleep(1000)")))
    await client.start(wanted)
    await wait_until_async((host.tree / "strayed").exists)
    (stray,) = wait_until(lambda: named(name))
    host.kill()
    host.start()
    await wait_until_async(lambda: still_connected(client))
    assert named(name) == [stray]
    await client.stop(wanted.id, 0.2)
    assert named(name) == []


async def test_what_wiped_its_environment_ends_with_its_build(host, client, rung):
    demand(rung, "pids")
    name = f"stray-{os.getpid()}-b"
    assert (await client.run_job(a_job(host.script("build.py", STRAY.format(name=name, end=""))))).code == 0
    assert (host.build_tree / "strayed").exists()
    assert named(name) == []


async def test_without_records_a_stray_alone_in_its_cage_is_found_and_ended(host, client, rung):
    demand(rung, "pids")
    name = f"stray-{os.getpid()}-c"
    wanted = a_process(host.script("app.py", STRAY.format(name=name, end="import time; time.sleep(1000)")))
    before = await client.start(wanted)
    await wait_until_async((host.tree / "strayed").exists)
    wait_until(lambda: named(name))
    host.kill()
    for record in host.paths.records.glob("svc*"):
        record.unlink()
    os.kill(before.pid, 9)
    host.start()
    await wait_until_async(lambda: still_connected(client))
    await client.start(wanted)
    await client.stop(wanted.id, 0.0)
    assert named(name) == []
    assert host.marked() == {}


async def still_connected(client):
    try:
        return bool(await client.processes())
    except Exception:  # the client is coming back
        return False


async def test_no_cage_is_left_of_what_was_stopped(host, client):
    await client.start(a_process())
    await client.run_job(a_job("true"))
    await client.stop(a_process().id, 5.0)
    await client.shutdown()
    host.process.wait(20)
    group = cages.group_name(host.paths.root)
    assert not list(pathlib.Path("/sys/fs/cgroup").glob(f"**/{group}"))


async def test_a_limit_that_no_program_can_live_with_is_refused_and_named(client):
    with pytest.raises(SupervisorRefusedError, match=r"limits\.memory_bytes"):
        await client.start(a_process(limits=Limits(memory_bytes=4096)))
    assert await client.processes() == ()


async def test_a_limited_process_that_is_adopted_keeps_its_limits(host, client, rung):
    demand(rung, "pids")
    wanted = a_process(
        host.script(
            "app.py",
            FORKER.replace("import os, time", "import os, time\nwhile not os.path.exists('go'): time.sleep(0.02)"),
        ),
        limits=Limits(pids=8),
    )
    await client.start(wanted)
    host.kill()
    host.start()
    await wait_until_async(lambda: still_connected(client))
    (host.tree / "go").touch()
    wait_until(lambda: said(host).endswith("\n"))
    assert said(host).split()[0] == "7"
    os.kill((await the_process(client)).pid, signal.SIGKILL)  # and so does its next life
    wait_until(lambda: len(said(host).splitlines()) == 2)
    assert said(host).split()[2] == "7"
    await client.stop(wanted.id, 0.0)


async def test_the_share_of_a_core_holds_from_the_start_and_in_every_life(host, client, rung):
    demand(rung, "cpu")
    wanted = a_process(limits=Limits(cpu=0.5))

    def quota():
        places = pathlib.Path("/sys/fs/cgroup").glob(f"**/{cages.group_name(host.paths.root)}/{wanted.id}/cpu.*")
        return {file.read_text().split()[0] for file in places if file.name in {"cpu.cfs_quota_us", "cpu.max"}}

    first = await client.start(wanted)
    assert quota() == {"50000"}
    os.kill(first.pid, signal.SIGKILL)

    async def runs_again():
        return (await the_process(client)).pid not in {0, first.pid}

    await wait_until_async(runs_again)
    assert quota() == {"50000"}


async def test_fifty_detached_grandchildren_with_an_empty_environment_end_with_their_process(host, client, rung):
    demand(rung, "pids")
    name = f"stray-{os.getpid()}-d"
    program = (
        "import os, signal, time\nsignal.signal(15, signal.SIG_IGN)\n"
        "for _ in range(50):\n    if os.fork() == 0:\n        os.setsid()\n        if os.fork() == 0:\n"
        f"            os.execve('/bin/sleep', ['{name}', '1000'], {{}})\n        os._exit(0)\n"
        "    os.wait()\ntime.sleep(1000)\n"
    )
    wanted = a_process(host.script("app.py", program))
    await client.start(wanted)
    await wait_until_async(lambda: len(named(name)) == 50)
    await client.stop(wanted.id, 0.2)
    assert named(name) == []


async def test_a_process_that_runs_says_what_it_uses(host, client):
    wanted = a_process(
        host.script("app.py", "import time\nkept = bytearray(30 << 20)\nprint('ready', flush=True)\ntime.sleep(1000)\n")
    )
    await client.start(wanted)
    wait_until(lambda: said(host) == "ready\n")
    usage = (await client.stats())[wanted.id]
    assert usage.memory_bytes > 30 * MIB
    assert usage.pids == 1
    assert usage.cpu_s > 0


async def test_without_control_groups_a_watchdog_ends_what_is_over_its_limit(host):
    host.start("--rung", "none")
    client = SupervisorClient(host.paths)
    await client.connect(20)
    assert dict((await client.hello()).capabilities)["limits_rung"].startswith("watchdog")
    hog = host.script("app.py", HOG.replace("200", "100"))
    await client.start(a_process(hog, limits=Limits(memory_bytes=64 * MIB)))

    async def crashed():
        return (await the_process(client)).crash

    assert str(await wait_until_async(crashed)) == "oom: more than 64 MiB of memory"
    await client.stop(a_process().id, 0.0)
    many = a_process("sleep 1000 & sleep 1000 & sleep 1000 & sleep 1000", limits=Limits(pids=3))
    await client.start(many)
    assert str(await wait_until_async(crashed)) == "oom: more than 3 processes"
    assert await over(client, host) == ("oom", ("more than 64 MiB of memory",))
    await client.close()


async def over(client, host):
    """How a run of a cron entry ends that eats more than it may."""
    hog = host.script("hog.py", HOG.replace("200", "100"))
    limits = Limits(memory_bytes=64 * MIB)
    result = await client.run_job(a_job(hog, kind=JobKind.CRON, entry="hog", minute=1, limits=limits))
    return result.outcome, result.last_lines


async def test_a_run_of_a_cron_entry_keeps_to_its_limit_and_its_end_says_why(host, client, rung):
    demand(rung, "memory")
    assert await over(client, host) == ("oom", ("more than 64 MiB of memory",))


async def test_a_run_whose_limits_cannot_be_enforced_does_not_start_when_they_are_strict(host):
    host.start("--rung", "none")
    client = SupervisorClient(host.paths)
    await client.connect(20)
    limits = Limits(cpu=0.5, strict=True)
    result = await client.run_job(a_job("exit 0", kind=JobKind.CRON, entry="strict", minute=1, limits=limits))
    assert result.outcome == "start_failed"
    assert "cannot limit cpu" in result.last_lines[0]
    await client.close()
