"""Whose volumes are: made by the supervisor for one service's user, found by all of its programs and by nobody else's."""

import contextlib
import os
import pathlib
import shutil
import stat
from collections.abc import Callable

import pytest

from node_agent.builder import mounts
from node_agent.model.process import JobKind, ProcessId
from node_agent.model.spec import Runtime
from node_agent.supervisor_client import SupervisorClient
from tests.builder_fixtures import a_release
from tests.integration.test_isolation_probes import APP, GROUP, NEIGHBOUR, PYTHON, lines, run_probes, seal
from tests.integration.test_isolation_probes import client as client  # noqa: PLC0414 - the fixture
from tests.supervisor_host import SERVICE, SupervisorHost, a_job, a_process, reach
from tests.supervisor_host import open_host as open_host  # noqa: PLC0414 - the fixture `host`
from tests.waiting import wait_until_async

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not os.access(PYTHON, os.X_OK), reason="needs root, and a Python that every user can run"
)
AGENT = 65534
WITH_DATA = a_release(volumes=(("data", "data"),), runtime=Runtime.CUSTOM)


def whose(path: pathlib.Path) -> tuple[int, int, int]:
    found = path.lstat()
    return found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)


async def say(host: SupervisorHost, client: SupervisorClient, command: str, **changes: object) -> list[str]:
    """What a process of the service writes that has one volume."""
    spec = a_process(f"{command}; echo end; exec sleep 1000", volumes=("data",), **changes)
    before = len(lines(host, spec))
    await client.start(spec)
    await wait_until_async(lambda: lines(host, spec)[before:][-1:] == ["end"])
    await client.stop(spec.id, 0.0)
    return lines(host, spec)[before:-1]


async def test_a_volume_is_its_services_alone_and_outlives_processes_and_supervisors(
    host: SupervisorHost, client: SupervisorClient
) -> None:
    tree = await seal(host, client)
    mounts.link(host.paths, SERVICE, 1, tree, WITH_DATA)
    volume = host.paths.volume(SERVICE, "data")
    assert await say(host, client, "echo one >data/file; echo $DPLOYR_VOLUME_DATA") == [str(volume)]
    assert whose(host.paths.volumes(SERVICE)) == (0, GROUP, 0o710)
    assert whose(volume) == (APP, GROUP, 0o700)
    host.kill()
    host.start()
    await reach(host, client)
    worker = ProcessId(SERVICE, 1, 1, "worker.1")
    assert await say(host, client, "cat data/file; id -u", id=worker) == ["one", str(APP)]


async def test_a_neighbour_cannot_enter_a_volume(host: SupervisorHost, client: SupervisorClient) -> None:
    tree = await seal(host, client, NEIGHBOUR)
    mounts.link(host.paths, NEIGHBOUR, 1, tree, WITH_DATA)
    neighbour = ProcessId(NEIGHBOUR, 1, 0, "web.1")
    await say(host, client, "echo secret >data/file; chmod 777 data/. data/file", id=neighbour)
    theirs, kept = host.paths.volume(NEIGHBOUR, "data"), host.paths.volumes(NEIGHBOUR)
    probes = {
        f"use({str(theirs / 'file')!r})": "EACCES",
        f"use({str(theirs)!r})": "EACCES",
        f"use({str(kept)!r})": "EACCES",
        f"os.stat({str(theirs)!r})": "EACCES",
        f"os.mkdir({str(kept / 'mine')!r})": "EACCES",
        f"os.rename({str(theirs)!r}, {str(theirs) + '2'!r})": "EACCES",
    }
    assert await run_probes(host, client, list(probes)) == probes


async def test_an_app_can_neither_replace_a_volume_nor_list_those_of_its_service(
    host: SupervisorHost, client: SupervisorClient
) -> None:
    await seal(host, client)
    await say(host, client, "true", id=ProcessId(SERVICE, 1, 0, "worker.1"))
    volume = host.paths.volume(SERVICE, "data")
    probes = {
        f"os.rename({str(volume)!r}, {str(volume) + '2'!r})": "EACCES",
        f"os.symlink('/etc', {str(volume.parent / 'other')!r})": "EACCES",
        f"os.listdir({str(volume.parent)!r})": "EACCES",
        f"use({str(volume)!r})": "done",
    }
    assert await run_probes(host, client, list(probes)) == probes


async def test_the_app_passes_what_an_agent_with_a_user_of_its_own_linked(host: SupervisorHost) -> None:
    """Also through directories on the way that the agent had to make."""
    client = SupervisorClient(host.paths)
    host.start("--agent-user", "nobody")
    await client.connect(20)
    await client.prepare_build(SERVICE, 1)
    shutil.rmtree(host.tree)
    host.build_tree.rename(host.tree)
    os.chown(host.tree, AGENT, GROUP)
    host.tree.chmod(0o750)
    deep = a_release(volumes=(("data", "var/lib/data"),), runtime=Runtime.CUSTOM)
    assert as_agent(lambda: mounts.link(host.paths, SERVICE, 1, host.tree, deep)) == 0
    assert await say(host, client, "echo one >var/lib/data/file; cat $DPLOYR_VOLUME_DATA/file") == ["one"]
    await client.close()


def as_agent(do: Callable[[], None]) -> int:
    """How `do` ended in a child that is the agent's user: 0 when it was done."""
    pid = os.fork()
    if pid == 0:
        code = 1
        with contextlib.suppress(OSError):
            os.setgroups([])
            os.setresgid(AGENT, AGENT, AGENT)
            os.setresuid(AGENT, AGENT, AGENT)
            do()
            code = 0
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


async def test_what_apps_without_users_left_in_a_volume_becomes_the_services(host: SupervisorHost) -> None:
    client = SupervisorClient(host.paths)
    host.start("--uid-range", "none")
    await client.connect(20)
    await say(host, client, "mkdir $DPLOYR_VOLUME_DATA/inner; echo one >$DPLOYR_VOLUME_DATA/inner/file")
    host.kill()
    host.start()
    await reach(host, client)
    again = ProcessId(SERVICE, 1, 1, "web.1")
    assert await say(
        host, client, "cat $DPLOYR_VOLUME_DATA/inner/file; echo two >>$DPLOYR_VOLUME_DATA/inner/file", id=again
    ) == ["one"]
    assert whose(host.paths.volume(SERVICE, "data") / "inner/file")[0] == APP
    await client.close()


async def test_volumes_go_with_their_service(host: SupervisorHost, client: SupervisorClient) -> None:
    await seal(host, client)
    await say(host, client, "mkdir $DPLOYR_VOLUME_DATA/inner; chmod 0 $DPLOYR_VOLUME_DATA/inner")
    await client.forget(SERVICE)
    assert (await client.run_job(a_job("", release=0, kind=JobKind.REMOVE))).code == 0
    assert not host.paths.volumes(SERVICE).exists()


async def test_a_name_of_a_volume_that_is_taken_by_something_else_starts_nothing(
    host: SupervisorHost, client: SupervisorClient
) -> None:
    await seal(host, client)
    await say(host, client, "true")
    host.paths.volume(SERVICE, "other").symlink_to("/etc")
    spec = a_process(id=ProcessId(SERVICE, 1, 1, "web.1"), volumes=("other",))
    await client.start(spec)
    (status,) = [one for one in await client.processes() if one.id == spec.id]
    assert status.crash is not None
    assert "cannot make its volumes" in status.crash.words
    await client.stop(spec.id, 0.0)
