"""The connections to the database. One writes: units one after the other, one commit for all that waited for each other.

A commit waits for the disk. Whoever comes meanwhile waits for the connection, and then need not wait for each other's
commits too: a unit that ends hands its open transaction to those that wait already, and one commit behind them makes all
durable. Each unit is a savepoint, so that one that fails undoes what is its own. Nobody goes on before the commit.
"""

import asyncio
import contextlib
import dataclasses
import pathlib
import sqlite3
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import sqlalchemy as sa

from control_plane.store import ending, lending, near, sqlite

Batch = asyncio.Future[None]  # done with the commit that these units share


class Writer:
    """Lends the connection to one unit at a time, in the order in which they ask. `patience_ms` is for other processes."""

    def __init__(self, connection: near.Connection, patience_ms: int) -> None:
        self._connection = connection
        self._patience_ms = patience_ms
        self._turns = lending.Turns(1)
        self._batch: Batch | None = None  # those that have ended and are not committed
        self._commits: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def unit(self) -> AsyncIterator[near.Connection]:
        """Committed when this returns, and undone when the block raises. UnavailableError when the queue is too long.

        Raises what the commit raises; then all units that share it are undone, and each of them raises it.
        """
        await self._turns.take()
        try:
            try:
                await self._begin()
                yield self._connection
                self._connection.keep_unit()
            except BaseException:
                self._undo()
                raise
            batch = self._join()
        finally:
            self._turns.give_back()
        await ending.to_its_end(batch)

    async def _begin(self) -> None:
        if self._batch is None:  # and when a transaction is left that could not be undone, this fails, and ends it
            await self._connection.lock(self._patience_ms)
        self._connection.begin_unit()

    def _undo(self) -> None:
        """The unit that is under way, alone if it can be: a full disk makes SQLite itself undo all that shared it."""
        if self._batch is not None and self._connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                self._connection.undo_unit()
                return
        batch, self._batch = self._batch, None
        if batch is not None:
            batch.set_exception(near.lost())
        self._connection.end()

    def _join(self) -> Batch:
        if self._batch is None:
            self._batch = asyncio.get_running_loop().create_future()
            task = asyncio.create_task(self._commit(self._batch), name="commit")
            self._commits.add(task)
            task.add_done_callback(self._commits.discard)
        return self._batch

    async def _commit(self, batch: Batch) -> None:
        """Its turn comes behind those who wait already: they belong to the batch."""
        await self._turns.wait()
        try:
            if self._batch is batch:  # else it is lost or settled, and others may have begun another one
                await self._settle(batch)
        finally:
            self._turns.give_back()

    async def _settle(self, batch: Batch) -> None:
        self._batch = None
        try:
            await self._connection.commit()
        except Exception as error:
            batch.set_exception(error)
        else:
            batch.set_result(None)
        finally:
            self._connection.end()

    async def close(self) -> None:
        """When all units have ended, and what they did is committed."""
        async with self._turns.end():
            if self._batch is not None:
                await self._settle(self._batch)
            await self._connection.close()
        await asyncio.gather(*self._commits)


@dataclasses.dataclass(frozen=True, slots=True)
class Connections:
    """All to one database."""

    writer: Writer
    readers: lending.Pool
    thread: ThreadPoolExecutor

    async def close(self) -> None:
        await self.readers.close()
        await self.writer.close()
        self.thread.shutdown()


def connect(path: pathlib.Path, readers: int, busy_ms: int) -> Connections:
    """To the database in `path`: one that writes, and `readers` beside it. Blocks."""
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        poolclass=sa.NullPool,
        connect_args={**sqlite.CONNECT_ARGS, "check_same_thread": False},  # one thread after the other
    )
    sqlite.set_up(engine, busy_ms)
    thread = ThreadPoolExecutor(1, thread_name_prefix="database")
    writer, *others = (near.Connection(engine.connect(), thread) for _ in range(1 + readers))
    writer.be_impatient()
    return Connections(Writer(writer, busy_ms), lending.Pool(others), thread)
