"""A supervisor whose agent has a user of its own: whose the places are, and how those of a former version get there."""

import os
import pathlib
import pwd
import stat
import subprocess
import sys

import pytest

from node_agent.builder import reuse
from node_agent.errors import SupervisorRefusedError
from node_agent.model.process import JobKind
from node_agent.proxy import render, status
from node_agent.supervisor_client import SupervisorClient
from tests.integration.test_isolation_probes import NEIGHBOUR, PYTHON, lines
from tests.proxy_fixtures import free_port, needs_nginx
from tests.supervisor_host import SERVICE, SupervisorHost, a_job, a_process, passable, reach
from tests.supervisor_host import open_host as open_host  # noqa: PLC0414 - the fixture `host`
from tests.waiting import wait_until, wait_until_async

AGENT, AGENTS_GROUP, GROUP, PROXY = 65534, 65534, 200000, 265534
BIN = pwd.getpwnam("bin")
AS_AGENT = ("setpriv", f"--reuid={AGENT}", f"--regid={AGENTS_GROUP}", "--clear-groups")

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not os.access(PYTHON, os.X_OK), reason="needs root, and a Python that every user can run"
)


def whose(path: pathlib.Path) -> tuple[int, int, int]:
    found = path.lstat()
    return found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)


def as_agent(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*AS_AGENT, *command], capture_output=True, text=True, errors="replace", timeout=30, check=False
    )


async def connected(host: SupervisorHost, *options: str) -> SupervisorClient:
    host.start(*options)
    client = SupervisorClient(host.paths)
    await client.connect(20)
    return client


async def test_the_agent_gets_its_places_and_of_a_service_what_it_fills(host: SupervisorHost) -> None:
    client = await connected(host, "--agent-user", "nobody")
    paths = host.paths
    await client.prepare_build(SERVICE, 1)
    for place in (paths.own, paths.archives, paths.cache, paths.runs, paths.trash):
        assert whose(place) == (AGENT, AGENTS_GROUP, 0o700), place
    for place in (paths.root, paths.services, paths.nginx.parent):
        assert whose(place)[0] == 0, place
        assert whose(place)[2] == 0o711, place
    assert whose(paths.records) == (0, 0, 0o700)
    assert whose(paths.service(SERVICE)) == (0, GROUP, 0o711)
    assert whose(paths.builds(SERVICE)) == (AGENT, GROUP, 0o710)
    assert whose(paths.releases(SERVICE)) == (AGENT, GROUP, 0o711)
    assert whose(paths.logs(SERVICE)) == (0, AGENTS_GROUP, 0o750)
    assert whose(paths.log_file(SERVICE, "build", 1, "stdout"))[0] == AGENT
    assert whose(paths.supervisor_socket) == (0, AGENTS_GROUP, 0o660)
    await client.close()


async def test_the_agent_reads_what_an_app_says_and_the_app_cannot(host: SupervisorHost) -> None:
    client = await connected(host, "--agent-user", "nobody")
    os.chown(host.tree, AGENT, AGENTS_GROUP)
    log, index = host.paths.log_file(SERVICE, "web.1", 1, "stdout"), host.paths.log_index(SERVICE)
    spec = a_process(f"echo said; echo again >>/dev/stdout; cat {log}; echo end >&2; exec sleep 1000")
    await client.start(spec)
    await wait_until_async(lambda: index.exists() and index.stat().st_size >= 160)
    assert as_agent("cat", str(log)).stdout == "said\nagain\n"
    assert as_agent("cat", str(index)).returncode == 0
    assert as_agent("sh", "-c", f"echo >> {index}").returncode != 0
    await client.stop(spec.id, 0.0)
    await client.close()


