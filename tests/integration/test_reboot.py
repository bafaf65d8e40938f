"""A host that loses its power and comes back: the same applications at the same ports, and nothing that has an old pid is
taken for one of them.
"""

import contextlib
import os
import pathlib
import signal
import subprocess

import pytest

from node_agent.state.journal import Journal
from tests import storm_fixtures
from tests.oracle import processes
from tests.waiting import wait_until

LAST_PID = pathlib.Path("/proc/sys/kernel/ns_last_pid")


@pytest.fixture
async def host(tmp_path):
    boot_id = tmp_path / "boot-id"
    boot_id.write_text("the first boot\n")
    made = storm_fixtures.Host(tmp_path, 3, "--boot-id-file", str(boot_id))
    try:
        await made.begin()
        yield made
    finally:
        made.close()


@contextlib.contextmanager
def with_pid(pid):
    """A process of somebody else that has just this pid; None where a pid cannot be asked for."""
    found = None
    with contextlib.suppress(OSError):
        for _ in range(20):
            LAST_PID.write_text(str(pid - 1))
            found = subprocess.Popen(["/bin/sleep", "1000"], start_new_session=True)
            if found.pid == pid:
                break
            found.kill()
            found.wait()
            found = None
    try:
        yield found
    finally:
        if found is not None:
            found.kill()
            found.wait()


def ports(host):
    """By service, out of the environment of what runs."""
    found = {}
    for service_id, (pids, _) in host.running().items():
        for pid in pids:
            words = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            found[service_id] = next(word for word in words if word.startswith(b"PORT="))
    return found


async def generations(host):
    journal = await Journal.open(host.paths.journal)
    try:
        return await journal.generations()
    finally:
        await journal.close()


async def test_after_a_reboot_the_same_applications_run_at_their_ports_and_no_old_pid_is_trusted(host, tmp_path):
    before, wished, lines = ports(host), await generations(host), sum(map(host.counted, host.services))
    victim = host.running()[host.services[0]][0][0]
    host.power_off()
    (tmp_path / "boot-id").write_text("the second boot\n")
    with with_pid(victim) as stranger:
        host.keep()
        wait_until(lambda: len(ports(host)) == 3, 60, "all applications")
        assert ports(host) == before
        assert all(len(pids) == 1 for pids, _ in host.running().values())
        wait_until(lambda: sum(map(host.counted, host.services)) > lines + 100, 60, "more lines")
        assert await generations(host) == wished
        host.end()
        assert stranger is None or stranger.poll() is None, "a process of somebody else was ended"
    assert processes.of(host.paths.root) == []
    assert {service_id: found.problems for service_id, found in host.verdicts().items() if found.problems} == {}


async def test_a_whole_host_that_is_killed_with_sigkill_and_started_in_the_same_boot_does_the_same(host):
    before = ports(host)
    for pids, _ in host.running().values():
        os.kill(pids[0], signal.SIGKILL)
    for name in tuple(host.parts):
        host.kill(name)
    host.keep()
    wait_until(lambda: ports(host) == before, 60, "all applications at their ports")
    host.end()
    assert {service_id: found.problems for service_id, found in host.verdicts().items() if found.problems} == {}
