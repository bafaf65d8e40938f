"""The work that a request makes for the database: every statement that a real store executes, as it was written.

No time is taken: two requests that execute the same statements cost the same, on any machine.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event


@contextlib.contextmanager
def executed() -> Iterator[list[str]]:
    """Grows with each statement inside of a transaction; values are not in it."""
    found: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        found.append(statement)

    event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(sa.Engine, "before_cursor_execute", note)
