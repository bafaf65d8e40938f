"""The audit in a database file, read beside the daemon that writes it: no lock is held between two batches.

The file is opened for reading only, and nothing is migrated. What cannot be decoded is given as an entry that no hash
fits, so that whoever walks the chain finds it.
"""

import contextlib
import datetime
import json
import pathlib
import sqlite3
import urllib.parse
from collections.abc import Iterator
from typing import Any

from control_plane import errors
from control_plane.domain import values

BATCH = 1000
COLUMNS = tuple(values.AuditEntry.__slots__)
BUSY_S = 5.0


@contextlib.contextmanager
def opened(path: pathlib.Path) -> Iterator["AuditFile"]:
    """The audit in `path`. NotFoundError when there is none, UnavailableError when it cannot be read."""
    if not path.is_file():
        raise errors.NotFoundError(f"cannot find the database {path}: name the data directory with --data-dir")
    address = f"file:{urllib.parse.quote(str(path.absolute()))}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True, timeout=BUSY_S, isolation_level=None)) as connection:
            yield AuditFile(connection)
    except sqlite3.Error as error:
        raise errors.UnavailableError(f"cannot read the audit in {path}: {error}") from error


class AuditFile:
    """Entries by their place in the chain."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def newest(self) -> int:
        """The highest sequence; 0 when there is no entry."""
        return int(self._connection.execute("SELECT coalesce(max(sequence), 0) FROM audit").fetchone()[0])

    def entries(self, last: int) -> Iterator[values.AuditEntry]:
        """Oldest first, up to the sequence `last`."""
        query = f"SELECT {', '.join(COLUMNS)} FROM audit WHERE sequence > ? AND sequence <= ? ORDER BY sequence LIMIT ?"  # noqa: S608 - our own names
        after: Any = -1
        while rows := self._connection.execute(query, (after, last, BATCH)).fetchall():
            yield from (_entry(dict(zip(COLUMNS, row, strict=True))) for row in rows)
            after = rows[-1][COLUMNS.index("sequence")]


def _entry(row: dict[str, Any]) -> values.AuditEntry:
    try:
        at, data = datetime.datetime.fromisoformat(row["at"]), json.loads(row["data"])
        if at.tzinfo is None:
            raise ValueError("a time without its zone")
    except (ValueError, RecursionError):
        at, data = datetime.datetime.fromtimestamp(0, datetime.UTC), None
        row |= {"hash": "unreadable"}
    return values.AuditEntry(**{**row, "at": at, "data": data})