async def test_what_a_root_agent_left_is_found_by_the_agent_that_has_a_user(host: SupervisorHost) -> None:
    client = await connected(host)
    paths = host.paths
    (host.build_tree / "app").write_text("x")
    assert (await client.run_job(a_job("", kind=JobKind.SEAL))).code == 0
    host.build_tree.rename(host.tree / "sealed")
    spec = a_process("echo said; exec sleep 1000")
    await client.start(spec)
    paths.identity.mkdir(parents=True, exist_ok=True)
    (paths.identity / "key.pem").write_text("key")
    wait_until(lambda: paths.log_index(SERVICE).exists() and paths.log_index(SERVICE).stat().st_size)
    before = {status.pid for status in await client.processes()}
    host.kill()
    host.start("--agent-user", "nobody")
    await reach(host, client)
    assert {status.pid for status in await client.processes()} == before
    assert whose(paths.identity / "key.pem")[0] == AGENT
    assert whose(host.tree / "sealed" / "app")[:2] == (AGENT, GROUP)
    for file in (paths.log_file(SERVICE, "web.1", 1, "stdout"), paths.log_index(SERVICE)):
        assert as_agent("cat", str(file)).returncode == 0, whose(file)
    await client.stop(spec.id, 0.0)
    await client.close()


async def test_where_apps_have_no_users_any_more_releases_share_no_files(host: SupervisorHost) -> None:
    """The apps run as the agent then, and could write through every link."""
    client = await connected(host)
    await client.prepare_build(SERVICE, 1)
    assert reuse.reader(host.paths, SERVICE) == GROUP
    host.kill()
    host.start("--uid-range", "none")
    await reach(host, client)
    await client.prepare_build(SERVICE, 2)
    assert reuse.reader(host.paths, SERVICE) == 0
    await client.close()


async def test_what_an_agent_of_another_user_left_is_found_by_the_next(host: SupervisorHost) -> None:
    client = await connected(host, "--agent-user", "nobody")
    paths = host.paths
    await client.prepare_build(SERVICE, 1)
    key, sealed, built = paths.own / "key.pem", host.tree / "sealed", paths.trash / "old" / "built"
    for file, owner in ((key, AGENT), (sealed, AGENT), (built, 200001)):
        file.parent.mkdir(exist_ok=True)
        file.write_text("x")
        os.chown(file, owner, -1)
    for place in (host.tree, host.tree.parent):
        os.chown(place, AGENT, GROUP)
    os.chown(paths.trash / "old", 200001, -1)
    log = paths.log_file(SERVICE, "build", 1, "stdout")
    assert whose(log)[0] == AGENT
    index = paths.log_index(SERVICE)
    index.touch(0o640)
    os.chown(index, 0, AGENTS_GROUP)
    host.kill()
    host.start("--agent-user", "bin")
    await reach(host, client)
    assert {whose(place)[0] for place in (key, sealed, log, paths.own, paths.trash)} == {BIN.pw_uid}
    assert whose(index) == (0, BIN.pw_gid, 0o640)
    assert whose(built)[0] == 200001
    await client.close()


@pytest.mark.parametrize(
    ("span", "words"), [("199998-200001", f"it is {SERVICE}'s"), ("199999-265534", "cuts through the pair 200000")]
)
async def test_a_range_that_would_share_the_uids_of_a_service_is_refused(
    host: SupervisorHost, span: str, words: str
) -> None:
    client = await connected(host)
    await client.prepare_build(SERVICE, 1)
    host.kill()
    assert host.start("--uid-range", span).wait(20) != 0
    assert words in host.output.read_text()
    await client.close()


async def test_a_tree_too_deep_to_be_walked_keeps_only_its_own_service_from_the_next_agent(
    host: SupervisorHost,
) -> None:
    client = await connected(host)
    await client.prepare_build(SERVICE, 1)
    host.kill()
    try:
        place = os.open(host.tree, os.O_RDONLY)
        for _ in range(sys.getrecursionlimit()):
            os.mkdir("d", dir_fd=place)
            above, place = place, os.open("d", os.O_RDONLY, dir_fd=place)
            os.close(above)
        os.close(place)
        host.start("--agent-user", "nobody")
        await reach(host, client)
        assert f"isolation.not_settled service={SERVICE}" in host.output.read_text()
        await client.prepare_build(NEIGHBOUR, 1)
    finally:
        subprocess.run(["rm", "-rf", str(host.tree)], timeout=30, check=True)
    await client.close()


async def test_no_link_that_the_agent_made_leads_what_is_started_elsewhere(host: SupervisorHost) -> None:
    client = await connected(host, "--agent-user", "nobody")
    elsewhere = host.paths.root.parent / "elsewhere"
    (elsewhere / "tree").mkdir(parents=True)
    host.tree.parent.rename(host.paths.root.parent / "away")
    host.tree.parent.symlink_to(elsewhere)
    started = await client.start(a_process("pwd"))
    assert started.last_exit.startswith("start_failed: Not a directory")
    await client.stop(started.id, 0.0)
    await client.close()


