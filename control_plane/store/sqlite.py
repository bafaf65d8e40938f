"""How every connection to SQLite is set up, for serving and for migrating."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

CONNECT_ARGS = {"isolation_level": None}  # the driver begins nothing by itself: `set_up` does, also before DDL


def set_up(engine: sa.Engine, begin: str, busy_ms: int, *, foreign_keys: bool = True) -> None:
    """Make `engine` start its transactions with `begin`; a commit is on the disk when it returns.

    A transaction waits `busy_ms` for another process, then it fails as busy.
    """
    pragmas = (
        "journal_mode=WAL",
        "synchronous=FULL",
        f"busy_timeout={busy_ms}",
        f"foreign_keys={'ON' if foreign_keys else 'OFF'}",
    )

    def prepare(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
