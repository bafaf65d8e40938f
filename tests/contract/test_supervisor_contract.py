"""One suite over the real supervisor and the in-memory one: what the agent may rely on."""

import asyncio
import contextlib
import os

import pytest

from node_agent.errors import SupervisorRefusedError
from node_agent.fakes.supervisor import FakeSupervisor
from node_agent.model.crash import Kind
from node_agent.model.disk import Use
from node_agent.model.process import JobKind, ProcessId, Unwell
from node_agent.paths import Paths
from node_agent.supervisor_client import SupervisorClient
from tests.supervisor_host import SERVICE, SupervisorHost, a_job, a_process
from tests.waiting import wait_until_async

RUN = "run_" + "0" * 26
OTHER = ProcessId(SERVICE, 1, 1, "web.1")


@pytest.fixture(params=["fake", "real"])
async def supervisor(request, tmp_path):
    if request.param == "fake":
        fake = FakeSupervisor(paths=Paths(tmp_path))
        fake.measured = {f"services/{SERVICE}/releases": Use(4096, 2), "agent": Use(4096, 1)}
        yield fake
        return
    host = SupervisorHost(tmp_path)
    host.start()
    client = SupervisorClient(host.paths)
    try:
        await client.connect(20)
        yield client
    finally:
        await client.close()
        host.close()


def a_run(command):
    return a_job(command, kind=JobKind.RUN, run_id=RUN)


def an_entry(command, minute=1):
    return a_job(command, kind=JobKind.CRON, entry="tidy", minute=minute)


@contextlib.contextmanager
def pipes(root):
    """The two pipes of RUN, open for reading."""
    paths = Paths(root)
    paths.runs.mkdir()
    opened = []
    for stream in ("stdout", "stderr"):
        os.mkfifo(paths.run_pipe(RUN, stream))
        opened.append(os.open(paths.run_pipe(RUN, stream), os.O_RDONLY | os.O_NONBLOCK))
    try:
        yield opened
    finally:
        for fd in opened:
            os.close(fd)


async def status_of(supervisor, process_id):
    return next((found for found in await supervisor.processes() if found.id == process_id), None)


async def wait_for_state(supervisor, process_id, *states):
    async def reached():
        found = await status_of(supervisor, process_id)
        return found if found is not None and found.state in states else None

    return await wait_until_async(reached, what=f"state {states}")


async def test_hello_tells_who_answers(supervisor):
    info = await supervisor.hello()
    assert info.pid > 0
    assert info.boot_id


async def test_a_started_process_is_listed_and_runs(supervisor):
    wanted = a_process()
    status = await supervisor.start(wanted)
    assert (status.id, status.port) == (wanted.id, wanted.port)
    running = await wait_for_state(supervisor, wanted.id, "running")
    assert running.pid > 0
    assert running.restarts == 0


async def test_a_repeated_start_starts_nothing(supervisor):
    first = await supervisor.start(a_process())
    again = await supervisor.start(a_process())
    assert again.pid == first.pid
    assert len(await supervisor.processes()) == 1


async def test_two_copies_of_a_release_run_side_by_side(supervisor):
    one = await supervisor.start(a_process())
    other = await supervisor.start(a_process(id=OTHER, port=20002))
    assert one.pid != other.pid
    assert {found.id for found in await supervisor.processes()} == {one.id, OTHER}


async def test_a_stopped_process_is_gone_and_stopping_it_again_is_fine(supervisor):
    wanted = a_process()
    await supervisor.start(wanted)
    await supervisor.stop(wanted.id, 5.0)
    assert await supervisor.processes() == ()
    await supervisor.stop(wanted.id, 5.0)


async def test_a_process_that_ends_is_started_again_and_tells_its_last_lines(supervisor):
    wanted = a_process("echo about to fail; exit 3")
    await supervisor.start(wanted)

    async def restarted():
        found = await status_of(supervisor, wanted.id)
        return found if found.restarts >= 2 and found.last_exit else None

    found = await wait_until_async(restarted)
    assert found.last_exit == "exited(3)"
    assert "about to fail" in found.last_lines


