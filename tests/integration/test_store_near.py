"""SQLite without a change of threads: which calls run where they are awaited, and which must not."""

import asyncio
import sqlite3
import threading

import pytest

from control_plane import clock
from control_plane.domain import values
from control_plane.store import near, open_store


@pytest.fixture
async def connection(tmp_path):
    made = await near.connect(str(tmp_path / "near.db"), isolation_level=None)
    yield made
    await made.close()


def thread(*_):
    return threading.get_ident()


async def test_a_statement_runs_where_it_is_awaited(connection):
    assert await connection._execute(thread, "SELECT 1") == threading.get_ident()
    assert await connection._execute(thread) == threading.get_ident()


async def test_what_may_wait_for_another_process_runs_in_the_thread(connection):
    assert await connection._execute(thread, "PRAGMA journal_mode=WAL") != threading.get_ident()


async def test_a_free_lock_is_taken_where_it_is_awaited(connection):
    assert await connection._execute(thread, near.LOCK) == threading.get_ident()


async def test_a_lock_that_another_holds_is_waited_for_in_the_thread(connection):
    tried = []

    def busy_here(_statement):
        tried.append(threading.get_ident())
        if tried == [threading.get_ident()]:
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise error

    await connection._execute(busy_here, near.LOCK)
    assert tried[0] == threading.get_ident() != tried[1]


async def test_taking_the_lock_leaves_the_patience_of_the_connection_as_it_was(connection):
    await connection.execute("PRAGMA busy_timeout=1234")
    await connection._execute(thread, near.LOCK)
    assert await (await connection.execute("PRAGMA busy_timeout")).fetchone() == (1234,)


async def test_who_runs_many_statements_lets_others_have_their_turn(connection, monkeypatch):
    monkeypatch.setattr(near, "TURN_S", 0.0)
    turns = []

    async def other():
        while True:
            turns.append(1)
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    for _ in range(100):
        await connection._execute(lambda _: None, "SELECT 1")
    beside.cancel()
    assert len(turns) > 50


async def test_nothing_waits_behind_a_rollback(connection, monkeypatch):
    monkeypatch.setattr(near, "TURN_S", 0.0)
    with pytest.raises(StopIteration):
        connection._execute(connection._connection.rollback).send(None)


async def test_a_commit_which_waits_for_the_disk_runs_in_the_thread(connection):
    assert connection._may_wait(connection._connection.commit, ())
    assert connection._may_wait(connection._connection.close, ())
    assert not connection._may_wait(connection._connection.rollback, ())
    assert not connection._may_wait(connection._connection.cursor, ())


async def test_rows_and_errors_are_those_of_the_driver(connection):
    await connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY) STRICT")
    await connection.execute("INSERT INTO t VALUES (?)", (7,))
    cursor = await connection.execute("SELECT id FROM t")
    assert await cursor.fetchall() == [(7,)]
    with pytest.raises(sqlite3.IntegrityError):
        await connection.execute("INSERT INTO t VALUES (7)")
    await connection.close()
    with pytest.raises(ValueError, match="onnection"):
        await connection.execute("SELECT 1")


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
