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
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from control_plane import errors
from control_plane.clock import Clock
from control_plane.store import ending, migrate, near, reseal, sqlite
from control_plane.store.accounts import AccountQueries
from control_plane.store.deployments import DeploymentQueries
from control_plane.store.history import HistoryQueries
from control_plane.store.instances import InstanceQueries
from control_plane.store.leases import LeaseQueries
from control_plane.store.projects import ProjectQueries
from control_plane.store.releases import ReleaseQueries
from control_plane.store.routes import RouteQueries
from control_plane.store.sealing import Keyring, SealError
from control_plane.store.services import ServiceQueries
from control_plane.store.webhooks import WebhookQueries

READERS = 4
QUEUE_S = 10.0
ALL_SEALED = 1  # as SQLite's user_version: everything is sealed, and nothing open is left in free pages
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
    HistoryQueries,
    WebhookQueries,
    LeaseQueries,
):
    """See ports.Transaction."""


class SqlStore:
    """See ports.Store."""

    def __init__(self, writer: AsyncEngine, readers: AsyncEngine, keys: Keyring) -> None:
        self._writer = writer
        self._readers = readers
        self._keys = keys

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[SqlTransaction]:
        async with _explained(), self._readers.connect() as connection:
            yield SqlTransaction(connection, self._keys)

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[SqlTransaction]:
        async with _explained(), contextlib.AsyncExitStack() as stack:
            connection = await stack.enter_async_context(self._writer.connect())
            await connection.begin()
            yield SqlTransaction(connection, self._keys)
            stack.pop_all()  # from here on it is closed behind its commit
            await ending.to_its_end(_commit(connection))

    async def rotate_sealing(self) -> tuple[str, int]:
        """Seal with a new key, bring everything under it, forget the older ones: its name, and how much was changed.

        Safe beside another process: whatever it seals from now on, in a transaction after ours, is under the new key.
        Raises SealError, with all keys still there, when something would be left behind.
        """
        name, changed = self._keys.rotate(), 0
        async with _explained():
            async with self._writer.begin() as connection:
                changed = await reseal.rewrap_all(connection, self._keys)
            async with self._writer.begin() as connection:
                left = await reseal.left_behind(connection, self._keys.older)
        if left:
            raise SealError(f"cannot forget the older keys: {', '.join(left)} are not under the new one; report this")
        self._keys.forget_older()
        return name, changed

    async def close(self) -> None:
        await self._readers.dispose()
        await self._writer.dispose()


async def open_store(path: pathlib.Path, clock: Clock, busy_ms: int = 5000) -> SqlStore:
    """The store in the file `path`, made or migrated first. Raises what migrate.upgrade raises, and SealError.

    The keys of what is sealed stand in `<path>.keys`, which is made with it. Another process that holds the database for
    longer than `busy_ms` makes calls unavailable.
    """
    await asyncio.to_thread(migrate.upgrade, path, clock.now())
    writer, readers = _engine(path, "BEGIN IMMEDIATE", 1, busy_ms), _engine(path, "BEGIN", READERS, busy_ms)
    try:
        keys = await _keys_of(path, writer)
    except BaseException:
        await writer.dispose()
        raise
    return SqlStore(writer, readers, keys)


async def _keys_of(path: pathlib.Path, writer: AsyncEngine) -> Keyring:
    """The keys of what is sealed in the database, and nothing in it that is open. Raises SealError."""
    file = path.with_name(f"{path.name}.keys")
    async with writer.begin() as connection:
        if not file.exists() and await reseal.is_anything_sealed(connection):
            raise SealError(f"cannot open {path}: its keys are gone; restore {file} from a backup")
        keys = Keyring.load_or_create(file)
        is_sealed = (await connection.exec_driver_sql("PRAGMA user_version")).scalar_one() >= ALL_SEALED
        if is_sealed:
            await reseal.check(connection, keys)
            return keys
        await reseal.seal_what_is_open(connection, keys)
    await asyncio.to_thread(migrate.forget_former_content, path, ALL_SEALED)
    return keys


async def _commit(connection: AsyncConnection) -> None:
    """Commit and give the connection back; one that cannot commit is rolled back by that."""
    try:
        await connection.commit()
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def _explained() -> AsyncIterator[None]:
    try:
        yield
    except exc.OperationalError as error:
        code = getattr(error.orig, "sqlite_errorcode", 0) & PRIMARY_CODE
        if code not in RETRYABLE:
            raise
        if code == sqlite3.SQLITE_FULL:
            raise errors.InsufficientStorageError(
                "cannot store anything now: the disk is full; free some room"
            ) from error
        raise errors.UnavailableError("cannot store anything now: the database is busy; try again") from error
    except exc.TimeoutError as error:
        raise errors.UnavailableError("cannot reach the database: too many are waiting; try again") from error


def _engine(path: pathlib.Path, begin: str, size: int, busy_ms: int) -> AsyncEngine:
    engine = create_async_engine(
        sa.URL.create("sqlite+aiosqlite", database=str(path)),
        pool_size=size,
        max_overflow=0,
        pool_timeout=QUEUE_S,
        connect_args={**sqlite.CONNECT_ARGS, "async_creator_fn": near.connect},
    )
    sqlite.set_up(engine.sync_engine, begin, busy_ms)
    return engine
