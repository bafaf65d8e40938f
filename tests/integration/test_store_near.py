"""SQLite on the loop: what runs where it is awaited, what must not, who gets a connection when, and what commits together."""

import asyncio
import sqlite3
import threading

import pytest
import sqlalchemy as sa
from sqlalchemy import exc

from control_plane import clock, errors
from control_plane.domain import values
from control_plane.store import connections as opened
from control_plane.store import lending, near, open_store

ONE = sa.text("SELECT 1")
TABLE = sa.text("CREATE TABLE t (id INTEGER PRIMARY KEY) STRICT")
SEVEN, EIGHT = (sa.text(f"INSERT INTO t VALUES ({number})") for number in (7, 8))
ROWS = sa.text("SELECT id FROM t ORDER BY id")


@pytest.fixture
async def connections(tmp_path):
    made = opened.connect(tmp_path / "near.db", 2, 50)
    yield made
    await made.close()


@pytest.fixture
def threads(connections, monkeypatch):
    """By the word that each statement or call begins with: the threads in which the writer's driver was asked to run it."""
    found = {}

    class Raw:
        in_transaction = property(lambda self: self._raw.in_transaction)

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

    writer = connections.writer._connection
    monkeypatch.setattr(writer, "_raw", Raw(writer._raw))
    return found


async def rows(connections):
    async with connections.readers.lent() as reader:
        reader.begin()
        return list((await reader.execute(ROWS)).scalars())


async def test_a_free_lock_is_taken_on_the_loop_and_a_commit_waits_for_the_disk_in_the_thread(connections, threads):
    here = threading.get_ident()
    async with connections.writer.unit() as connection:
        await connection.execute(ONE)
    assert threads["BEGIN IMMEDIATE"] == threads["ROLLBACK"] == [here]
    assert here not in threads["COMMIT"]


async def test_a_lock_that_another_process_holds_is_waited_for_in_the_thread(connections, threads, tmp_path):
    here = threading.get_ident()
    other = sqlite3.connect(tmp_path / "near.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        async with connections.writer.unit():
            pass
    other.close()
    first, second = threads["BEGIN IMMEDIATE"]
    assert first == here != second
    assert threads["PRAGMA busy_timeout=50"] == threads["PRAGMA busy_timeout=0"] == [second]
    async with connections.writer.unit() as connection:
        await connection.execute(ONE)


async def test_what_a_unit_did_before_it_failed_is_undone_and_the_next_one_begins_anew(connections):
    async with connections.writer.unit() as connection:
        await connection.execute(TABLE)
    with pytest.raises(RuntimeError):
        async with connections.writer.unit() as connection:
            await connection.execute(SEVEN)
            raise RuntimeError
    async with connections.writer.unit() as connection:
        assert (await connection.execute(ROWS)).all() == []


async def test_units_that_waited_for_each_other_share_a_commit_and_each_undoes_only_its_own(connections, threads):
    async with connections.writer.unit() as connection:
        await connection.execute(TABLE)
    went_on = asyncio.Event()

    async def insert(number, *, fails=False):
        async with connections.writer.unit() as connection:
            await went_on.wait()
            await connection.execute(sa.text(f"INSERT INTO t VALUES ({number})"))
            if fails:
                raise RuntimeError

    async def cancelled():
        async with connections.writer.unit():
            raise AssertionError

    units = [asyncio.create_task(insert(number, fails=number in {2, 5})) for number in range(6)]
    waiting = asyncio.create_task(cancelled())
    await asyncio.sleep(0)
    waiting.cancel()
    went_on.set()
    ended = await asyncio.gather(*units, return_exceptions=True)
    assert [type(one) for one in ended] == [type(None), type(None), RuntimeError, type(None), type(None), RuntimeError]
    assert await rows(connections) == [0, 1, 3, 4]
    assert len(threads["COMMIT"]) == 2


async def test_nobody_goes_on_before_the_commit(connections, monkeypatch):
    async with connections.writer.unit() as connection:
        await connection.execute(TABLE)
    goes_on, commit = asyncio.Event(), connection.commit

    async def held():
        await goes_on.wait()
        await commit()

    monkeypatch.setattr(near.Connection, "commit", lambda _: held())

    async def insert(statement):
        async with connections.writer.unit() as connection:
            await connection.execute(statement)

    units = {asyncio.create_task(insert(statement)) for statement in (SEVEN, EIGHT)}
    done, _ = await asyncio.wait(units, timeout=0.05)
    assert done == set()
    assert await rows(connections) == []
    goes_on.set()
    await asyncio.gather(*units)
    assert await rows(connections) == [7, 8]


async def test_a_commit_that_fails_undoes_all_units_that_share_it_and_each_is_told(connections, monkeypatch):
    async with connections.writer.unit() as connection:
        await connection.execute(TABLE)

    async def full(_):
        raise sqlite3.OperationalError("database or disk is full")

    async def insert(statement):
        async with connections.writer.unit() as connection:
            await connection.execute(statement)

    with monkeypatch.context() as patch:
        patch.setattr(near.Connection, "commit", full)
        ended = await asyncio.gather(insert(SEVEN), insert(EIGHT), return_exceptions=True)
    assert [str(one) for one in ended] == ["database or disk is full"] * 2
    assert await rows(connections) == []
    await insert(SEVEN)
    assert await rows(connections) == [7]


@pytest.mark.parametrize("is_told", [True, False], ids=["and it is told", "and it goes on regardless"])
async def test_when_the_database_gives_up_a_transaction_nobody_who_shared_it_takes_it_for_made(connections, is_told):
    async with connections.writer.unit() as connection:
        await connection.execute(TABLE)

    async def insert(*statements):
        async with connections.writer.unit() as connection:
            for one in statements:
                await connection.execute(one)

    async def give_up():
        async with connections.writer.unit() as connection:
            with pytest.raises(exc.IntegrityError) as refused:  # what SQLite does by itself when the disk is full
                await connection.execute(sa.text("INSERT OR ROLLBACK INTO t VALUES (7)"))
            if is_told:
                raise refused.value

    ended = await asyncio.gather(insert(SEVEN), give_up(), insert(EIGHT), return_exceptions=True)
    assert isinstance(ended[0], errors.UnavailableError)
    assert isinstance(ended[1], exc.IntegrityError if is_told else errors.UnavailableError)
    assert ended[2] is None
    assert await rows(connections) == [8]


async def test_a_reader_sees_one_state_until_its_block_ends(connections):
    seen = sa.text("SELECT count(*) FROM sqlite_master")
    async with connections.readers.lent() as reader:
        reader.begin()
        assert (await reader.execute(seen)).scalar() == 0
        async with connections.writer.unit() as writer:
            await writer.execute(TABLE)
        assert (await reader.execute(seen)).scalar() == 0
    async with connections.readers.lent() as reader:
        reader.begin()
        assert (await reader.execute(seen)).scalar() == 1


async def test_units_run_in_the_order_in_which_they_are_asked_for(connections):
    order = []

    async def use(number):
        async with connections.writer.unit():
            order.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(use(number) for number in range(20)))
    assert order == list(range(20))


async def test_who_waits_too_long_for_a_connection_is_told_so_and_takes_none(connections, monkeypatch):
    monkeypatch.setattr(lending, "QUEUE_S", 0.0)
    async with connections.writer.unit():
        with pytest.raises(errors.UnavailableError, match="too many"):
            async with connections.writer.unit():
                pass
    async with connections.writer.unit() as connection:
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
        connection.begin()
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
