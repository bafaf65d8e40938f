"""How every connection to SQLite is set up, for serving and for migrating."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

BUSY_MS = 5000
CONNECT_ARGS = {"isolation_level": None}  # the driver begins nothing by itself: `set_up` does, also before DDL


def set_up(engine: sa.Engine, begin: str, *, foreign_keys: bool = True) -> None:
    """Make `engine` start its transactions with `begin`; a commit is on the disk when it returns."""
    pragmas = (
        "journal_mode=WAL",
        "synchronous=FULL",
        f"busy_timeout={BUSY_MS}",
        f"foreign_keys={'ON' if foreign_keys else 'OFF'}",
    )

    def prepare(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
