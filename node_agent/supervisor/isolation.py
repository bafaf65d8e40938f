"""Whether each service has users of its own here, and which. Asked before every start; says no with a reason."""

import os
from typing import Protocol

from node_agent.clock import Clock
from node_agent.paths import Paths
from node_agent.supervisor import estates, identities
from node_agent.supervisor.identities import Identities, Identity
from node_agent.supervisor.loop import note

OFF = "none"


class Isolation(Protocol):
    """`words` are the capability, as it is really enforced."""

    words: str

    def of(self, service_id: str) -> Identity | None:
        """Whom the service's programs run as, its directories made; None: as ourselves. Raises OSError."""
        ...

    def forget(self, service_id: str) -> None:
        """Nothing of the service runs any more. Raises OSError."""
        ...


class NoIsolation:
    """Every program runs as we do."""

    def __init__(self, why: str) -> None:
        self.words = f"none: {why}"

    def of(self, service_id: str) -> Identity | None:  # noqa: ARG002 - the same for all
        return None

    def forget(self, service_id: str) -> None:
        """Nothing was kept."""


class Users:
    """A pair of uids for each service. Raises OSError when made where directories cannot be put right."""

    def __init__(self, paths: Paths, span: range, clock: Clock) -> None:
        self.words = f"users: a uid for each app and one for its builds, from {span.start} on"
        self._paths = paths
        estates.open_up(paths)
        self._identities = Identities(
            paths.identities,
            span,
            clock,
            lambda service_id, identity: estates.gone(paths, service_id, identity),
            lambda: estates.owners(paths),
        )
        self._settled: set[str] = set()

    def of(self, service_id: str) -> Identity | None:
        identity = self._identities.ensure(service_id)
        if service_id not in self._settled or not self._paths.home(service_id).is_dir():
            estates.settle(self._paths, service_id, identity)
            self._settled.add(service_id)
        return identity

    def forget(self, service_id: str) -> None:
        self._settled.discard(service_id)
        self._identities.release(service_id)


def open_isolation(paths: Paths, span: str, clock: Clock) -> Isolation:
    """As this host allows. `span`: a range of uids, or "none". Raises SpanError, OSError."""
    if span == OFF:
        return NoIsolation("it was turned off with --uid-range none")
    uids = identities.parse_span(span)
    if os.geteuid():
        return NoIsolation("every app runs as the supervisor's user, who is not root")
    if closed := estates.obstacle(paths.root):
        note("isolation.refused", closed=closed)
        return NoIsolation(f"other users cannot enter {closed}, above the data directory; use another, or open it")
    return Users(paths, uids, clock)
