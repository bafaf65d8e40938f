"""The database: one writer that takes its lock at once, and a few readers beside it.

A deferred transaction that reads first and writes later fails when another one wrote between the two, so the writer
takes its lock first. How those who wait for it share it stands in connections.py.
"""

import asyncio
import contextlib
import pathlib
import sqlite3
from collections.abc import AsyncIterator, Iterator

import sqlalchemy as sa
from sqlalchemy import exc

from control_plane import errors
from control_plane.clock import Clock
from control_plane.store import connections, migrate, near, reseal
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
ALL_SEALED = 1  # as SQLite's user_version: everything is sealed, and nothing open is left in free pages
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

    def __init__(self, opened: connections.Connections, keys: Keyring) -> None:
        self._connections = opened
        self._keys = keys

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[SqlTransaction]:
        with _explained():
            async with self._connections.readers.lent() as connection:
                connection.begin()
                yield SqlTransaction(connection, self._keys)

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[SqlTransaction]:
        async with _writing(self._connections) as connection:
            yield SqlTransaction(connection, self._keys)

    async def rotate_sealing(self) -> tuple[str, int]:
        """Seal with a new key, bring everything under it, forget the older ones: its name, and how much was changed.

        Safe beside another process: whatever it seals from now on, in a transaction after ours, is under the new key.
        Raises SealError, with all keys still there, when something would be left behind.
        """
        name, changed = self._keys.rotate(), 0
        async with _writing(self._connections) as connection:
            changed = await reseal.rewrap_all(connection, self._keys)
        async with _writing(self._connections) as connection:
            left = await reseal.left_behind(connection, self._keys.older)
        if left:
            raise SealError(f"cannot forget the older keys: {', '.join(left)} are not under the new one; report this")
        self._keys.forget_older()
        return name, changed

    async def close(self) -> None:
        await self._connections.close()


async def open_store(path: pathlib.Path, clock: Clock, busy_ms: int = 5000) -> SqlStore:
    """The store in the file `path`, made or migrated first. Raises what migrate.upgrade raises, and SealError.

    The keys of what is sealed stand in `<path>.keys`, which is made with it. Another process that holds the database for
    longer than `busy_ms` makes calls unavailable.
    """
    await asyncio.to_thread(migrate.upgrade, path, clock.now())
    opened = await asyncio.to_thread(connections.connect, path, READERS, busy_ms)
    try:
        keys = await _keys_of(path, opened)
    except BaseException:
        await opened.close()
        raise
    return SqlStore(opened, keys)


async def _keys_of(path: pathlib.Path, opened: connections.Connections) -> Keyring:
    """The keys of what is sealed in the database, and nothing in it that is open. Raises SealError."""
    file = path.with_name(f"{path.name}.keys")
    async with _writing(opened) as connection:
        if not file.exists() and await reseal.is_anything_sealed(connection):
            raise SealError(f"cannot open {path}: its keys are gone; restore {file} from a backup")
        keys = Keyring.load_or_create(file)
        version = (await connection.execute(sa.text("PRAGMA user_version"))).scalar_one()
        if version >= ALL_SEALED:
            await reseal.check(connection, keys)
            return keys
        await reseal.seal_what_is_open(connection, keys)
    await asyncio.to_thread(migrate.forget_former_content, path, ALL_SEALED)
    return keys


@contextlib.asynccontextmanager
async def _writing(opened: connections.Connections) -> AsyncIterator[near.Connection]:
    """The writer's connection; committed behind the block, and undone when the block raises."""
    with _explained():
        async with opened.writer.unit() as connection:
            yield connection


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (exc.OperationalError, sqlite3.OperationalError) as error:
        code = getattr(getattr(error, "orig", error), "sqlite_errorcode", 0) & near.PRIMARY_CODE
        if code not in RETRYABLE:
            raise
        if code == sqlite3.SQLITE_FULL:
            raise errors.InsufficientStorageError(
                "cannot store anything now: the disk is full; free some room"
            ) from error
        raise errors.UnavailableError("cannot store anything now: the database is busy; try again") from error
