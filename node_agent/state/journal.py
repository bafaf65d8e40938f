"""The journal: newest wishes, what is live, releases, ports, and the reports that wait for an acknowledgement.

Raw aiosqlite, WAL, synchronous=FULL, file 0600: what returns is durable. One connection, so that writers queue. The
newest generation of a service never goes down. Reports are coalesced: the newest of each service waits.
"""

import asyncio
import contextlib
import dataclasses
import functools
import os
import pathlib
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import aiosqlite

import failpoints
from node_agent import errors, ports
from node_agent.model import cron, spec, status
from node_agent.model.actions import Target
from node_agent.state import codec, schema

PUT_RELEASE = (
    "UPDATE releases SET state = ?, reason = ?, message = ?, changed_at = ?,"
    " commit_id = CASE WHEN ? = '' THEN commit_id ELSE ? END WHERE service_id = ? AND number = ?"
)
REST_S = 60.0  # a freed port is not given to another process for this long


Given = ParamSpec("Given")
Result = TypeVar("Result")


def _whole(
    method: Callable[Concatenate["Journal", Given], Coroutine[Any, Any, Result]],
) -> Callable[Concatenate["Journal", Given], Coroutine[Any, Any, Result]]:
    """The transaction goes on to its end when its caller is cancelled: half of one would block all that follow."""

    @functools.wraps(method)
    async def run(self: "Journal", *given: Given.args, **named: Given.kwargs) -> Result:
        task = asyncio.ensure_future(method(self, *given, **named))
        self.writes.add(task)
        task.add_done_callback(self.writes.discard)
        return await asyncio.shield(task)

    return cast("Callable[Concatenate[Journal, Given], Coroutine[Any, Any, Result]]", run)


