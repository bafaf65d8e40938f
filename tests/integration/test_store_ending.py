"""Who changes something and is cancelled meanwhile: what was committed is said, what was not is not there."""

import asyncio
import functools
import sqlite3
import threading

import pytest

from control_plane import clock, errors
from control_plane.domain import values
from control_plane.store import ending, near, open_store
from control_plane.web import core
from tests import api_fixtures


class Disk:
    """Commits stand still until it is told to go on."""

    def __init__(self):
        self.is_asked, self.goes_on = threading.Event(), threading.Event()

    def hold(self, monkeypatch):
        aside = near.Connection._aside

        async def held(connection, work):
            return await aside(connection, functools.partial(self._wait_for, work, connection._raw.commit))

        monkeypatch.setattr(near.Connection, "_aside", held)

    def _wait_for(self, work, commit):
        if work == commit:
            self.is_asked.set()
            assert self.goes_on.wait(20)
        return work()


@pytest.fixture
def disk():
    return Disk()


@pytest.fixture
async def store(tmp_path):
    made = await open_store(tmp_path / "store.db", clock.SystemClock())
    yield made
    await made.close()


async def write(store, name="made"):
    now = clock.SystemClock().now()
    async with store.write() as tx:
        await tx.insert_project(values.Project(f"prj_{name}", name, "", now, 1, now))
    return name


async def is_there(store, name="made"):
    async with store.read() as tx:
        return await tx.find_project(name) is not None


async def test_who_is_cancelled_while_its_change_commits_is_told_that_it_is_made(store, disk, monkeypatch):
    disk.hold(monkeypatch)
    writing = asyncio.create_task(write(store))
    assert await asyncio.to_thread(disk.is_asked.wait, 20)
    writing.cancel()
    disk.goes_on.set()
    assert await writing == "made"
    assert await is_there(store)
    assert await write(store, "next") == "next"  # the writer is free


async def test_who_goes_on_behind_its_commit_is_cancelled_when_it_waits_next(store, disk, monkeypatch):
    async def write_and_wait():
        await write(store)
        await asyncio.Event().wait()

    disk.hold(monkeypatch)
    writing = asyncio.create_task(write_and_wait())
    assert await asyncio.to_thread(disk.is_asked.wait, 20)
    writing.cancel()
    disk.goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await is_there(store)


async def test_a_timeout_that_is_over_cancels_nothing_behind_it():
    went_on = asyncio.Event()

    async def work():
        await went_on.wait()

    async with asyncio.timeout(0):
        asyncio.get_running_loop().call_later(0.01, went_on.set)
        await ending.to_its_end(work())
    await asyncio.sleep(0.01)  # raises when a cancellation was left behind


async def test_a_change_that_fails_leaves_nothing_and_the_writer_free(store):
    async def fail():
        async with store.write() as tx:
            now = clock.SystemClock().now()
            await tx.insert_project(values.Project("prj_made", "made", "", now, 1, now))
            raise errors.ConflictError("no")

    with pytest.raises(errors.ConflictError):
        await fail()
    assert not await is_there(store)
    assert await write(store, "next") == "next"


def test_a_call_that_is_late_and_done_all_the_same_is_answered_with_what_it_did(tmp_path, disk, monkeypatch):
    loop = api_fixtures.Loop()
    try:
        store = loop.run(open_store(tmp_path / "store.db", clock.SystemClock()))
        disk.hold(monkeypatch)

        async def late():
            asyncio.get_running_loop().call_later(0.2, disk.goes_on.set)  # behind the timeout of the call
            return await write(store)

        assert loop.core.call(late(), 0.05) == "made"
        assert loop.run(is_there(store))
        loop.run(store.close())
    finally:
        loop.close()


def test_a_call_that_the_loop_never_came_to_is_never_made(monkeypatch):
    monkeypatch.setattr(core, "ENDING_S", 0.0)
    monkeypatch.setattr(core, "SLACK_S", 0.0)
    loop, begun, goes_on = api_fixtures.Loop(), threading.Event(), threading.Event()
    made = []

    async def change():
        made.append("change")

    try:
        loop.loop.call_soon_threadsafe(lambda: (begun.set(), goes_on.wait(20)))
        assert begun.wait(20)
        with pytest.raises(errors.UnavailableError, match="try again"):
            loop.core.call(change(), 0.05)
        goes_on.set()
        loop.run(asyncio.sleep(0))
        assert made == []
    finally:
        goes_on.set()
        loop.close()


async def test_who_is_cancelled_while_another_process_writes_changes_nothing(store, tmp_path):
    other = sqlite3.connect(tmp_path / "store.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    writing = asyncio.create_task(write(store))
    await asyncio.sleep(0)  # the lock is asked for, in the thread
    writing.cancel()
    other.execute("ROLLBACK")
    other.close()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert not await is_there(store)
    assert await write(store, "next") == "next"  # the writer is free