async def test_files_are_not_removed_while_their_service_runs(host: SupervisorHost) -> None:
    client = await connected(host, "--agent-user", "nobody")
    spec = a_process()
    await client.start(spec)
    with pytest.raises(SupervisorRefusedError, match="stop "):
        await client.run_job(a_job("", release=0, kind=JobKind.REMOVE))
    await client.stop(spec.id, 0.0)
    await client.forget(SERVICE)
    assert (await client.run_job(a_job("", release=0, kind=JobKind.REMOVE))).code == 0
    assert not host.paths.service(SERVICE).exists()
    await client.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--agent-user", "nobody", "--uid-range", "none"), "apps have none either"),
        (("--agent-user", "no-such-user"), "there is no such user"),
        (("--uid-range", "200000-200001"), "a service and the proxy take two each"),
        (("--uid-range", "65000-66000", "--agent-user", "nobody"), "the agent's user or group is in it"),
    ],
)
def test_a_user_that_cannot_be_is_refused_with_the_reason(options: tuple[str, ...], words: str) -> None:
    with passable() as root:
        host = SupervisorHost(root / "data")
        try:
            assert host.start(*options).wait(20) != 0
            assert words in host.output.read_text()
        finally:
            host.close()


@needs_nginx
async def test_nginx_has_a_user_of_its_own_and_is_given_what_one_of_roots_left(host: SupervisorHost) -> None:
    client = await connected(host, "--agent-user", "nobody")
    paths = host.paths
    generation = paths.proxy / "generations" / "1"
    for name, text in render.render(1, (), render.ProxySettings("127.0.0.1", free_port()), paths).items():
        (generation / name).parent.mkdir(parents=True, exist_ok=True)
        (generation / name).write_text(text)
    for place in (generation, generation.parent):
        os.chown(place, AGENT, AGENTS_GROUP)
    (paths.proxy / "current").symlink_to("generations/1")
    (paths.nginx / "nginx.pid").write_text("")
    (paths.root / "ours").write_text("x")
    (paths.nginx / "second-name").hardlink_to(paths.root / "ours")
    good, words = await client.proxy_test(1)
    assert good, words
    assert await client.proxy_ensure()

    async def answers() -> bool:
        return await status.ask(render.status_socket(paths)) == 1

    await wait_until_async(answers)
    assert whose(generation) == (AGENT, PROXY, 0o750)
    assert whose(paths.root / "ours")[0] == 0
    (master,) = host.marked()["proxy"][:1]
    assert pathlib.Path(f"/proc/{master}").stat().st_uid == PROXY
    assert as_agent("cat", str(paths.nginx_log)).returncode == 0
    await client.shutdown()
    await client.close()


async def test_a_static_release_is_the_proxys_to_read_and_its_own_services_and_nobody_elses(
    host: SupervisorHost,
) -> None:
    client = await connected(host, "--agent-user", "nobody")
    (host.build_tree / "page").mkdir(parents=True)
    (host.build_tree / "page" / "index.html").write_text("made by hand")
    for place in (host.build_tree, host.build_tree / "page", host.build_tree / "page" / "index.html"):
        os.chown(place, AGENT, AGENTS_GROUP)
    await client.run_job(a_job("", kind=JobKind.SEAL, static=True))
    host.tree.rmdir()
    host.build_tree.rename(host.tree)
    page = host.tree / "page" / "index.html"
    assert whose(host.tree) == (AGENT, GROUP, 0o750)
    for reader, code in ((PROXY, 0), (GROUP, 0), (GROUP + 2, 1)):
        words = ["setpriv", f"--reuid={reader}", f"--regid={reader}", "--clear-groups", "cat", str(page)]
        assert subprocess.run(words, capture_output=True, timeout=30, check=False).returncode == code, reader
    spec = a_process("cat page/index.html; cat $PWD/page/index.html; exec sleep 1000")
    await client.start(spec)
    wait_until(lambda: lines(host, spec) == ["made by handmade by hand"])
    await client.stop(spec.id, 0.0)
    await client.close()
