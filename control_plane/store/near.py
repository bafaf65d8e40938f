"""aiosqlite without a change of threads for what does not wait.

A statement on a page of rows takes tens of microseconds; handing it to aiosqlite's thread and back costs ten times that,
four times a statement. So statements run where they are awaited, and only what may wait for a disk or for another
process goes to the thread: taking the writer's lock, committing, pragmas, closing. Who runs many statements one after the
other lets others have their turn now and then. Nothing else differs.
"""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable
from typing import Any

import aiosqlite

LOCK = "BEGIN IMMEDIATE"
WAITS = (LOCK, "PRAGMA")
PRIMARY_CODE = 0xFF  # SQLite's extended codes keep the primary one in the low byte
TURN_S = 0.01  # of the loop, for the statements of one connection
WAITING_CALLS = frozenset({"commit", "close"})


class Connection(aiosqlite.Connection):
    """aiosqlite's, whose `_execute` is the one way to SQLite; tests/integration/test_store_near.py holds that."""

    _turn_began = 0.0

    async def _execute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        raw = self._connection
        if raw is not None and self._running and args[:1] == (LOCK,):
            with contextlib.suppress(_LockedError):
                return _at_once(raw, fn, args)
        if raw is None or not self._running or self._may_wait(fn, args):
            result = await super()._execute(fn, *args, **kwargs)  # type: ignore[no-untyped-call]
            self._turn_began = time.monotonic()
            return result
        result = fn(*args, **kwargs)
        if args and isinstance(
            args[0], str
        ):  # not a rollback: who is cancelled behind it leaves the connection unclean
            await self._give_way(args[0])
        return result

    async def _give_way(self, statement: str) -> None:
        if statement.startswith("BEGIN"):
            self._turn_began = time.monotonic()
        elif time.monotonic() - self._turn_began > TURN_S:
            await asyncio.sleep(0)
            self._turn_began = time.monotonic()

    def _may_wait(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> bool:
        if getattr(fn, "__self__", None) is self._connection:
            return fn.__name__ in WAITING_CALLS
        return bool(args) and isinstance(args[0], str) and args[0].startswith(WAITS)


class _LockedError(Exception):
    """Another process writes."""


def _at_once(raw: sqlite3.Connection, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Take the writer's lock, which is free nearly always; _LockedError instead of waiting for it."""
    (patience_ms,) = raw.execute("PRAGMA busy_timeout").fetchone()
    raw.execute("PRAGMA busy_timeout=0")
    try:
        return fn(*args)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & PRIMARY_CODE != sqlite3.SQLITE_BUSY:
            raise
        raise _LockedError from error
    finally:
        raw.execute(f"PRAGMA busy_timeout={int(patience_ms)}")


def connect(database: str, **options: Any) -> Connection:
    """What aiosqlite.connect gives, near. Only one of two threads uses the connection at a time: each call is awaited."""
    made = aiosqlite.connect(database, **{**options, "check_same_thread": False})
    connection = Connection(made._connector, made._iter_chunk_size)  # noqa: SLF001 - aiosqlite is pinned
    connection._thread.daemon = True  # noqa: SLF001 - as SQLAlchemy does with aiosqlite's own
    return connection
