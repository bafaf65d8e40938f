"""The caches of a host: those that nobody uses go by themselves, those of a build under way and of any release stay."""

import asyncio
import contextlib
import fcntl
import os

import pytest

from node_agent.builder import mirrors, room
from node_agent.builder.room import Room
from node_agent.builder.trash import Trash
from node_agent.clock import SystemClock
from node_agent.errors import ReleaseFailedError
from node_agent.fakes.supervisor import FakeSupervisor
from node_agent.model.disk import Budgets, Use
from node_agent.paths import Paths
from tests.builder_fixtures import SERVICE, Bench
from tests.waiting import wait_until_async

NONE = Budgets(reserve_bytes=0, caches_bytes=0, caches_age_s=0.0)
USED, UNUSED = "a" * 64, "b" * 64


def an_old(place):
    place.mkdir(parents=True)
    place.joinpath("file").write_bytes(b"x" * 5000)
    for one in (place / "file", place):
        os.utime(one, (1, 1))
    return place


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path, budgets=NONE)


@contextlib.asynccontextmanager
async def tidying(bench):
    task = asyncio.create_task(bench.builder.room.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_caches_that_nobody_uses_go_and_a_mirror_in_use_and_what_was_just_asked_for_stay(bench):
    paths = bench.paths
    git = paths.cache / "git"
    gone = [an_old(paths.cache / "npm"), an_old(paths.toolchains / "node-20.1.0"), an_old(git / UNUSED)]
    stays = [an_old(git / USED), an_old(paths.toolchains / ".new-node-x"), an_old(paths.home(SERVICE))]
    fresh = paths.toolchains / "node-22.1.0"
    fresh.mkdir()
    fresh.joinpath("file").touch()
    with mirrors.lock(git / USED).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        async with tidying(bench):
            await wait_until_async(lambda: not any(place.exists() for place in gone))
    assert all(place.is_dir() for place in (*stays, fresh))


async def test_while_a_build_runs_what_it_may_use_stays(bench):
    bench.repository.write({"index.html": "x"})
    task = asyncio.create_task(bench.build(bench.release(build_cmd="touch begun; sleep 600")))
    await wait_until_async((bench.paths.build_tree(SERVICE, 1) / "begun").exists)
    stays = [an_old(bench.paths.cache / "npm"), an_old(bench.paths.toolchains / "node-20.1.0")]
    gone = an_old(bench.paths.cache / "git" / UNUSED)
    async with tidying(bench):
        await wait_until_async(lambda: not gone.exists())
    assert all(place.is_dir() for place in stays)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_toolchain_that_was_asked_for_since_it_was_measured_stays(bench):
    place = an_old(bench.paths.toolchains / "node-20.1.0")
    assert room._unused_since(place, 1.0)
    os.utime(place)
    assert not room._unused_since(place, 1.0)
    assert not room._unused_since(place / "gone", 1.0)


class Full(Room):
    """On a disk of which a test says what is free."""

    free = Use()

    def space(self):
        return room.Space(1000, self.free.bytes, 1000, self.free.entries)


@pytest.fixture
def supervisor():
    return FakeSupervisor()


@pytest.fixture
def full(tmp_path, supervisor):
    paths = Paths(tmp_path)
    budgets = Budgets(reserve_bytes=100, build=Use(500, 50), least=Use(10, 10))
    return Full(paths, supervisor, SystemClock(), Trash(paths), budgets)


async def test_work_goes_on_while_the_supervisor_is_away_and_ends_when_it_tells_of_too_much(full, supervisor):
    """The disk shrinks by more than the quota, so that the build is measured."""
    full.free = Use(1000, 1000)
    begun = asyncio.Event()

    async def work():
        begun.set()
        full.free = Use(200, 1000)
        await asyncio.Event().wait()

    supervisor.refuse("measure", "I am not there")
    supervisor.measured = {f"services/{SERVICE}/builds": Use(501, 1)}
    with pytest.raises(ReleaseFailedError) as caught:
        await full.guarded(SERVICE, Use(500, 50), work())
    assert caught.value.code == "build_too_large" and begun.is_set()


async def test_work_that_ends_well_is_answered_and_its_own_failure_is_its_own(full):
    full.free = Use(1000, 1000)
    assert await full.guarded(SERVICE, Use(500, 50), asyncio.sleep(0, "done")) == "done"

    async def fails():
        raise ReleaseFailedError("build_failed", "as it is")

    with pytest.raises(ReleaseFailedError, match="as it is"):
        await full.guarded(SERVICE, Use(500, 50), fails())


async def test_who_is_cancelled_ends_the_work_before(full):
    full.free = Use(1000, 1000)
    ended = []

    async def work():
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(True)

    task = asyncio.create_task(full.guarded(SERVICE, Use(500, 50), work()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [True]


async def test_a_build_without_room_is_refused_also_when_nothing_can_be_measured(full, supervisor):
    full.free = Use(105, 1000)
    supervisor.refuse("measure", "I am not there")
    with pytest.raises(ReleaseFailedError, match="cannot build: it needs about") as caught:
        async with full.entered(SERVICE, 1):
            pass
    assert caught.value.code == "disk_full" and full.building(SERVICE) == frozenset()
    full.free = Use(200, 1000)
    async with full.entered(SERVICE, 1):
        assert full.building(SERVICE) == {1}
    assert full.building(SERVICE) == frozenset()
