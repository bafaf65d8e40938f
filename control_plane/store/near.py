"""SQLite on the loop: a statement runs where it is awaited, and what may wait runs in a thread.

A statement on a page of rows takes tens of microseconds; handing it to a thread and back costs ten times that. So only
what may wait for a disk or for another process goes to the thread: the writer's lock when it is not free, a commit, and
closing. Who runs many statements one after the other lets others have their turn now and then.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import sqlalchemy as sa

from control_plane import errors
from control_plane.store import ending

T = TypeVar("T")
PRIMARY_CODE = 0xFF  # SQLite's extended codes keep the primary one in the low byte
TURN_S = 0.01  # of the loop, for the statements of one connection


class Connection:
    """SQLAlchemy's, lent to one transaction at a time. `thread` is for what may wait; the loop runs nothing here meanwhile."""

    def __init__(self, made: sa.Connection, thread: ThreadPoolExecutor) -> None:
        self._made = made
        self._raw: Any = made.connection.driver_connection
        self._thread = thread
        self._turn_began = 0.0

    @property
    def dialect(self) -> sa.Dialect:
        return self._made.dialect

    def begin_nested(self) -> sa.NestedTransaction:
        return self._made.begin_nested()

    async def execute(self, statement: sa.Executable, row: dict[str, Any] | None = None) -> sa.CursorResult[Any]:
        """UnavailableError when the database gave up the transaction: without it a statement would be kept at once."""
        self._be_in_transaction()
        result = self._made.execute(statement, row)
        if time.monotonic() - self._turn_began > TURN_S:
            await asyncio.sleep(0)
            self._turn_began = time.monotonic()
        return result

    def begin(self) -> None:
        self._raw.execute("BEGIN")
        self._turn_began = time.monotonic()

    async def lock(self, patience_ms: int) -> None:
        """Begin as the one writer. The lock is free nearly always, and taken at once then."""
        try:
            self._raw.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & PRIMARY_CODE != sqlite3.SQLITE_BUSY:
                raise
            await self._aside(lambda: self._wait_for_the_lock(patience_ms))
            await asyncio.sleep(0)  # who was cancelled meanwhile changes nothing
        self._turn_began = time.monotonic()

    def _wait_for_the_lock(self, patience_ms: int) -> None:
        self._raw.execute(f"PRAGMA busy_timeout={patience_ms:d}")
        try:
            self._raw.execute("BEGIN IMMEDIATE")
        finally:
            self.be_impatient()

    def be_impatient(self) -> None:
        """Fail at once as busy: what waits on the loop holds it."""
        self._raw.execute("PRAGMA busy_timeout=0")

    @property
    def in_transaction(self) -> bool:
        return bool(self._raw.in_transaction)

    def begin_unit(self) -> None:
        """From here on, until it is kept or undone: a part of the transaction that can be undone alone."""
        self._raw.execute("SAVEPOINT unit")
        self._turn_began = time.monotonic()

    def keep_unit(self) -> None:
        """UnavailableError when the database gave it up."""
        self._be_in_transaction()
        self._raw.execute("RELEASE unit")

    def undo_unit(self) -> None:
        self._raw.execute("ROLLBACK TO unit")
        self._raw.execute("RELEASE unit")

    def _be_in_transaction(self) -> None:
        if not self._raw.in_transaction:
            raise lost()

    async def commit(self) -> None:
        await self._aside(self._raw.commit)

    def end(self) -> None:
        """Undo what is not committed, and be ready for the next one."""
        try:
            self._made.rollback()
        finally:
            self._raw.rollback()

    async def close(self) -> None:
        await self._aside(self._made.close)

    async def _aside(self, work: Callable[[], T]) -> T:
        """In the thread and to its end: until then nobody else may have the connection."""
        return await ending.to_its_end(asyncio.get_running_loop().run_in_executor(self._thread, work))


def lost() -> errors.UnavailableError:
    return errors.UnavailableError(
        "cannot store anything now: the database gave up what was written together; try again"
    )