async def test_a_process_that_cannot_start_is_a_state_and_no_error(supervisor):
    wanted = a_process(working_dir="missing")
    await supervisor.start(wanted)
    found = await wait_for_state(supervisor, wanted.id, "backoff", "crash_looping")
    assert found.last_exit.startswith("start_failed: ")
    await supervisor.stop(wanted.id, 1.0)
    assert await supervisor.processes() == ()


async def test_a_process_that_crashed_tells_how(supervisor):
    wanted = a_process("echo about to fail; exit 3")
    await supervisor.start(wanted)

    async def crashed():
        found = await status_of(supervisor, wanted.id)
        return found.crash

    crash = await wait_until_async(crashed)
    assert (crash.kind, crash.code, crash.lines) == (Kind.EXITED, 3, ("about to fail",))
    assert str(crash) == "exited(3)"
    assert crash.at > 0


async def test_an_unhealthy_process_is_replaced_and_told_as_such(supervisor):
    wanted = a_process("echo hung; exec sleep 1000")
    await supervisor.start(wanted)
    first = await wait_for_state(supervisor, wanted.id, "running")
    await supervisor.replace(wanted.id, Unwell(first.pid, "GET /health answered 500 three times"), 5.0)

    async def replaced():
        found = await status_of(supervisor, wanted.id)
        return found if found.pid not in {0, first.pid} and found.crash else None

    found = await wait_until_async(replaced)
    assert (found.restarts, found.crash.kind) == (1, Kind.UNHEALTHY)
    assert found.last_exit == "unhealthy: GET /health answered 500 three times"
    with pytest.raises(SupervisorRefusedError, match="does not run"):
        await supervisor.replace(wanted.id, Unwell(first.pid, "late"), 5.0)


async def test_a_process_that_nobody_knows_is_not_replaced(supervisor):
    with pytest.raises(SupervisorRefusedError, match="does not run"):
        await supervisor.replace(a_process().id, Unwell(4711, "late"), 5.0)


async def test_a_signal_reaches_the_process_that_runs(supervisor):
    status = await supervisor.start(a_process())
    await supervisor.signal(status.id, "WINCH")
    await supervisor.stop(status.id, 5.0)
    with pytest.raises(SupervisorRefusedError, match="does not run"):
        await supervisor.signal(status.id, "HUP")


async def test_stats_name_every_process(supervisor):
    status = await supervisor.start(a_process())
    assert {each: usage.pids for each, usage in (await supervisor.stats()).items()} == {status.id: 1}


async def test_listeners_hear_of_every_start_and_stop(supervisor):
    heard = []
    supervisor.subscribe(heard.append)
    await supervisor.start(a_process())
    await wait_until_async(lambda: SERVICE in heard)
    heard.clear()
    await supervisor.stop(a_process().id, 5.0)
    await wait_until_async(lambda: SERVICE in heard)


async def test_what_uses_the_disk_is_told_of_everything_or_of_one_service(supervisor):
    everything, own = await supervisor.measure(), await supervisor.measure(SERVICE)
    assert own[f"services/{SERVICE}/releases"].entries > 0
    assert own == {path: use for path, use in everything.items() if f"/{SERVICE}/" in path}
    assert everything.keys() > own.keys()


async def test_a_job_tells_its_exit_code_and_last_lines(supervisor):
    result = await supervisor.run_job(a_job("echo compiling; exit 7"))
    assert (result.outcome, result.code) == ("exited", 7)
    assert result.last_lines == ("compiling",)


async def test_a_job_that_succeeds_exits_with_zero(supervisor):
    result = await supervisor.run_job(a_job("echo fine; exit 0"))
    assert (result.outcome, result.code) == ("exited", 0)


