"""The work that a request makes for the database: every statement that the real store executes, as it was written.

No time is taken: two requests that execute the same statements cost the same, on any machine.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from sqlalchemy import event

from control_plane.store.database import SqlStore


@contextlib.contextmanager
def executed(store: SqlStore) -> Iterator[list[str]]:
    """Grows with each statement inside of a transaction; values are not in it."""
    found: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        found.append(statement)

    engine = store._connections.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", note)
