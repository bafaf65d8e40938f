"""A data directory on a disk of 64 MiB with 20,000 inodes: whatever a build does to it, the build ends with a reason, the
disk is as before, and the neighbour, which writes to it with every answer, goes on (T15, F02).
"""

import asyncio
import dataclasses
import json
import os
import pathlib
import shutil
import signal
import socket
import tempfile

import pytest

from node_agent.builder import trees
from node_agent.errors import ReleaseFailedError
from node_agent.model import disk
from node_agent.model.disk import MIB, Budgets, Use
from node_agent.model.process import JobKind, ProcessId
from node_agent.model.spec import Resources
from node_agent.ports import Artifact
from node_agent.supervisor_client import SupervisorClient
from tests.builder_fixtures import SERVICE, Bench
from tests.integration.test_isolation_probes import PYTHON
from tests.own_mounts import mounted
from tests.proxy_fixtures import free_port
from tests.supervisor_host import SERVICE as NEIGHBOUR
from tests.supervisor_host import SupervisorHost, a_job, a_process
from tests.waiting import wait_until_async

PLACE = pathlib.Path("/mnt")  # open to all, as the places of data directories are; others see nothing of our mount
BUDGETS = Budgets(reserve_bytes=8 * MIB, build=Use(1 << 30, 15_000), least=Use(4 * MIB, 200))
SLACK = 2 * MIB  # of what logs and records took meanwhile
WRITER = """
import os, socket, time
while True:
    try:
        server = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
        break
    except OSError:  # somebody connects from that port just now
        time.sleep(0.05)
while True:
    connection, _ = server.accept()
    with connection:
        try:
            with open(os.environ["HOME"] + "/diary", "a") as file:
                file.write(os.urandom(500).hex())
            connection.sendall(b"written")
        except OSError as error:
            connection.sendall(str(error).encode())
"""

HOARDER = """
import os, time
place = os.environ["HOME"] + "/many"
os.mkdir(place)
number = 0
while True:
    try:
        open(f"{place}/{number}", "w").close()
        number += 1
    except OSError:
        time.sleep(0.01)
"""

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk"),
    pytest.mark.skipif(not PLACE.is_dir(), reason=f"mounts a small disk at {PLACE}"),
]


class Small:
    """The disk, a supervisor and a builder on it, a repository beside it, and the neighbour."""

    def __init__(self, host, client, bench, port):
        self.host, self.client, self.bench, self.port = host, client, bench, port
        self.room = bench.builder.room

    async def build(self, command, number=1, **changes):
        """The failure, or the artifact; and how the disk is behind it, compared with before."""
        before = self.room.space()
        self.bench.repository.write({"index.html": str(number)})
        try:
            ended = await self.bench.build(self.bench.release(number, build_cmd=command, **changes))
        except ReleaseFailedError as error:
            ended = (error.code, str(error))
        await self.bench.builder.trash.empty()
        after = self.room.space()
        left = sorted(entry.name for entry in trees.children(self.bench.paths.builds(SERVICE)))
        log = self.bench.paths.log_file(SERVICE, "build", number, "stdout")
        marked = [marker for marker in self.host.marked() if SERVICE in marker]
        return Ended(
            ended,
            before.free_bytes - after.free_bytes,
            before.free_inodes - after.free_inodes,
            left + marked,
            await asyncio.to_thread(self.asked),
            log.read_text() if log.exists() else "",
        )

    def asked(self):
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            return connection.recv(100).decode()


@dataclasses.dataclass
class Ended:
    result: object
    took: int
    inodes: int
    left: list[str]
    neighbour: str
    log: str

    def failed_with(self, code, *words):
        assert isinstance(self.result, tuple), self.result
        assert self.result[0] == code and all(word in self.result[1] for word in words), self.result
        assert self.took < SLACK and self.inodes < 100, self
        assert (self.left, self.neighbour) == ([], "written")
        assert f"failed: {self.result[1][:100]}" in self.log


