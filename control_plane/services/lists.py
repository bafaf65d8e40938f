"""Pages of lists, and the reader's side of cursors."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol, TypeVar

from control_plane import errors
from control_plane.domain import paging, values


class Positioned(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def created_at(self) -> values.Time: ...


T = TypeVar("T", bound=Positioned)


async def page(
    fetch: Callable[[str | None, int], Awaitable[Sequence[T]]], cursor: str | None, limit: int
) -> tuple[tuple[T, ...], str | None]:
    """Up to `limit` objects behind `cursor`, and the next cursor. `fetch(after, limit)` asks the store."""
    rows = await fetch(paging.decode(cursor), paging.checked_limit(limit) + 1)
    return tuple(rows[:limit]), cursor_of(rows[limit - 1]) if len(rows) > limit else None


def cursor_of(last: Positioned) -> str:
    return paging.encode(paging.position(last.created_at, last.id))


def checked_status(status: str | None, known: Collection[str]) -> str | None:
    """A filter by status. Raises InvalidError for a word that no object of the list can have."""
    if status is not None and status not in known:
        raise errors.InvalidError.field(
            f"cannot list by status {status[:100]!r}", "status", "unknown status", supported=sorted(known)
        )
    return status
