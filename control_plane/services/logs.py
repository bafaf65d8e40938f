"""The log of a service, read from the instance that stores it."""

from collections.abc import AsyncIterator, Sequence

from control_plane import errors, ports
from control_plane.domain import instance, values
from control_plane.services.context import Context, service_of

MAX_TAIL = 5000
SOURCES = ("", "run", "build")


class Logs:
    """The use case of `/v1/services/:id/logs`."""

    def __init__(self, context: Context, relay: ports.LogRelay) -> None:
        self._context = context
        self._relay = relay

    async def open(
        self,
        principal: values.Principal,
        service: str,
        *,
        tail: int = 100,
        follow: bool = False,
        after_seq: int = 0,
        source: str = "",
        release: int = 0,
    ) -> AsyncIterator[Sequence[values.LogLine]]:
        """Batches of lines, see LogRelay.read; the caller closes it. UnavailableError when the instance is away."""
        _check(tail, after_seq, source, release)
        async with self._context.store.read() as tx:
            found = await service_of(tx, principal, service, "log:read")
            host = await tx.find_instance(found.instance_id)
        if host is None or not instance.is_online(host, self._context.clock.now()):
            raise errors.UnavailableError(
                f"cannot read the log of service {found.name!r}: its instance is not connected; try again later",
                {"instance": found.instance_id},
            )
        return self._relay.read(found.instance_id, values.LogQuery(found.id, tail, follow, after_seq, source, release))


def _check(tail: int, after_seq: int, source: str, release: int) -> None:
    issues = {
        "tail": "" if 0 <= tail <= MAX_TAIL else f"must be 0 to {MAX_TAIL}",
        "after_seq": "" if 0 <= after_seq < 2**63 else "must be 0 or more",
        "source": "" if source in SOURCES else "must be run or build",
        "release": "" if 0 <= release < 2**31 else "must be the number of a release",
    }
    for field, issue in issues.items():
        if issue:
            raise errors.InvalidError.field(f"cannot read logs: {field} {issue}", field, issue)
