"""SQLite on the loop: what runs where it is awaited, what must not, and who gets a connection when."""

import asyncio
import sqlite3
import threading

import pytest
import sqlalchemy as sa

from control_plane import clock, errors
from control_plane.domain import values
from control_plane.store import near, open_store

ONE = sa.text("SELECT 1")


@pytest.fixture
async def connections(tmp_path):
    made = near.connect(tmp_path / "near.db", 2, 50)
    yield made
    await made.close()


@pytest.fixture
def threads(connections, monkeypatch):
    """By the word that each statement or call begins with: the threads in which the writer's driver was asked to run it."""
    found = {}

    class Raw:
        def __init__(self, raw):
            self._raw = raw

        def _note(self, what):
            found.setdefault(what, []).append(threading.get_ident())

        def execute(self, statement):
            self._note(statement)
            return self._raw.execute(statement)

        def commit(self):
            self._note("COMMIT")
            self._raw.commit()

        def rollback(self):
            self._note("ROLLBACK")
            self._raw.rollback()

    (writer,) = connections.writer._all
    monkeypatch.setattr(writer, "_raw", Raw(writer._raw))
    return found


async def test_a_free_lock_is_taken_on_the_loop_and_a_commit_waits_for_the_disk_in_the_thread(connections, threads):
    here = threading.get_ident()
    async with connections.writer.lent() as connection:
        await connection.lock(50)
        await connection.execute(ONE)
        await connection.commit()
    assert threads["BEGIN IMMEDIATE"] == threads["ROLLBACK"] == [here]
    assert here not in threads["COMMIT"]


async def test_a_lock_that_another_process_holds_is_waited_for_in_the_thread(connections, threads, tmp_path):
    here = threading.get_ident()
    other = sqlite3.connect(tmp_path / "near.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        async with connections.writer.lent() as connection:
            await connection.lock(50)
    other.close()
    first, second = threads["BEGIN IMMEDIATE"]
    assert first == here != second
    assert threads["PRAGMA busy_timeout=50"] == threads["PRAGMA busy_timeout=0"] == [second]


async def test_what_a_block_did_not_commit_is_undone_and_the_next_one_begins_anew(connections):
    async with connections.writer.lent() as connection:
        await connection.lock(50)
        await connection.execute(sa.text("CREATE TABLE t (id INTEGER PRIMARY KEY) STRICT"))
        await connection.commit()
    with pytest.raises(RuntimeError):
        async with connections.writer.lent() as connection:
            await connection.lock(50)
            await connection.execute(sa.text("INSERT INTO t VALUES (7)"))
            raise RuntimeError
    async with connections.writer.lent() as connection:
        await connection.lock(50)
        assert (await connection.execute(sa.text("SELECT * FROM t"))).all() == []


async def test_a_reader_sees_one_state_until_its_block_ends(connections):
    async with connections.writer.lent() as writer, connections.readers.lent() as reader:
        reader.begin()
        seen = sa.text("SELECT count(*) FROM sqlite_master")
        assert (await reader.execute(seen)).scalar() == 0
        await writer.lock(50)
        await writer.execute(sa.text("CREATE TABLE t (id INTEGER PRIMARY KEY) STRICT"))
        await writer.commit()
        assert (await reader.execute(seen)).scalar() == 0
    async with connections.readers.lent() as reader:
        reader.begin()
        assert (await reader.execute(seen)).scalar() == 1


async def test_connections_are_lent_in_the_order_in_which_they_are_asked_for(connections):
    order = []

    async def use(number):
        async with connections.writer.lent():
            order.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(use(number) for number in range(20)))
    assert order == list(range(20))


async def test_who_waits_too_long_for_a_connection_is_told_so_and_takes_none(connections, monkeypatch):
    monkeypatch.setattr(near, "QUEUE_S", 0.0)
    async with connections.writer.lent():
        with pytest.raises(errors.UnavailableError, match="too many"):
            async with connections.writer.lent():
                pass
    async with connections.writer.lent() as connection:
        assert connection is not None


async def test_who_runs_many_statements_lets_others_have_their_turn(connections, monkeypatch):
    monkeypatch.setattr(near, "TURN_S", -1.0)
    turns = []

    async def other():
        while True:
            turns.append(1)
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    async with connections.readers.lent() as connection:
        for _ in range(100):
            await connection.execute(ONE)
    beside.cancel()
    assert len(turns) > 50


async def test_a_writer_who_waits_for_another_process_does_not_hold_the_loop(tmp_path):
    store = await open_store(tmp_path / "store.db", clock.SystemClock())
    other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        writing = asyncio.create_task(write(store))
        async with store.read() as tx:  # the loop goes on, and readers do not wait for a writer
            assert await tx.find_project("made") is None
        assert not writing.done()
        other.execute("ROLLBACK")
        await writing
        async with store.read() as tx:
            assert await tx.find_project("made") is not None
    finally:
        other.close()
        await store.close()


async def write(store):
    now = clock.SystemClock().now()
    async with store.write() as tx:
        await tx.insert_project(values.Project("prj_1", "made", "", now, 1, now))
