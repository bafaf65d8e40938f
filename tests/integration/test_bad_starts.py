"""What cannot be started: a state and a reason that a person understands, tried again by policy, and nobody else notices."""

import re
import shutil

import pytest

from node_agent.model.process import Limits, ProcessId
from tests.supervisor_host import SERVICE, a_process
from tests.supervisor_host import client as client  # noqa: PLC0414 - the fixture
from tests.supervisor_host import host as host  # noqa: PLC0414 - the fixture
from tests.waiting import wait_until_async

WAITING = {"backoff", "crash_looping"}


def a_missing_program(host):
    return a_process("no-such-program --flag")


def a_missing_file(host):
    return a_process("./gone.py")


def a_file_that_is_no_program(host):
    (host.tree / "notes.txt").write_text("words")
    return a_process("./notes.txt")


def a_directory_for_a_program(host):
    (host.tree / "dir").mkdir()
    return a_process("./dir")


def a_program_of_garbage(host):
    (host.tree / "garbage").write_bytes(b"\x7fELF" + bytes(range(256)))
    (host.tree / "garbage").chmod(0o755)
    return a_process("./garbage")


def an_interpreter_that_is_gone(host):
    (host.tree / "script").write_text("#!/no/such/interpreter\n")
    (host.tree / "script").chmod(0o755)
    return a_process("./script")


def a_working_directory_that_is_gone(host):
    return a_process(working_dir="gone")


def a_release_that_is_gone(host):
    shutil.rmtree(host.tree)
    return a_process()


def an_environment_of_200_kib(host):
    return a_process(env=(("LARGE", "x" * (200 << 10)),))


def a_null_in_the_environment(host):
    return a_process(env=(("A", "1\x002"),))


def an_equals_sign_in_a_name(host):
    return a_process(env=(("A=B", "1"),))


@pytest.mark.parametrize(
    ("prepared", "reason"),
    [
        (a_missing_program, r"exited\(127\)"),
        (a_missing_file, r"exited\(127\)"),
        (a_file_that_is_no_program, r"exited\(126\)"),
        (a_directory_for_a_program, r"exited\(126\)"),
        (a_program_of_garbage, r"exited\((2|126|127)\)"),
        (an_interpreter_that_is_gone, r"exited\(127\)"),
        (a_working_directory_that_is_gone, "start_failed: No such file or directory: .*gone"),
        (a_release_that_is_gone, "start_failed: No such file or directory: .*tree"),
        (an_environment_of_200_kib, "start_failed: Argument list too long"),
        (a_null_in_the_environment, "start_failed: embedded null byte"),
        (an_equals_sign_in_a_name, "start_failed: illegal environment variable name"),
    ],
)
async def test_what_cannot_start_says_why_waits_longer_each_time_and_disturbs_nobody(host, client, prepared, reason):
    neighbour = a_process(id=ProcessId("svc_" + "1" * 26, 1, 0, "web.1"))
    host.paths.release_tree(neighbour.id.service_id, 1).mkdir(parents=True)
    before = await client.start(neighbour)
    wanted = prepared(host)
    await client.start(wanted)

    async def waits():
        found = {each.id: each for each in await client.processes()}[wanted.id]
        return found if found.restarts and found.state in WAITING and found.crash else None

    found = await wait_until_async(waits)
    assert found.pid == 0
    assert re.match(reason, found.last_exit), found
    assert {each.id: each.pid for each in await client.processes()}[neighbour.id] == before.pid
    await client.stop(wanted.id, 0.0)
    assert list(host.marked()) == [str(neighbour.id)]
    assert "Traceback" not in host.output.read_text()


@pytest.mark.parametrize("limits", [Limits(cpu=1024.0), Limits(memory_bytes=1 << 50), Limits(pids=4_194_304)])
async def test_a_limit_above_all_that_the_host_has_is_no_reason_not_to_start(client, limits):
    await client.start(a_process(limits=limits))
    (found,) = await client.processes()
    assert found.pid
    await client.stop(found.id, 0.0)


async def test_the_least_memory_that_may_be_asked_for_ends_the_app_and_not_who_starts_it(host, client):
    """The supervisor is in the cage itself while it starts something there."""
    hog = host.script("app.py", "kept = bytearray(200 << 20)\n")
    wanted = a_process(hog, limits=Limits(memory_bytes=4 << 20))
    await client.start(wanted)

    async def looping():
        (found,) = await client.processes()
        return found if found.restarts >= 3 else None

    found = await wait_until_async(looping)
    assert host.process.poll() is None
    assert found.id.service_id == SERVICE
    await client.stop(wanted.id, 0.0)
