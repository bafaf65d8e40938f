"""Whether each service has users of its own here, and which. Asked before every start; says no with a reason."""

import os
from typing import Protocol

from node_agent.clock import Clock
from node_agent.paths import Paths
from node_agent.supervisor import estates, fence, identities, rooms
from node_agent.supervisor.identities import Identities, Identity, User
from node_agent.supervisor.loop import note
from node_agent.supervisor.rooms import Room

OFF = "none"


class Isolation(Protocol):
    """`words` and `tmp_words` are capabilities, as they are really enforced."""

    words: str
    tmp_words: str

    def of(self, service_id: str) -> Identity | None:
        """Whom the service's programs run as, its directories made; None: as ourselves. Raises OSError."""
        ...

    def room(self, service_id: str, user: User | None) -> Room | None:
        """Where a program of the service that runs as `user` has its own /tmp; None: it has that of all. Raises OSError."""
        ...

    def forget(self, service_id: str) -> None:
        """Nothing of the service runs any more. Raises OSError."""
        ...


class NoIsolation:
    """Every program runs as we do."""

    def __init__(self, why: str) -> None:
        self.words = self.tmp_words = f"none: {why}"

    def of(self, service_id: str) -> Identity | None:  # noqa: ARG002 - the same for all
        return None

    def room(self, service_id: str, user: User | None) -> Room | None:  # noqa: ARG002 - the same for all
        return None

    def forget(self, service_id: str) -> None:
        """Nothing was kept."""


class Users:
    """A pair of uids for each service. Raises OSError when made where directories cannot be put right."""

    def __init__(self, paths: Paths, span: range, clock: Clock) -> None:
        self.words = f"users: a uid for each app and one for its builds, from {span.start} on; {_fence()}"
        self._paths = paths
        self._rooms, self.tmp_words = rooms.open_rooms(paths.root)
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

    def room(self, service_id: str, user: User | None) -> Room | None:
        identity = self._identities.find(service_id)
        if self._rooms is None or identity is None or user is None:
            return None
        of = self._paths.tmp if user == identity.app_user else self._paths.build_tmp
        return self._rooms.room(str(of(service_id)))

    def forget(self, service_id: str) -> None:
        if self._rooms is not None:
            for of in (self._paths.tmp, self._paths.build_tmp):
                self._rooms.forget(str(of(service_id)))
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


def _fence() -> str:
    try:
        fence.raise_up()
    except OSError as error:
        note("fence.refused", error=error)
        return f"user namespaces as the host allows them ({error})"
    return "no user namespaces"