def on_a_small_disk(work, budgets=BUDGETS, size="64m"):
    """What `work(small)` returns."""

    async def inside(root):
        host = SupervisorHost(root / "data")
        host.start("--log-limits", "4,8,30")
        client = SupervisorClient(host.paths)
        try:
            await client.connect(20)
            with tempfile.TemporaryDirectory() as beside:
                place = pathlib.Path(beside, "builder")
                place.mkdir()
                wanted = a_process(f"exec {PYTHON} -c '{WRITER}'", port=free_port())
                bench = Bench(place, supervisor=client, paths=host.paths, budgets=budgets)
                began = await client.start(wanted)
                small = Small(host, client, bench, wanted.port)
                await wait_until_async(lambda: _answers(small))
                found = await work(small)
                status = {one.id: one for one in await client.processes()}[wanted.id]
                assert (status.pid, status.restarts) == (began.pid, 0)
                return found
        finally:
            await client.close()
            host.close()

    return mounted("tmpfs", PLACE, f"size={size},nr_inodes=20000,mode=755", lambda root: asyncio.run(inside(root)))


def _answers(small):
    try:
        return small.asked() == "written"
    except OSError:
        return False


@pytest.mark.parametrize("place", ["big", "/tmp/big"])
def test_a_build_that_fills_the_disk_fails_alone(place):
    found = on_a_small_disk(lambda small: small.build(f"head -c 300000000 /dev/zero > {place}; sleep 600"))
    found.failed_with("disk_full", "the disk of the host is full", "8 MiB", "are kept for the host", "dployr disk")


def test_a_build_that_takes_more_than_its_release_allows_is_ended():
    found = on_a_small_disk(
        lambda small: small.build(
            "head -c 30000000 /dev/zero > big; sleep 600", resources=Resources(disk_bytes=16 * MIB)
        )
    )
    found.failed_with("build_too_large", "the build took", "MiB on the disk", "16 MiB are allowed", "resources.disk")


def test_a_build_that_hides_what_it_takes_in_its_caches_is_ended_and_they_go():
    command = "mkdir -p $HOME/a/b; head -c 30000000 /dev/zero > $HOME/a/b/c; sleep 600"
    found = on_a_small_disk(lambda small: small.build(command, resources=Resources(disk_bytes=16 * MIB)))
    found.failed_with("build_too_large", "with its caches", "its caches were deleted")


MANY = "i=0; while [ $i -lt {} ]; do : > f$i; i=$((i+1)); done; sleep 600"


@pytest.mark.parametrize(
    ("files", "code", "words"),
    [(18_000, "build_too_large", "15000 are allowed"), (100_000, "disk_full", "400 inodes are kept for the host")],
)
def test_a_build_that_makes_files_without_end_is_ended(files, code, words):
    found = on_a_small_disk(lambda small: small.build(MANY.format(files)))
    found.failed_with(code, words)


def test_an_app_that_takes_every_inode_ends_nobody_and_what_dies_meanwhile_is_started_again():
    """T23 and F02: also without room for a record or a log the supervisor answers, and all is well once there is room."""

    async def work(small):
        client, paths = small.client, small.host.paths
        other = a_process(id=ProcessId(NEIGHBOUR, 1, 1, "web.1"))
        before = await client.start(other)
        hoarder = a_process(f"exec {PYTHON} -c '{HOARDER}'", id=ProcessId(NEIGHBOUR, 1, 2, "web.1"))
        await client.start(hoarder)
        await wait_until_async(lambda: small.room.space().free_inodes == 0, what="the last inode")

        os.kill(before.pid, signal.SIGKILL)

        async def is_back():
            found = {one.id: one for one in await client.processes()}[other.id]
            return found.state == "running" and found.pid != before.pid

        await wait_until_async(is_back, what="the next life")
        assert small.asked() == "written"
        await client.stop(hoarder.id, 0.0)
        await asyncio.to_thread(shutil.rmtree, paths.home(NEIGHBOUR) / "many")
        await client.start(a_process(id=ProcessId(NEIGHBOUR, 1, 3, "web.1")))
        assert {str(one.id) for one in await client.processes()} == set(small.host.marked())
        return len(small.host.marked())

    assert on_a_small_disk(work) == 3


