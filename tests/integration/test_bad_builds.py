"""Builds that behave badly on the real supervisor: each is bounded, its end is explained, and nothing of it is left (T16).

Where the tests are root's, builds have users of their own, as on a host that is set up well.
"""

import asyncio
import contextlib
import os
import pathlib
from collections.abc import AsyncIterator

import pytest

from node_agent.builder.build import Limits
from node_agent.errors import ReleaseFailedError
from node_agent.log_reader import LogReader
from node_agent.model.log import LogQuery
from node_agent.supervisor_client import SupervisorClient
from tests.builder_fixtures import SERVICE, Bench
from tests.integration.test_isolation_probes import PYTHON
from tests.supervisor_host import SupervisorHost
from tests.supervisor_host import open_host as open_host  # noqa: PLC0414 - the fixture `host`
from tests.waiting import wait_until_async

MIB = 1 << 20
LOG_LIMIT, OVER = 16 * MIB, 64 * MIB  # docs/explanation/logs.md: how far a flood may be over the limit for a moment
FLOOD = (1024 if os.environ.get("TEST_ALL") else 192) * MIB
NEVER_S = 600.0

# Fifty times out of the session of the build, deaf to SIGTERM, without an environment to be found by.
DAEMONS = """
import os, signal, sys, time

signal.signal(signal.SIGTERM, signal.SIG_IGN)
for number in range(50):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execve("/bin/sh", ["{name}", "-c", "trap '' TERM; echo >> daemons; while :; do sleep 100; done"], {{}})
        os._exit(0)
    os.wait()
while sum(1 for _ in open("daemons")) < 50:
    time.sleep(0.01)
os.close(1)
os.close(2)
open("ready", "w").close()
{end}
"""
FORKS = "mkfifo pipe; left=10000; while [ $left -gt 0 ]; do left=$((left - 1)); read never < pipe & done"


@contextlib.asynccontextmanager
async def opened(host: SupervisorHost, place: pathlib.Path, build_s: float = NEVER_S) -> AsyncIterator[Bench]:
    client = SupervisorClient(host.paths)
    # The kernel counts the processes of one user, also those of a supervisor that another test has: these users are ours.
    host.start("--log-limits", f"{LOG_LIMIT // MIB},100,30", "--uid-range", "300000-300999")
    await client.connect(30.0)
    place.mkdir()
    yield Bench(place, Limits(build_s=build_s), supervisor=client, paths=host.paths)
    await client.close()


@pytest.fixture
async def bench(tmp_path: pathlib.Path, host: SupervisorHost) -> AsyncIterator[Bench]:
    async with opened(host, tmp_path / "bench") as found:
        yield found


def named(name: str) -> list[str]:
    """Processes that call themselves so: nothing else tells of them."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and (entry / "cmdline").read_bytes().startswith(f"{name}\0".encode()):
                found.append(entry.name)
    return found


async def nothing_left(host: SupervisorHost, bench: Bench) -> None:
    assert host.marked() == {}
    assert await bench.left_over() == []


def daemons(name: str, end: str) -> dict[str, str]:
    return {"index.html": "x", "build.py": DAEMONS.format(name=name, end=end)}


async def test_what_a_build_leaves_running_ends_with_it_and_the_release_is_made(host, bench):
    name = f"left-{os.getpid()}"
    bench.repository.write(daemons(name, ""))
    await bench.build(bench.release(build_cmd=f"{PYTHON} build.py"))
    assert named(name) == []
    assert (bench.tree() / "ready").exists()
    await nothing_left(host, bench)


async def test_a_build_that_is_deaf_and_closed_its_outputs_is_cancelled_with_all_that_it_detached(host, bench):
    name = f"deaf-{os.getpid()}"
    bench.repository.write(daemons(name, "time.sleep(1000)"))
    task = asyncio.create_task(bench.build(bench.release(build_cmd=f"{PYTHON} build.py")))
    await wait_until_async((bench.paths.build_tree(SERVICE, 1) / "ready").exists)
    assert len(named(name)) == 50
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert named(name) == []
    assert bench.log().splitlines()[-1] == "==> cancelled"
    await nothing_left(host, bench)


async def test_a_build_that_is_deaf_ends_at_its_deadline_and_is_told_which_it_was(host, tmp_path):
    name = f"slow-{os.getpid()}"
    async with opened(host, tmp_path / "bench", build_s=2.0) as bench:
        bench.repository.write(daemons(name, "time.sleep(1000)"))
        with pytest.raises(ReleaseFailedError, match="the build did not end within 2 s: `") as failed:
            await bench.build(bench.release(build_cmd=f"{PYTHON} build.py"))
        assert failed.value.code == "build_timeout"
        assert named(name) == []
        await nothing_left(host, bench)


async def test_a_build_that_prints_without_end_goes_on_and_its_log_stays_within_its_room(host, bench):
    bench.repository.write({"index.html": "x"})
    flood = f"seq -f %099.0f 1 {FLOOD // 100}; echo the last words"
    task = asyncio.create_task(bench.build(bench.release(build_cmd=flood)))
    most = 0

    def is_done() -> bool:
        nonlocal most
        most = max(most, used(host))
        return task.done()

    await wait_until_async(is_done, 120, "the end of the build")
    await task
    await bench.jobs.index_logs(SERVICE)  # as its worker does after each step: the builder's own words too
    assert most <= LOG_LIMIT + OVER
    await wait_until_async(lambda: used(host) <= LOG_LIMIT, 60, "the room to be free again")
    lines = [line async for batch in LogReader(host.paths).read(LogQuery(SERVICE, tail=10**9)) for line in batch.lines]
    texts = [line.line for line in lines]
    assert texts[-3:-1] == [b"%099d" % (FLOOD // 100), b"the last words"]
    assert texts[-1].startswith(b"==> sealed")
    assert [bool(line.gap_to) for line in lines].count(True) == 1
    assert lines[0].gap_to
    await nothing_left(host, bench)


def used(host: SupervisorHost) -> int:
    return sum(file.stat().st_blocks * 512 for file in host.paths.logs(SERVICE).glob("*"))


async def test_a_build_that_forks_ten_thousand_times_is_bounded_told_and_ended(host, bench):
    enforced = dict((await bench.jobs.hello()).capabilities)
    if not enforced["limits_rung"].startswith("cgroup") or "pids" not in enforced["limits"].split(","):
        pytest.skip(f"this host cannot limit processes by a control group: {enforced['limits_rung']}")
    bench.repository.write({"index.html": "x"})
    with pytest.raises(ReleaseFailedError, match="it was refused more than the 4000 processes") as failed:
        await bench.build(bench.release(build_cmd=FORKS))
    assert failed.value.code == "build_failed"
    await nothing_left(host, bench)
