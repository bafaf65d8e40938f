"""The schema of a database file, brought to this program's version before anybody reads it.

An existing file is copied first; a file of a newer program is refused. Runs in a thread, on a connection of its own with
foreign keys off: with them on, Alembic's copy-and-rename of a table would delete the rows that point to it.
"""

import contextlib
import datetime
import os
import pathlib
import sqlite3
from collections.abc import Iterator

import sqlalchemy as sa
from alembic import command, migration, script
from alembic.config import Config
from sqlalchemy import event

from control_plane import errors
from control_plane.store import sqlite

BUSY_MS = 5000
LOCATION = "control_plane.store:migrations"


class SchemaTooNewError(errors.DployrError):
    """The database was written by a newer program; nothing was touched."""


class OpenDirectoryError(errors.DployrError):
    """Others may look into the directory of the database. It is not changed: it may not be ours alone."""


class BrokenUpgradeError(errors.DployrError):
    """After the steps some rows would point to nothing; they were taken back."""


def upgrade(path: pathlib.Path, now: datetime.datetime) -> bool:
    """Make `path` (0600, in a directory that is 0700) or bring it up to date; whether there was anything to do.

    All steps are one transaction. Raises SchemaTooNewError, and BrokenUpgradeError when the result does not hold together.
    """
    existed = _prepare(path)
    with _connection(path) as connection:
        if not needs_upgrade(connection, path):
            return False
        if existed:
            back_up(path, path.with_name(f"{path.name}.{now:%Y%m%dT%H%M%S.%fZ}.backup"))
        command.upgrade(config(connection), "head")
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        if broken:
            raise BrokenUpgradeError(
                f"cannot upgrade {path}: {len(broken)} rows would point to nothing; nothing was changed, "
                "start the former program and report this"
            )
        connection.commit()
    return True


def config(connection: sa.Connection) -> Config:
    """What Alembic needs, without a file."""
    made = Config()
    made.set_main_option("script_location", LOCATION)
    made.attributes["connection"] = connection
    return made


def needs_upgrade(connection: sa.Connection, path: pathlib.Path) -> bool:
    """Is the schema older than this program? Raises SchemaTooNewError when it is one that we do not know."""
    scripts = script.ScriptDirectory.from_config(config(connection))
    present = migration.MigrationContext.configure(connection).get_current_revision()
    known = {one.revision for one in scripts.walk_revisions()}
    if present is not None and present not in known:
        raise SchemaTooNewError(
            f"cannot open {path}: its schema {present} is newer than this program; "
            "start the newer program, or restore the backup that it made"
        )
    return present != scripts.get_current_head()


def back_up(source: pathlib.Path, target: pathlib.Path) -> None:
    """A consistent copy, also while somebody reads."""
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with contextlib.closing(sqlite3.connect(source)) as old, contextlib.closing(sqlite3.connect(target)) as new:
        old.backup(new)


def forget_former_content(path: pathlib.Path, version: int) -> None:
    """Write the database anew, so that no page holds what rows were before, and note that by `version`.

    Interrupted at any place it is done again at the next start: the note comes last.
    """
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute(f"PRAGMA user_version={version:d}")


def _prepare(path: pathlib.Path) -> bool:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.parent.stat().st_mode & 0o077:
        raise OpenDirectoryError(
            f"cannot keep the database in {path.parent}: others can read it; use a directory of mode 0700"
        )
    existed = path.exists() and path.stat().st_size > 0
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    path.chmod(0o600)
    return existed


@contextlib.contextmanager
def _connection(path: pathlib.Path) -> Iterator[sa.Connection]:
    url = sa.URL.create("sqlite", database=str(path))
    engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args=sqlite.CONNECT_ARGS)
    sqlite.set_up(engine, BUSY_MS, foreign_keys=False)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()