def test_a_build_that_prints_without_end_costs_no_more_than_the_log_may_take():

    async def work(small):
        before = small.room.space().free_bytes
        found = await small.build(f"yes {'long' * 1000} | head -c 40000000")
        await wait_until_async(
            lambda: before - small.room.space().free_bytes < 6 * MIB, 60, "the end of what the log may not take"
        )
        return found, small.asked()

    found, neighbour = on_a_small_disk(work)
    assert isinstance(found.result, Artifact), found.result
    assert (found.left, neighbour) == ([], "written")


def test_a_build_that_fails_for_want_of_room_before_anybody_looked_is_told_so():
    command = "head -c 300000000 /dev/zero > big"  # ends at once, with an error of its own
    found = on_a_small_disk(lambda small: small.build(command), dataclasses.replace(BUDGETS, reserve_bytes=0))
    found.failed_with("disk_full", "the disk of the host is full")


def test_a_source_that_is_larger_than_the_disk_fails_alone():
    async def work(small):
        small.bench.repository.place.joinpath("blob").write_bytes(os.urandom(30 * MIB))
        return await small.build("")

    on_a_small_disk(work, size="24m").failed_with("disk_full", "the disk of the host is full")


def test_a_build_for_which_there_is_no_room_is_refused_before_it_begins():
    async def work(small):
        small.bench.paths.own.joinpath("ballast").write_bytes(bytes(small.room.space().free_bytes - 21 * MIB // 2))
        return await small.build("touch begun")

    found = on_a_small_disk(work)
    words = (
        "it needs about 4 MiB and 200 inodes",
        "has 2 MiB",
        "beside the 8 MiB",
        "the agent's journal (5",
        "delete",
    )
    assert found.result[0] == "disk_full"
    assert [word for word in words if word not in found.result[1]] == [], found.result[1]
    assert found.neighbour == "written" and found.took == 0


def test_caches_give_way_to_a_build_that_has_no_room_but_nothing_in_use_does():
    async def work(small):
        first = await small.build("echo x > $HOME/kept-by-nobody")
        paths = small.bench.paths
        manifest = paths.release(SERVICE, 1) / "manifest.json"
        known = json.loads(manifest.read_bytes())
        manifest.write_text(json.dumps({**known, "toolchain": "node-20.1.0+pnpm-9.1.0"}))
        for name in ("node-20.1.0", "pnpm-9.1.0", "node-22.1.0", "node-24.1.0"):
            place = paths.toolchains / name
            place.mkdir()
            place.joinpath("large").write_bytes(bytes(8 * MIB))
            for one in (place / "large", place):
                os.utime(one, (len(name), int(name[5:7].strip(".-") or 1)))
        paths.own.joinpath("ballast").write_bytes(bytes(small.room.space().free_bytes - 10 * MIB))
        second = await small.build("echo y > made", 2)
        there = [paths.release_tree(SERVICE, number).is_dir() for number in (1, 2)]
        return first, second, there, sorted(place.name for place in paths.toolchains.glob("[np]*"))

    first, second, there, toolchains = on_a_small_disk(work)
    assert there == [True, True], (first, second)
    assert toolchains == [
        "node-20.1.0",
        "node-24.1.0",
        "pnpm-9.1.0",
    ]  # of a release that can be gone back to, and enough


def test_what_is_measured_is_by_service_and_by_what_it_is():
    async def work(small):
        await small.build("head -c 3000000 /dev/zero > $HOME/cached; head -c 2000000 /dev/zero > index.html")
        await small.client.run_job(a_job("", service_id=SERVICE, release=1, kind=JobKind.CLEAR))
        measured, own = await small.client.measure(), await small.client.measure(SERVICE)
        await small.client.run_job(a_job("", service_id=SERVICE, release=0, kind=JobKind.CLEAR))
        return measured, own, await small.client.measure(SERVICE)

    measured, own, cleared = on_a_small_disk(work)
    below = f"services/{SERVICE}"
    assert own == {path: use for path, use in measured.items() if path.startswith(below)}
    assert own[f"{below}/releases"].bytes >= 2_000_000 and own[f"{below}/build-home"].bytes >= 3_000_000
    assert (cleared[f"{below}/build-home"].bytes, own[f"{below}/build-tmp"].entries) == (0, 1)
    assert measured[f"services/{NEIGHBOUR}/home"].bytes and measured["cache/git"].entries
    assert disk.services(measured) == {SERVICE, NEIGHBOUR}
