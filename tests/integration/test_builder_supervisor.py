"""The builder on the real supervisor: jobs, their log, their end."""

import asyncio

import pytest

from node_agent.errors import ReleaseFailedError
from node_agent.model.process import ProcessId
from node_agent.model.spec import Runtime
from node_agent.supervisor import ladder, procfs
from node_agent.supervisor_client import SupervisorClient
from tests import supervisor_host
from tests.builder_fixtures import SERVICE, Bench
from tests.supervisor_host import a_process
from tests.waiting import wait_until_async

host = supervisor_host.host  # a fixture


@pytest.fixture
async def bench(tmp_path, host):
    place = tmp_path / "builder"
    place.mkdir()
    client = SupervisorClient(host.paths)
    found = Bench(place, supervisor=client, paths=host.paths)
    host.start()
    await client.connect(30.0)
    yield found
    await client.close()


async def test_a_build_runs_as_a_job_and_its_release_starts(bench):
    bench.repository.write({"app/requirements.txt": "", "app/Procfile": "web: python show.py", "app/show.py": PROGRAM})
    artifact = await bench.build(bench.release(runtime=Runtime.PYTHON, working_dir="app"))
    wanted = a_process(
        artifact.run_cmd, id=ProcessId(SERVICE, 1, 0, "web.1"), toolchain=artifact.toolchain, working_dir="app"
    )
    await bench.jobs.start(wanted)
    shown = bench.tree() / "app/shown"
    await wait_until_async(lambda: shown.exists() and shown.read_text().endswith("\n"))
    assert shown.read_text() == f"{bench.tree().resolve()}/app/.venv\n"
    await bench.jobs.stop(wanted.id, 1.0)


async def test_a_failed_job_is_told_with_its_last_lines(bench):
    bench.repository.write({"index.html": "x"})
    with pytest.raises(ReleaseFailedError, match=r"exited with code 3.*the reason"):
        await bench.build(bench.release(build_cmd="echo the reason >&2; exit 3"))
    assert await bench.left_over() == []


async def test_a_cancelled_build_leaves_no_process(bench, host):
    bench.repository.write({"index.html": "x"})
    task = asyncio.create_task(bench.build(bench.release(build_cmd="touch begun; setsid sleep 600 & sleep 600")))
    await wait_until_async((bench.paths.build_tree(SERVICE, 1) / "begun").exists)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert f"{SERVICE}.r1.build" not in procfs.take_snapshot(str(host.paths.root)).marked()
    assert await bench.left_over() == []


async def test_a_build_that_leaves_its_session_ignores_sigterm_and_forks_a_thousand_times_ends_whole(bench, host):
    bench.repository.write({"index.html": "x"})
    command = "trap '' TERM HUP; for i in $(seq 1000); do setsid sleep 600 & done; touch begun; sleep 600"
    task = asyncio.create_task(bench.build(bench.release(build_cmd=command)))
    job = f"{SERVICE}.r1.build"
    await wait_until_async((bench.paths.build_tree(SERVICE, 1) / "begun").exists, 60)
    assert len(host.marked()[job]) > 900  # some are just being born
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert job not in host.marked()
    cages = ladder.open_cages(host.paths.root)
    assert job not in cages.names()
    cages.close()
    assert await bench.left_over() == []


PROGRAM = """\
import sys, time
with open("shown", "w") as out:
    print(sys.prefix, file=out)
time.sleep(600)
"""
