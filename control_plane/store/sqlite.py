"""How every connection to SQLite is set up, for serving and for migrating."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

CONNECT_ARGS = {"isolation_level": None}  # the driver begins nothing by itself: who opens it does, also before DDL


def set_up(engine: sa.Engine, busy_ms: int, *, foreign_keys: bool = True) -> None:
    """Make the connections of `engine` durable: a commit is on the disk when it returns.

    They wait `busy_ms` for another process, then they fail as busy.
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
