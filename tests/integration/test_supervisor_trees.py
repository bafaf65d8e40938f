"""Whole trees: how a process is started, and that nothing of it is left when it ends."""

import asyncio
import os
import resource
import signal

import pytest

from node_agent.model.process import Unwell
from node_agent.supervisor_client import SupervisorClient
from tests.supervisor_host import SERVICE, a_job, a_process
from tests.supervisor_host import client as client  # noqa: PLC0414 - the fixture
from tests.supervisor_host import host as host  # noqa: PLC0414 - the fixture
from tests.waiting import wait_until, wait_until_async

DAEMONS = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(50):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(1000)
        os._exit(0)
open("forked", "w").close()
{end}
"""


def members(host, marker):
    return host.marked().get(str(marker), [])


def last_words(host, name):
    return host.paths.log_file(SERVICE, name, 1, "stdout").read_text()


async def test_stopping_ends_fifty_detached_grandchildren_that_ignore_sigterm(host, client):
    wanted = a_process(host.script("app.py", DAEMONS.format(end="time.sleep(1000)")))
    await client.start(wanted)
    await wait_until_async((host.tree / "forked").exists)
    wait_until(lambda: len(members(host, wanted.id)) == 51)
    await client.stop(wanted.id, 0.2)
    assert members(host, wanted.id) == []
    assert not list(host.paths.records.glob("svc*"))


async def test_a_shell_that_ends_at_sigterm_leaves_its_app_the_grace_to_finish(host, client):
    host.script(
        "app.py",
        "import signal, sys, time\n"
        "def end(*_):\n    time.sleep(0.5)\n    open('finished', 'w').close()\n    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\nopen('ready', 'w').close()\ntime.sleep(1000)\n",
    )
    wanted = a_process(f"{os.sys.executable} app.py; true")
    await client.start(wanted)
    await wait_until_async((host.tree / "ready").exists)
    await client.stop(wanted.id, 10.0)
    assert (host.tree / "finished").exists()


async def test_a_killed_process_is_replaced_after_the_rest_of_its_tree_is_gone(host, client):
    wanted = a_process("sleep 1000 & sleep 1001")
    first = await client.start(wanted)
    wait_until(lambda: len(members(host, wanted.id)) == 3)
    former = members(host, wanted.id)
    os.kill(first.pid, signal.SIGKILL)

    async def replaced():
        (found,) = await client.processes()
        return found if found.pid not in {0, first.pid} else None

    found = await wait_until_async(replaced)
    assert (found.restarts, found.last_exit) == (1, "signalled(9)")
    wait_until(lambda: len(members(host, wanted.id)) == 3)
    assert not set(former) & set(members(host, wanted.id))


async def test_a_tree_that_stands_still_is_killed_after_its_grace_and_lives_again(host, client):
    wanted = a_process("sleep 1000 & sleep 1001")
    first = await client.start(wanted)
    wait_until(lambda: len(members(host, wanted.id)) == 3)
    former = members(host, wanted.id)
    os.killpg(first.pid, signal.SIGSTOP)
    unwell = Unwell(first.pid, "no answer within 5 s twice")
    await asyncio.gather(*(client.replace(wanted.id, unwell, 2.0) for _ in range(3)))

    async def replaced():
        (found,) = await client.processes()
        return found if found.pid not in {0, first.pid} else None

    found = await wait_until_async(replaced)
    assert (found.restarts, found.last_exit) == (1, "unhealthy: no answer within 5 s twice")
    wait_until(lambda: len(members(host, wanted.id)) == 3)
    assert not set(former) & set(members(host, wanted.id))


async def test_a_process_that_is_being_replaced_can_be_stopped(host, client):
    first = await client.start(a_process("trap '' TERM; while :; do sleep 1; done"))
    await client.replace(a_process().id, Unwell(first.pid, "no answer"), 60.0)
    await client.stop(a_process().id, 0.1)
    assert await client.processes() == ()
    assert host.marked() == {}


async def test_a_process_sees_its_own_environment_and_nothing_of_ours(host, client, monkeypatch):
    (host.tree / "sub").mkdir()
    await client.start(
        a_process(
            "env; pwd; exec sleep 1000",
            env=(("GREETING", "hi there"), ("PORT", "1"), ("HOME", "/"), ("DPLOYR_ROOT", "/")),
            toolchain="node-22.1.0",
            working_dir="sub",
        )
    )
    await wait_until_async(lambda: last_words(host, "web.1").endswith(f"\n{host.tree}/sub\n"))
    *pairs, directory = last_words(host, "web.1").splitlines()
    env = dict(pair.split("=", 1) for pair in pairs)
    assert directory == str(host.tree / "sub")
    path = env.pop("PATH").split(":")
    assert path[0] == f"{host.tree}/sub/.venv/bin"
    assert path.index(f"{host.tree}/node_modules/.bin") < path.index(f"{host.paths.toolchains}/node-22.1.0/bin")
    assert path[-3:] == ["/usr/local/bin", "/usr/bin", "/bin"]
    assert env.pop("PWD") == directory
    assert env == {
        "GREETING": "hi there",
        "PORT": "20001",
        "HOME": str(host.paths.home(SERVICE)),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "DPLOYR_SERVICE": SERVICE,
        "DPLOYR_RELEASE": "1",
        "DPLOYR_COMMIT": "c0ffee",
        "DPLOYR_PROCESS": str(a_process().id),
        "DPLOYR_ROOT": str(host.paths.root),
    }
    assert host.paths.home(SERVICE).is_dir()


async def test_a_process_has_no_descriptor_but_its_own_three_and_cannot_gain_privileges(host, client):
    status = await client.start(a_process())
    await wait_until_async(lambda: os.readlink(f"/proc/{status.pid}/exe").endswith("sleep"))
    await wait_until_async(lambda: sorted(os.listdir(f"/proc/{status.pid}/fd")) == ["0", "1", "2"])
    assert os.readlink(f"/proc/{status.pid}/fd/0") == "/dev/null"
    with open(f"/proc/{status.pid}/status") as found:
        fields = dict(line.split(":", 1) for line in found)
    assert fields["NoNewPrivs"].strip() == "1"
    ours = sum(1 << (number - 1) for number in signal.valid_signals())
    assert int(fields["SigIgn"], 16) & ours == 0
    assert int(fields["SigBlk"], 16) == 0


@pytest.mark.parametrize("directory", ["..", "/etc", "out", "out/../../.."])
async def test_a_working_directory_outside_the_release_is_refused(host, client, directory):
    (host.tree / "out").symlink_to("/etc")
    wanted = a_process(working_dir=directory)
    await client.start(wanted)
    (found,) = await client.processes()
    assert "leads out of the release" in found.last_exit
    await client.stop(wanted.id, 1.0)


async def test_a_process_may_be_debugged_although_the_supervisor_may_not(host, client):
    """It leaves no core unless it asks for one, which may be as large as where the supervisor was started."""
    app = (
        "import ctypes, resource\n"
        "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE))\n"  # PR_GET_DUMPABLE
    )
    await client.start(a_process(host.script("app.py", app)))
    await wait_until_async(lambda: last_words(host, "web.1").endswith("\n"))
    assert last_words(host, "web.1").splitlines()[0] == f"1 {(0, resource.getrlimit(resource.RLIMIT_CORE)[1])}"


async def test_environment_that_the_kernel_refuses_is_a_failed_start(host, client):
    await client.start(a_process(env=(("BIG", "x" * 200_000),)))
    (found,) = await client.processes()
    assert found.last_exit.startswith("start_failed: ")


async def test_what_a_finished_job_left_running_is_ended(host, client):
    job = a_job(host.script("build.py", DAEMONS.format(end="")))
    result = await client.run_job(job)
    assert (result.outcome, result.code) == ("exited", 0)
    assert (host.build_tree / "forked").exists()
    assert members(host, job.id) == []


async def test_a_job_at_its_deadline_ends_whole(host, client):
    job = a_job(host.script("build.py", DAEMONS.format(end="time.sleep(1000)")), deadline_s=3.0)
    result = await client.run_job(job)
    assert result.outcome == "timeout"
    assert (host.build_tree / "forked").exists()
    assert members(host, job.id) == []


async def test_a_job_of_a_client_that_went_away_is_ended_by_the_next_one(host, client):
    lost = SupervisorClient(host.paths)
    await lost.connect(20)
    job = a_job("exec sleep 1000")
    running = asyncio.create_task(lost.run_job(job))
    await wait_until_async(lambda: members(host, job.id))
    former = members(host, job.id)
    await lost.close()
    await asyncio.gather(running, return_exceptions=True)
    assert members(host, job.id) == former
    assert (await client.run_job(a_job("true"))).outcome == "exited"
    assert members(host, job.id) == []


async def test_a_build_gets_caches_and_ci_but_no_port(host, client):
    await client.run_job(a_job("env", env=(("NODE_ENV", "production"),)))
    env = dict(line.split("=", 1) for line in last_words(host, "build").splitlines())
    assert env["CI"] == "1"
    assert env["NODE_ENV"] == "production"
    assert env["npm_config_cache"] == f"{host.paths.cache}/npm"
    assert env["PIP_CACHE_DIR"] == f"{host.paths.cache}/pip"
    assert "PORT" not in env


async def test_shutdown_ends_processes_jobs_and_the_supervisor(host, client):
    await client.start(a_process())
    running = asyncio.create_task(client.run_job(a_job("sleep 1000")))
    await wait_until_async(lambda: len(host.marked()) == 2)
    await client.shutdown()
    assert (await running).outcome == "cancelled"
    assert host.process.wait(20) == 0
    assert host.marked() == {}


async def test_orphans_of_a_running_process_are_reaped(host, client):
    await client.start(a_process("(sleep 0.1 & ) ; exec sleep 1000"))
    reaper = host.process.pid

    def children():
        return {m.pid: m for m in host.snapshot().members.values() if m.parent == reaper}

    def zombies():
        return [pid for pid in os.listdir("/proc") if pid.isdigit() and is_zombie_of(pid, reaper)]

    await wait_until_async(lambda: len(children()) == 1 and not zombies())


def is_zombie_of(pid, parent):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            state, ppid = stat.read().rpartition(")")[2].split()[:2]
    except OSError:
        return False
    return state == "Z" and int(ppid) == parent