async def test_a_job_without_its_directory_cannot_start(supervisor):
    result = await supervisor.run_job(a_job("exit 0", working_dir="missing"))
    assert result.outcome == "start_failed"


async def test_a_job_ends_at_its_deadline(supervisor):
    result = await supervisor.run_job(a_job("echo slow; sleep 1000", deadline_s=1.5))
    assert result.outcome == "timeout"
    assert result.last_lines == ("slow",)


async def test_a_cancelled_job_says_so(supervisor):
    job = a_job("sleep 1000")
    running = asyncio.create_task(supervisor.run_job(job))

    async def cancelled():
        await supervisor.cancel_job(job.id)
        return running.done()

    await wait_until_async(cancelled)
    assert (await running).outcome == "cancelled"


async def test_a_second_job_of_the_same_id_ends_the_first(supervisor):
    first = asyncio.create_task(supervisor.run_job(a_job("sleep 1000")))
    await asyncio.sleep(0)  # the first request is on its way before the second
    result = await supervisor.run_job(a_job("exit 0"))
    assert (result.outcome, result.code) == ("exited", 0)
    assert (await first).outcome == "cancelled"


async def test_other_requests_are_answered_while_a_job_runs(supervisor):
    job = a_job("sleep 1000")
    running = asyncio.create_task(supervisor.run_job(job))
    await supervisor.start(a_process())
    await supervisor.stop(a_process().id, 5.0)
    assert not running.done()

    async def cancelled():
        await supervisor.cancel_job(job.id)
        return running.done()

    await wait_until_async(cancelled)
    await running


async def test_a_one_off_command_writes_into_the_pipe_that_the_caller_reads(supervisor, tmp_path):
    with pipes(tmp_path) as (output, _):
        result = await supervisor.run_job(a_run("echo hello; exit 5"))
        assert (result.outcome, result.code) == ("exited", 5)
        assert os.read(output, 100) == b"hello\n"


async def test_a_one_off_command_can_be_cancelled(supervisor, tmp_path):
    with pipes(tmp_path):
        job = a_run("sleep 1000")
        running = asyncio.create_task(supervisor.run_job(job))

        async def cancelled():
            await supervisor.cancel_job(job.id)
            return running.done()

        await wait_until_async(cancelled)
        assert (await running).outcome == "cancelled"


async def test_a_service_with_a_process_is_not_forgotten(supervisor):
    await supervisor.start(a_process())
    with pytest.raises(SupervisorRefusedError, match=SERVICE):
        await supervisor.forget(SERVICE)
    await supervisor.stop(a_process().id, 5.0)
    await supervisor.forget(SERVICE)


async def test_nginx_that_does_not_run_cannot_be_reloaded(supervisor):
    with pytest.raises(SupervisorRefusedError, match="does not run"):
        await supervisor.proxy_reload()


async def test_a_run_of_a_cron_entry_goes_on_when_its_caller_is_gone_and_its_end_can_be_asked_for(supervisor):
    job = an_entry("sleep 1000")
    calling = asyncio.create_task(supervisor.run_job(job))

    async def asked():
        asking = asyncio.create_task(supervisor.await_job(job.id))
        await asyncio.sleep(0)
        await supervisor.hello()  # answered after the other
        return None if asking.done() else asking

    asking = await wait_until_async(asked, what="the begin of the run")
    calling.cancel()
    await asyncio.gather(calling, return_exceptions=True)
    assert await asked()
    await supervisor.cancel_job(job.id)
    assert (await asking).outcome == "cancelled"
    assert (await supervisor.await_job(job.id)).outcome == "cancelled"


async def test_the_result_of_a_cron_run_is_kept_and_of_an_unknown_one_there_is_none(supervisor):
    result = await supervisor.run_job(an_entry("echo swept; exit 3"))
    assert (result.outcome, result.code) == ("exited", 3)
    assert await supervisor.await_job(an_entry("").id) == result
    assert await supervisor.await_job(an_entry("", minute=2).id) is None
