"""Units that share a commit, cancelled, failed and given up at random: what each was told is what is in the database."""

import asyncio
import random
import sqlite3

import pytest
import sqlalchemy as sa
from sqlalchemy import exc

from control_plane import errors
from control_plane.store import connections as opened

TABLE = sa.text("CREATE TABLE t (id INTEGER PRIMARY KEY, unit INTEGER, content BLOB) STRICT")
INSERT = sa.text("INSERT INTO t (unit, content) VALUES (:unit, zeroblob(:size))")
TWICE = sa.text("INSERT INTO t SELECT id, 0, NULL FROM t LIMIT 1")
GIVE_UP = sa.text("INSERT OR ROLLBACK INTO t SELECT id, 0, NULL FROM t LIMIT 1")
COUNTS = sa.text("SELECT unit, count(*) FROM t GROUP BY unit")
UNITS, ROWS = 30, 3


@pytest.fixture
async def connections(tmp_path):
    made = opened.connect(tmp_path / "units.db", 1, 2000)
    async with made.writer.unit() as connection:
        await connection.execute(TABLE)
        await connection.execute(INSERT, {"unit": -1, "size": 1})
    yield made
    await made.close()


async def counts(connections):
    async with connections.readers.lent() as reader:
        reader.begin()
        return {unit: count for unit, count in (await reader.execute(COUNTS)).all() if unit != -1}


class Life:
    """Everything that a unit may meet, by chance."""

    def __init__(self, connections, seed):
        self._writer = connections.writer
        self._chance = random.Random(seed)

    async def unit(self, number):
        await self._linger()
        async with self._writer.unit() as connection:
            for _ in range(ROWS):
                await connection.execute(INSERT, {"unit": number, "size": self._chance.choice([1, 1, 1, 20_000])})
                await self._linger()
                await self._happen(connection)

    async def _linger(self):
        for _ in range(self._chance.choice([0, 0, 1, 2, 5])):
            await asyncio.sleep(0)

    async def _happen(self, connection):
        what = self._chance.random()
        if what < 0.05:
            raise RuntimeError("the unit fails")
        if what < 0.15:
            with pytest.raises(exc.IntegrityError), connection.begin_nested():
                await connection.execute(INSERT, {"unit": 0, "size": 1})
                await connection.execute(TWICE)
        if 0.15 <= what < 0.16:  # what SQLite may do by itself when the disk is full; the unit goes on regardless
            with pytest.raises(exc.IntegrityError):
                await connection.execute(GIVE_UP)

    async def cancel_some(self, tasks):
        while pending := [task for task in tasks if not task.done()]:
            if self._chance.random() < 0.1:
                self._chance.choice(pending).cancel()
            await asyncio.sleep(0.0005 if self._chance.random() < 0.1 else 0)


@pytest.mark.parametrize("seed", range(30))
async def test_what_a_unit_was_told_is_what_is_in_the_database(connections, seed, tmp_path):
    life = Life(connections, seed)
    if seed % 3 == 1:
        connections.writer._connection._raw.execute("PRAGMA max_page_count=60")  # a full disk
    other = sqlite3.connect(tmp_path / "units.db", isolation_level=None)
    if seed % 3 == 2:  # another process has the lock for a moment
        other.execute("BEGIN IMMEDIATE")
        asyncio.get_running_loop().call_later(0.02, other.rollback)
    tasks = [asyncio.create_task(life.unit(number)) for number in range(1, UNITS)]
    await life.cancel_some(tasks)
    told = await asyncio.gather(*tasks, return_exceptions=True)
    other.close()
    assert await counts(connections) == {number: ROWS for number, one in enumerate(told, 1) if one is None}
    assert not connections.writer._connection.in_transaction


async def test_a_unit_that_goes_on_after_the_database_gave_it_up_changes_nothing(connections):
    async def go_on():
        async with connections.writer.unit() as connection:
            with pytest.raises(exc.IntegrityError):
                await connection.execute(GIVE_UP)
            await connection.execute(INSERT, {"unit": 1, "size": 1})

    with pytest.raises(errors.UnavailableError):
        await go_on()
    assert await counts(connections) == {}


async def test_a_unit_that_cannot_be_undone_alone_takes_those_with_it_that_share_its_commit(connections, monkeypatch):
    async def insert(number):
        async with connections.writer.unit() as connection:
            await connection.execute(INSERT, {"unit": number, "size": 1})

    async def fail():
        async with connections.writer.unit() as connection:
            await connection.execute(INSERT, {"unit": 2, "size": 1})
            raise RuntimeError

    def broken(_connection):
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(type(connections.writer._connection), "undo_unit", broken)
    told = await asyncio.gather(insert(1), fail(), insert(3), return_exceptions=True)
    assert [type(one) for one in told] == [errors.UnavailableError, RuntimeError, type(None)]
    assert await counts(connections) == {3: 1}


async def test_what_could_not_be_undone_is_not_kept_by_the_next_unit(connections, monkeypatch):
    async def insert(number):
        async with connections.writer.unit() as connection:
            await connection.execute(INSERT, {"unit": number, "size": 1})
            if number == 1:
                raise RuntimeError

    def broken(_connection):
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(type(connections.writer._connection), "end", broken)
        with pytest.raises(sqlite3.OperationalError, match="disk"):
            await insert(1)
    with pytest.raises(sqlite3.OperationalError):
        await insert(2)
    await insert(3)
    assert await counts(connections) == {3: 1}


async def shared(connections, goes_on):
    """One unit that has ended and one that is under way, behind which both are committed."""

    async def insert(number, until=None):
        async with connections.writer.unit() as connection:
            await connection.execute(INSERT, {"unit": number, "size": 1})
            if until is not None:
                await until.wait()

    tasks = [asyncio.create_task(insert(1)), asyncio.create_task(insert(2, goes_on))]
    for _ in range(10):
        await asyncio.sleep(0)
    assert not tasks[0].done()
    return tasks


async def test_when_everything_is_cancelled_at_the_end_of_the_process_each_unit_is_told_how_it_ended(connections):
    units = await shared(connections, asyncio.Event())
    everything = asyncio.all_tasks() - {asyncio.current_task()}
    for task in everything:
        task.cancel()
    _, hang = await asyncio.wait(everything, timeout=5)
    assert hang == set()
    assert [unit.cancelled() for unit in units] == [False, True]
    assert await counts(connections) == {1: 1}


async def test_closing_waits_for_the_units_that_are_under_way_and_refuses_others(tmp_path, connections):
    closing = opened.connect(tmp_path / "units.db", 1, 2000)
    goes_on = asyncio.Event()
    units = await shared(closing, goes_on)
    closed = asyncio.create_task(closing.close())
    for _ in range(10):
        await asyncio.sleep(0)
    goes_on.set()
    await asyncio.gather(*units)
    await closed
    assert await counts(connections) == {1: 1, 2: 1}
    with pytest.raises(errors.UnavailableError, match="closed"):
        async with closing.writer.unit():
            raise AssertionError
    with pytest.raises(errors.UnavailableError, match="closed"):
        async with closing.readers.lent():
            raise AssertionError
