"""What happened: events, in pages and as they come, and the audit."""

import dataclasses
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

from control_plane import errors, ports
from control_plane.domain import event, moment, paging, permissions, values
from control_plane.services.context import Context, named_project, shown_projects

LOOK_AGAIN_S = 2.0  # and ask whether the follower may still see what it is sent
BATCH = 100

Again = Callable[[], Awaitable[values.Principal]]


@dataclasses.dataclass(frozen=True, slots=True)
class Reader:
    """Where a follower is, and what it wants. `project` is the id of the one that it asked for."""

    wanted: values.EventQuery
    project: str | None
    after: int


class History:
    """The use cases of `/v1/events` and `/v1/audit`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def audit(
        self,
        principal: values.Principal,
        wanted: values.AuditQuery,
        project: str | None = None,
        cursor: str | None = None,
        limit: int = paging.DEFAULT_LIMIT,
    ) -> values.Page:
        """One page of entries, newest first. What concerns no project is shown to operators alone."""
        before, limit = paging.decode_number(cursor), paging.checked_limit(limit)
        async with self._context.store.read() as tx:
            projects = await shown_projects(tx, principal, "audit:read", project)
            rows = await tx.list_audit(projects, wanted, before, limit + 1)
        following = paging.encode_number(rows[limit - 1].sequence) if len(rows) > limit else None
        return values.Page(tuple(rows[:limit]), following)

    async def events(
        self,
        principal: values.Principal,
        types: str | None = None,
        subject: str | None = None,
        since: str | None = None,
        project: str | None = None,
        cursor: str | None = None,
        limit: int = paging.DEFAULT_LIMIT,
    ) -> values.Page:
        """One page of events, oldest first, behind `since`: a time, or the id or sequence of an event."""
        behind, limit = paging.decode_number(cursor), paging.checked_limit(limit)
        async with self._context.store.read() as tx:
            projects = await shown_projects(tx, principal, "event:read", project)
            reader = await _reader(tx, principal, types, subject, since, None)
            after = reader.after if behind is None else behind
            rows = await tx.list_events(projects, reader.wanted, after, limit + 1)
        following = paging.encode_number(rows[limit - 1].sequence) if len(rows) > limit else None
        return values.Page(tuple(rows[:limit]), following)

    async def open(
        self,
        principal: values.Principal,
        types: str | None = None,
        subject: str | None = None,
        since: str | None = None,
        project: str | None = None,
    ) -> Reader:
        """The place of a new follower: behind `since`, without it behind all that has happened. Raises as `events`."""
        async with self._context.store.read() as tx:
            known = None if project is None else (await named_project(tx, principal, project, "event:read")).id
            permissions.visible(principal, "event:read")
            reader = await _reader(tx, principal, types, subject, since, known)
            return reader if since is not None else dataclasses.replace(reader, after=await tx.newest_event())

    async def follow(self, reader: Reader, again: Again) -> AsyncGenerator[Sequence[values.Event], None]:
        """Batches of events as they happen, without an end. At most one batch is held for a reader that is slow.

        `again` says who the follower is by now. It is asked every LOOK_AGAIN_S, and what it raises ends the stream.
        """
        clock, principal, asked = self._context.clock, await again(), self._context.clock.monotonic()
        while True:
            seen = self._context.notifier.count(ports.EVENTS)
            if clock.monotonic() - asked >= LOOK_AGAIN_S:
                principal, asked = await again(), clock.monotonic()
            batch, reader = await self._next(principal, reader)
            if batch:
                yield batch
            if len(batch) < BATCH:
                await self._context.notifier.wait_beyond(ports.EVENTS, seen, LOOK_AGAIN_S)

    async def _next(self, principal: values.Principal, reader: Reader) -> tuple[Sequence[values.Event], Reader]:
        """What follows for `reader`, and its place behind that: behind everything when nothing more is wanted."""
        async with self._context.store.read() as tx:
            projects = _projects(principal, reader.project)
            newest = await tx.newest_event()
            if newest <= reader.after:
                return (), reader
            batch = await tx.list_events(projects, reader.wanted, reader.after, BATCH)
        place = batch[-1].sequence if len(batch) == BATCH else max(newest, reader.after)
        return batch, dataclasses.replace(reader, after=place)


def _projects(principal: values.Principal, project_id: str | None) -> frozenset[str] | None:
    """The projects that a follower may see now. The loss of the one it asked for ends its stream."""
    if project_id is None:
        return permissions.visible(principal, "event:read")
    if not permissions.can_see(principal, project_id):
        raise errors.NotFoundError("cannot follow the events of this project any more")
    permissions.demand(principal, "event:read", project_id)
    return frozenset({project_id})


async def _reader(
    tx: ports.Transaction,
    principal: values.Principal,
    types: str | None,
    subject: str | None,
    since: str | None,
    project: str | None,
) -> Reader:
    wanted = values.EventQuery(() if types is None else event.matching(types), subject or "")
    if since is None:
        return Reader(wanted, project, 0)
    if since.isascii() and since.isdigit() and len(since) <= 18:
        return Reader(wanted, project, int(since))
    if since.startswith("evt_"):
        return Reader(wanted, project, (await _event_of(tx, principal, since)).sequence)
    return Reader(dataclasses.replace(wanted, since=moment.parsed(since, "since")), project, 0)


async def _event_of(tx: ports.Transaction, principal: values.Principal, event_id: str) -> values.Event:
    found = await tx.find_event(event_id)
    if found is None or not permissions.can_see(principal, found.project_id):
        raise errors.InvalidError.field(f"cannot go on behind event {event_id[:100]!r}", "since", "no such event")
    return found
