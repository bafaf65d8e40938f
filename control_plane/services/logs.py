"""The log of a service, read from the instance that stores it."""

import contextlib
import dataclasses
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any, cast

from control_plane import errors, ports
from control_plane.domain import instance, values
from control_plane.services.context import Context, service_of

MAX_TAIL = 5000
MAX_GREP = 1000
MAX_WORD = 64
SOURCES = ("", "run", "build")
STREAMS = ("", "stdout", "stderr")

Lines = AsyncIterator[Sequence[values.LogLine]]


class Logs:
    """The use case of `/v1/services/:id/logs`."""

    def __init__(self, context: Context, relay: ports.LogRelay) -> None:
        self._context = context
        self._relay = relay

    async def open(self, principal: values.Principal, service: str, *, partial: bool = False, **filters: Any) -> Lines:
        """Batches of lines, see LogRelay.read; the caller closes it. `filters` are those of values.LogQuery.

        UnavailableError when the instance is away, or goes meanwhile; with `partial` then what is elsewhere, or came
        before.
        """
        query = values.LogQuery(service, **filters)
        _check(query)
        async with self._context.store.read() as tx:
            found = await service_of(tx, principal, service, "log:read")
            host = await tx.find_instance(found.instance_id)
        if host is None or not instance.is_online(host, self._context.clock.now()):
            if partial:
                return _nothing()
            raise errors.UnavailableError(
                f"cannot read the log of service {found.name!r}: its instance is not connected; try again later",
                {"instance": found.instance_id},
            )
        lines = self._relay.read(found.instance_id, dataclasses.replace(query, service_id=found.id))
        return _as_far_as(lines, follow=query.follow) if partial else lines


async def _as_far_as(lines: Lines, *, follow: bool) -> AsyncGenerator[Sequence[values.LogLine], None]:
    """`lines` until the instance goes. A follower that was sent some is told that it went."""
    sent = False
    async with contextlib.aclosing(cast("AsyncGenerator[Sequence[values.LogLine], None]", lines)):
        try:
            async for batch in lines:
                yield batch
                sent = True
        except errors.UnavailableError:
            if follow and sent:
                raise


async def _nothing() -> AsyncGenerator[Sequence[values.LogLine], None]:
    nothing: tuple[Sequence[values.LogLine], ...] = ()
    for batch in nothing:
        yield batch


def _check(query: values.LogQuery) -> None:
    issues = {
        "tail": "" if 0 <= query.tail <= MAX_TAIL else f"must be 0 to {MAX_TAIL}",
        "after_seq": "" if 0 <= query.after_seq < 2**63 else "must be 0 or more",
        "source": "" if query.source in SOURCES else "must be run or build",
        "release": "" if 0 <= query.release < 2**31 else "must be the number of a release",
        "stream": "" if query.stream in STREAMS else "must be stdout or stderr",
        "process": "" if len(query.process) <= MAX_WORD else f"must be at most {MAX_WORD} characters",
        "grep": "" if len(query.grep) <= MAX_GREP else f"must be at most {MAX_GREP} characters",
        "until": "must not be before since" if 0 < query.until < query.since else "",
    }
    bad = [{"field": field, "issue": issue} for field, issue in issues.items() if issue]
    if bad:
        raise errors.InvalidError.several("cannot read logs", bad)
