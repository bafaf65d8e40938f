"""What the parts of the supervisor share."""

import contextlib
import dataclasses
import errno
from collections.abc import Callable, Collection

from node_agent.clock import Chance, Clock
from node_agent.model.process import Limits
from node_agent.paths import Paths
from node_agent.supervisor import launch, spawn
from node_agent.supervisor.cages import Cage, Cages
from node_agent.supervisor.calls import Calls, NoCalls
from node_agent.supervisor.children import Children
from node_agent.supervisor.endings import Endings
from node_agent.supervisor.identities import Identity
from node_agent.supervisor.isolation import Isolation
from node_agent.supervisor.logs import LogStore
from node_agent.supervisor.loop import Loop
from node_agent.supervisor.records import Records


@dataclasses.dataclass(frozen=True, slots=True)
class Host:
    """`changed(service_id)` tells every connection that a process of the service changed."""

    loop: Loop
    clock: Clock
    chance: Chance
    paths: Paths
    boot_id: str
    children: Children
    cages: Cages
    endings: Endings
    logs: LogStore
    records: Records
    changed: Callable[[str], None]
    isolation: Isolation
    calls: Calls | NoCalls

    def identity(self, service_id: str, volumes: Collection[str] = ()) -> Identity | None:
        """Whom the service's programs run as, its `volumes` made; None for ourselves. Raises StartError."""
        try:
            found = self.isolation.of(service_id)
        except OSError as error:
            raise launch.StartError(error.errno or errno.EIO, f"cannot make a user for it: {error}") from error
        try:
            self.isolation.make_volumes(service_id, volumes)
        except OSError as error:
            raise launch.StartError(error.errno or errno.EIO, f"cannot make its volumes: {error}") from error
        return found

    def caged(self, name: str, limits: Limits) -> Cage | None:
        """The cage of that name; None where this host has none. Raises StartError."""
        try:
            return self.cages.create(name, limits)
        except OSError as error:
            raise launch.StartError(error.errno or errno.EIO, f"cannot make its cage: {error}") from error

    def demand_limits(self, limits: Limits) -> None:
        """Raises StartError where the rung cannot enforce what is strict."""
        missing = [name for name in limits.named() if name not in self.cages.limits]
        if limits.strict and missing:
            words = f"this host cannot limit {', '.join(missing)} ({self.cages.words}); leave strict out or use another instance"
            raise launch.StartError(errno.ENOTSUP, words)

    def spawn(self, service_id: str, wanted: launch.Launch, cage: Cage | None) -> int:
        """Start a program of the service in its cage and its room; the pid. Raises StartError."""
        try:
            room = self.isolation.room(service_id, wanted.user)
        except OSError as error:
            raise launch.StartError(error.errno or errno.EIO, f"cannot make its own /tmp: {error}") from error
        return spawn.spawn(wanted, cage=cage, room=room, reader=self.isolation.household.agent.uid)

    @staticmethod
    def discard(cage: Cage | None) -> None:
        """Remove the cage of a tree that is gone; one that cannot be is swept away by the next supervisor."""
        with contextlib.suppress(OSError):
            if cage is not None:
                cage.remove()


class RefusedError(Exception):
    """The supervisor says no, and why; the text goes to the caller."""