class Journal:
    """Open with `Journal.open`; every method is one transaction, done or not begun also when its caller is cancelled."""

    def __init__(self, database: aiosqlite.Connection) -> None:
        self._database = database
        self._lock = asyncio.Lock()
        self._spooled = asyncio.Condition()
        self.writes: set[asyncio.Future[Any]] = set()

    @classmethod
    async def open(cls, path: pathlib.Path) -> "Journal":
        """Open or create; upgrades an older schema. Raises JournalTooNewError when a newer program wrote it."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        database = await aiosqlite.connect(path, isolation_level=None)
        try:
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000"):
                await database.execute(f"PRAGMA {pragma}")
            await _upgrade(database, path)
        except BaseException:
            await database.close()
            raise
        return cls(database)

    async def close(self) -> None:
        """Let begun transactions end, then close."""
        while self.writes:
            await asyncio.wait(tuple(self.writes))
        await self._database.close()

    @contextlib.asynccontextmanager
    async def _transaction(self) -> AsyncIterator[aiosqlite.Connection]:
        async with self._lock:
            await self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                await self._database.execute("ROLLBACK")
                raise
            await self._database.execute("COMMIT")

    @_whole
    async def _rows(self, sql: str, *values: Any) -> Iterable[Any]:
        async with self._lock:
            return await self._database.execute_fetchall(sql, values)

    # wishes

    @_whole
    async def put_wish(self, wanted: spec.ServiceSpec) -> int:
        """Keep `wanted` when it is newer than what is held; the newest generation that is held then."""
        async with self._transaction() as tx:
            await tx.execute(
                "INSERT INTO wishes (service_id, generation, spec) VALUES (?, ?, ?) ON CONFLICT (service_id) DO UPDATE"
                " SET generation = excluded.generation, spec = excluded.spec WHERE excluded.generation > generation",
                (wanted.service_id, wanted.generation, codec.dump(wanted)),
            )
            if wanted.release is not None:
                await tx.execute(
                    "INSERT OR IGNORE INTO releases VALUES (?, ?, ?, 'pending', '', '', ?, 0, 0)",
                    (wanted.service_id, wanted.release.number, codec.dump(wanted.release), wanted.release.commit),
                )
            held = await tx.execute_fetchall("SELECT generation FROM wishes WHERE service_id = ?", (wanted.service_id,))
            return int(next(iter(held))[0])

    async def wishes(self) -> tuple[tuple[spec.ServiceSpec, bool], ...]:
        """Every newest wish, and whether its tombstone was carried out."""
        rows = await self._rows("SELECT spec, forgotten FROM wishes")
        return tuple((codec.load_service(text), bool(forgotten)) for text, forgotten in rows)

    async def wish(self, service_id: str) -> tuple[spec.ServiceSpec, bool] | None:
        rows = await self._rows("SELECT spec, forgotten FROM wishes WHERE service_id = ?", service_id)
        return next(((codec.load_service(text), bool(forgotten)) for text, forgotten in rows), None)

    async def generations(self) -> dict[str, int]:
        return dict(await self._rows("SELECT service_id, generation FROM wishes"))

    @_whole
    @failpoints.around("service.forgotten")
    async def forget(self, service_id: str, farewell: status.ServiceReport) -> None:
        """Drop all of a removed service but its tombstone, which refuses late wishes and holds no variable any more.

        With the report that says so: nobody looks at a forgotten service again, so nobody else could spool it.
        """
        async with self._transaction() as tx:
            for (text,) in await tx.execute_fetchall("SELECT spec FROM wishes WHERE service_id = ?", (service_id,)):
                bare = dataclasses.replace(codec.load_service(text), release=None, routes=())
                await tx.execute("UPDATE wishes SET spec = ? WHERE service_id = ?", (codec.dump(bare), service_id))
            for table in ("live", "releases", "failures", "sites", "cron_runs"):
                await tx.execute(f"DELETE FROM {table} WHERE service_id = ?", (service_id,))  # noqa: S608 - constants
            await tx.execute("UPDATE wishes SET forgotten = 1 WHERE service_id = ?", (service_id,))
            await _spool(tx, farewell)
        async with self._spooled:
            self._spooled.notify_all()

    # releases and what is live

    async def releases(self, service_id: str) -> tuple[tuple[spec.ReleaseSpec, status.ReleaseReport], ...]:
        """Newest first; the specification carries the commit that was resolved."""
        rows = await self._rows(
            "SELECT spec, number, state, reason, message, commit_id, changed_at FROM releases"
            " WHERE service_id = ? ORDER BY number DESC",
            service_id,
        )
        return tuple(
            (
                codec.load_release(text),
                status.ReleaseReport(number, status.ReleaseState(state), reason, message, commit, at),
            )
            for text, number, state, reason, message, commit, at in rows
        )

    @_whole
    @failpoints.around("release.note")
    async def put_release(self, service_id: str, report: status.ReleaseReport) -> None:
        """Record a step of a release that the journal knows; an empty commit leaves the recorded one."""
        async with self._transaction() as tx:
            await tx.execute(PUT_RELEASE, _release_row(service_id, report))

    @_whole
    @failpoints.around("build.count")
    async def count_attempt(self, service_id: str, release: int) -> int:
        """Attempts at building the release, this one included."""
        async with self._transaction() as tx:
            rows = await tx.execute_fetchall(
                "UPDATE releases SET attempts = attempts + 1 WHERE service_id = ? AND number = ? RETURNING attempts",
                (service_id, release),
            )
            return int(next(iter(rows))[0])

    @_whole
    async def reset_attempts(self, service_id: str, release: int) -> None:
        async with self._transaction() as tx:
            await tx.execute(
                "UPDATE releases SET attempts = 0 WHERE service_id = ? AND number = ?", (service_id, release)
            )

    async def live(self, service_id: str) -> Target | None:
        rows = await self._rows("SELECT release, restart FROM live WHERE service_id = ?", service_id)
        return next((Target(release, restart) for release, restart in rows), None)

    @_whole
    @failpoints.around("live.put")
    async def put_live(self, service_id: str, target: Target, reports: Collection[status.ReleaseReport] = ()) -> None:
        """What serves now, and how its release and the former one are from here on, in the same transaction."""
        async with self._transaction() as tx:
            for report in reports:
                await tx.execute(PUT_RELEASE, _release_row(service_id, report))
            await tx.execute("INSERT OR REPLACE INTO live VALUES (?, ?, ?)", (service_id, *_pair(target)))

    async def failures(self, service_id: str) -> dict[Target, str]:
        rows = await self._rows("SELECT release, restart, message FROM failures WHERE service_id = ?", service_id)
        return {Target(release, restart): message for release, restart, message in rows}

    @_whole
    @failpoints.around("failure.put")
    async def put_failure(self, service_id: str, target: Target, report: status.ReleaseReport | None, why: str) -> None:
        """The target can never go live; its release's end in the same transaction when there is one."""
        async with self._transaction() as tx:
            if report is not None:
                await tx.execute(PUT_RELEASE, _release_row(service_id, report))
            await tx.execute("INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?)", (service_id, *_pair(target), why))

    @_whole
    @failpoints.around("service.settled")
    async def settle(self, service_id: str) -> None:
        """Nothing of the service runs: neither live nor failed."""
        async with self._transaction() as tx:
            await tx.execute("DELETE FROM live WHERE service_id = ?", (service_id,))
            await tx.execute("DELETE FROM failures WHERE service_id = ?", (service_id,))

    # what the proxy answers with

    async def sites(self) -> tuple[ports.Site, ...]:
        return tuple(codec.load_site(text) for (text,) in await self._rows("SELECT site FROM sites"))

    @_whole
    @failpoints.around("site.put")
    async def put_site(self, site: ports.Site) -> None:
        async with self._transaction() as tx:
            await tx.execute("INSERT OR REPLACE INTO sites VALUES (?, ?)", (site.service_id, codec.dump(site)))

    @_whole
    @failpoints.around("site.drop")
    async def drop_site(self, service_id: str) -> None:
        async with self._transaction() as tx:
            await tx.execute("DELETE FROM sites WHERE service_id = ?", (service_id,))

    # ports

    async def port_of(self, process_id: str) -> int | None:
        rows = await self._rows("SELECT port FROM ports WHERE process_id = ?", process_id)
        return next((int(port) for (port,) in rows), None)

    async def ports_of(self, service_id: str) -> tuple[str, ...]:
        """The processes of a service that have a port."""
        rows = await self._rows("SELECT process_id FROM ports WHERE process_id GLOB ? || '.*'", service_id)
        return tuple(name for (name,) in rows)

    async def taken_ports(self, now: float) -> frozenset[int]:
        """Ports in use, and those freed less than a minute before `now`."""
        rows = await self._rows("SELECT port FROM ports WHERE process_id IS NOT NULL OR freed_at > ?", now - REST_S)
        return frozenset(int(port) for (port,) in rows)

    @_whole
    @failpoints.around("port.take")
    async def take_port(self, process_id: str, port: int) -> None:
        async with self._transaction() as tx:
            await tx.execute("INSERT OR REPLACE INTO ports VALUES (?, ?, NULL)", (port, process_id))

    @_whole
    @failpoints.around("port.free")
    async def free_port(self, process_id: str, now: float) -> None:
        async with self._transaction() as tx:
            await tx.execute("UPDATE ports SET process_id = NULL, freed_at = ? WHERE process_id = ?", (now, process_id))
            await tx.execute("DELETE FROM ports WHERE process_id IS NULL AND freed_at <= ?", (now - REST_S,))

    # runs of cron entries

    async def cron_runs(self) -> tuple[cron.Run, ...]:
        return tuple(
            cron.Run(*row)
            for row in await self._rows(
                "SELECT service_id, entry, release, minute, started_at, outcome FROM cron_runs ORDER BY rowid"
            )
        )

    @_whole
    async def put_cron_run(self, run: cron.Run) -> None:
        async with self._transaction() as tx:
            await tx.execute(
                "INSERT OR REPLACE INTO cron_runs SELECT ?, ?, ?, ?, ?, ? FROM wishes WHERE service_id = ? AND forgotten = 0",
                (run.service_id, run.entry, run.release, run.minute, run.started_at, run.outcome, run.service_id),
            )

    @_whole
    async def end_cron_run(self, run: cron.Run) -> None:
        """The outcome, in the place of those before."""
        async with self._transaction() as tx:
            entry = (run.service_id, run.entry)
            await tx.execute(
                "UPDATE cron_runs SET outcome = ? WHERE service_id = ? AND entry = ? AND minute = ?",
                (run.outcome, *entry, run.minute),
            )
            await tx.execute(
                "DELETE FROM cron_runs WHERE service_id = ? AND entry = ? AND outcome != ''"
                " AND rowid < (SELECT max(rowid) FROM cron_runs WHERE service_id = ? AND entry = ?)",
                (*entry, *entry),
            )

    # the spool

    @_whole
    @failpoints.around("report.spool")
    async def spool(self, report: status.ServiceReport) -> None:
        async with self._transaction() as tx:
            await _spool(tx, report)
        async with self._spooled:
            self._spooled.notify_all()

    async def pending(self) -> tuple[tuple[int, status.ServiceReport], ...]:
        rows = await self._rows("SELECT sequence, report FROM spool ORDER BY sequence")
        return tuple((sequence, codec.load_report(text)) for sequence, text in rows)

    @_whole
    @failpoints.around("report.acknowledge")
    async def acknowledge(self, sequence: int) -> None:
        async with self._transaction() as tx:
            await tx.execute("DELETE FROM spool WHERE sequence = ?", (sequence,))

    async def wait(self, after: int) -> None:
        async with self._spooled:
            while not await self._spooled_after(after):
                await self._spooled.wait()

    async def _spooled_after(self, sequence: int) -> bool:
        return bool(tuple(await self._rows("SELECT 1 FROM spool WHERE sequence > ? LIMIT 1", sequence)))


