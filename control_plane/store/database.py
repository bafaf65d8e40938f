"""The database: one writer that takes its lock at once, and a few readers beside it.

A deferred transaction that reads first and writes later fails when another one wrote between the two, so the writer
begins IMMEDIATE; its pool of one makes a fair queue of those who wait.
"""

import asyncio
import contextlib
import pathlib
import sqlite3
from collections.abc import AsyncIterator

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from control_plane import errors
from control_plane.clock import Clock
from control_plane.store import migrate, sqlite
from control_plane.store.accounts import AccountQueries
from control_plane.store.deployments import DeploymentQueries
from control_plane.store.instances import InstanceQueries
from control_plane.store.projects import ProjectQueries
from control_plane.store.releases import ReleaseQueries
from control_plane.store.routes import RouteQueries
from control_plane.store.services import ServiceQueries

READERS = 4
QUEUE_S = 10.0
PRIMARY_CODE = 0xFF  # SQLite's extended codes keep the primary one in the low byte
RETRYABLE = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL})


class SqlTransaction(
    AccountQueries,
    ProjectQueries,
    DeploymentQueries,
    ReleaseQueries,
    ServiceQueries,
    RouteQueries,
    InstanceQueries,
):
    """See ports.Transaction."""


class SqlStore:
    """See ports.Store."""

    def __init__(self, writer: AsyncEngine, readers: AsyncEngine) -> None:
        self._writer = writer
        self._readers = readers

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[SqlTransaction]:
        async with _explained(), self._readers.connect() as connection:
            yield SqlTransaction(connection)

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[SqlTransaction]:
        async with _explained(), self._writer.begin() as connection:
            yield SqlTransaction(connection)

    async def close(self) -> None:
        await self._readers.dispose()
        await self._writer.dispose()


async def open_store(path: pathlib.Path, clock: Clock, busy_ms: int = 5000) -> SqlStore:
    """The store in the file `path`, made or migrated first. Raises what migrate.upgrade raises.

    Another process that holds the database for longer than `busy_ms` makes calls unavailable.
    """
    await asyncio.to_thread(migrate.upgrade, path, clock.now())
    return SqlStore(_engine(path, "BEGIN IMMEDIATE", 1, busy_ms), _engine(path, "BEGIN", READERS, busy_ms))


@contextlib.asynccontextmanager
async def _explained() -> AsyncIterator[None]:
    try:
        yield
    except exc.OperationalError as error:
        code = getattr(error.orig, "sqlite_errorcode", 0) & PRIMARY_CODE
        if code not in RETRYABLE:
            raise
        word = "the disk is full" if code == sqlite3.SQLITE_FULL else "the database is busy"
        raise errors.UnavailableError(f"cannot store anything now: {word}; try again") from error
    except exc.TimeoutError as error:
        raise errors.UnavailableError("cannot reach the database: too many are waiting; try again") from error


def _engine(path: pathlib.Path, begin: str, size: int, busy_ms: int) -> AsyncEngine:
    engine = create_async_engine(
        sa.URL.create("sqlite+aiosqlite", database=str(path)),
        pool_size=size,
        max_overflow=0,
        pool_timeout=QUEUE_S,
        connect_args=sqlite.CONNECT_ARGS,
    )
    sqlite.set_up(engine.sync_engine, begin, busy_ms)
    return engine
