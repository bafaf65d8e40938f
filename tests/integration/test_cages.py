"""One suite over every rung of this host that makes cages: what the supervisor may rely on."""

import contextlib
import os
import pathlib
import signal
import threading

import pytest

from node_agent.model.process import Limits
from node_agent.supervisor import background, cages
from node_agent.supervisor.cages_v1 import CagesV1
from node_agent.supervisor.cages_v2 import CagesV2
from tests.waiting import wait_until

NAME = "svc_1.r1.n0.web.1"


def own_places():
    return cages.probe(pathlib.Path("/proc/self/cgroup").read_text(), pathlib.Path("/proc/self/mountinfo").read_text())


@pytest.fixture(params=["v1", "v2"])
def rung(request, tmp_path):
    places, group = own_places(), cages.group_name(tmp_path)
    try:
        found = CagesV1(places.v1, group) if request.param == "v1" else CagesV2(places.v2, group)
    except OSError as error:
        pytest.skip(f"no cgroup {request.param} on this host: {error}")
    yield found
    for name in found.names():
        found.find(name).kill()
        wait_until(lambda name=name: reaped(found.find(name)))
        found.find(name).remove()
    found.close()
    assert found.names() == []


def reaped(cage):
    with contextlib.suppress(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    return not cage.members()


def spawn(cage, command="sleep 1000 & exec sleep 1000"):
    with cage.entered():
        return os.posix_spawn("/bin/sh", ("/bin/sh", "-c", command), {"PATH": "/usr/bin:/bin"}, setsid=True)


def test_a_cage_is_found_by_its_name_and_nothing_else_is(rung):
    assert rung.names() == []
    assert rung.find(NAME) is None
    cage = rung.create(NAME, Limits())
    assert rung.names() == [NAME]
    assert rung.find(NAME).members() == cage.members() == []
    cage.remove()
    cage.remove()
    assert cage.members() == []
    assert rung.find(NAME) is None


def test_a_rung_that_was_closed_can_be_used_again(rung):
    rung.create(NAME, Limits()).remove()
    rung.close()
    assert rung.names() == []
    assert rung.create(NAME, Limits()).members() == []


def test_what_is_started_inside_is_a_member_and_we_are_not(rung):
    before = pathlib.Path("/proc/self/cgroup").read_text()
    cage = rung.create(NAME, Limits())
    pid = spawn(cage)
    assert pathlib.Path("/proc/self/cgroup").read_text() == before
    wait_until(lambda: len(cage.members()) == 2)
    assert pid in cage.members()
    assert os.getpid() not in cage.members()


def test_we_are_out_of_it_also_when_the_start_fails(rung):
    before = pathlib.Path("/proc/self/cgroup").read_text()
    cage = rung.create(NAME, Limits())
    with pytest.raises(FileNotFoundError), cage.entered():
        os.posix_spawn("/no/such/program", ("x",), {})
    assert pathlib.Path("/proc/self/cgroup").read_text() == before
    assert cage.members() == []


def test_threads_of_ours_are_none_of_the_processes_that_a_limit_counts(rung):
    cage, ends = rung.create(NAME, Limits(pids=2)), threading.Event()
    ours = [threading.Thread(target=ends.wait) for _ in range(background.MOST)]
    for thread in ours:
        thread.start()
    try:
        pid = spawn(cage, "exec sleep 1000")
    finally:
        ends.set()
        for thread in ours:
            thread.join()
    assert cage.members() == [pid]


def test_a_cage_that_is_gone_cannot_be_entered(rung):
    before = pathlib.Path("/proc/self/cgroup").read_text()
    cage = rung.create(NAME, Limits())
    cage.remove()
    with pytest.raises(FileNotFoundError), cage.entered():
        pass
    assert pathlib.Path("/proc/self/cgroup").read_text() == before


def test_a_kill_reaches_every_member_and_the_cage_can_be_used_again(rung):
    cage = rung.create(NAME, Limits())
    for _ in range(2):
        pid = spawn(cage)
        wait_until(lambda: len(cage.members()) == 2)
        cage.kill()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        wait_until(lambda: reaped(cage))


def test_making_it_again_keeps_the_members(rung):
    cage = rung.create(NAME, Limits())
    pid = spawn(cage, "exec sleep 1000")
    assert rung.create(NAME, Limits()).members() == [pid]


def test_usage_is_counted(rung):
    cage = rung.create(NAME, Limits())
    spawn(cage)
    wait_until(lambda: cage.usage().pids == 2)
    assert cage.usage().oom_kills == cage.oom_kills() == 0


def test_a_limit_holds_also_after_a_kill(rung):
    if "pids" not in rung.limits:
        pytest.skip("this rung does not limit pids here")
    cage = rung.create(NAME, Limits(pids=2))
    cage.kill()
    assert cage.refused_forks() == 0
    pid = spawn(cage, "/bin/true; /bin/true & /bin/true & wait")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0
    assert cage.refused_forks() > 0


HYBRID = """\
25 20 0:22 / /sys/fs/cgroup ro - tmpfs tmpfs ro
26 25 0:23 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
27 25 0:24 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
28 25 0:25 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
"""
UNIFIED = "30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n"
CONTAINER = "30 20 0:26 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"


@pytest.mark.parametrize(
    ("own", "mounts", "places"),
    [
        ("0::/\n", UNIFIED, cages.Places({}, "/sys/fs/cgroup")),
        ("0::/system.slice/x.service\n", UNIFIED, cages.Places({}, "/sys/fs/cgroup/system.slice/x.service")),
        (
            "5:cpu,cpuacct:/a\n4:memory:/b\n3:pids:/\n0::/c\n",
            HYBRID,
            cages.Places(
                {
                    "memory": "/sys/fs/cgroup/memory/b",
                    "cpu": "/sys/fs/cgroup/cpu,cpuacct/a",
                },
                "/sys/fs/cgroup/unified/c",
            ),
        ),
        ("4:memory:/docker/abc/d\n", CONTAINER, cages.Places({"memory": "/sys/fs/cgroup/memory/d"}, "")),
        ("4:memory:/elsewhere\n", CONTAINER, cages.Places({}, "")),
        ("1:name=systemd:/x\n", HYBRID, cages.Places({}, "")),
        ("", "", cages.Places({}, "")),
    ],
)
def test_our_own_groups_are_told_from_what_the_kernel_says(own, mounts, places):
    assert cages.probe(own, mounts) == places


def test_two_data_directories_never_share_a_group():
    assert cages.group_name(pathlib.Path("/a")) != cages.group_name(pathlib.Path("/b"))