async def _spool(tx: aiosqlite.Connection, report: status.ServiceReport) -> None:
    await tx.execute("DELETE FROM spool WHERE service_id = ?", (report.service_id,))
    await tx.execute("INSERT INTO spool (service_id, report) VALUES (?, ?)", (report.service_id, codec.dump(report)))


def _release_row(service_id: str, report: status.ReleaseReport) -> tuple[Any, ...]:
    step = (report.state.value, report.reason, report.message, report.changed_at)
    return (*step, report.commit, report.commit, service_id, report.number)


def _pair(target: Target) -> tuple[int, int]:
    return target.release, target.restart


async def _upgrade(database: aiosqlite.Connection, path: pathlib.Path) -> None:
    (version,) = next(iter(await database.execute_fetchall("PRAGMA user_version")))
    if version > len(schema.UPGRADES):
        raise errors.JournalTooNewError(
            f"cannot use the journal {path.name}: its schema is {version}, this program knows {len(schema.UPGRADES)};"
            " install the newer agent again"
        )
    for number, statements in enumerate(schema.UPGRADES[version:], start=version + 1):
        await database.execute("BEGIN IMMEDIATE")
        for statement in statements:
            await database.execute(statement)
        await database.execute(f"PRAGMA user_version = {number}")
        await database.execute("COMMIT")
