"""Raw files that grow faster than in one piece at a time: their numbering waits while there is room for that.

A burst is not slowed down by us: while it goes on, one file in turn has one piece numbered every TICK_S. Once a service,
or the host, has more behind than its share of the room, or once nothing grows any more, everything goes on at full speed.
"""

import collections
import os
from collections.abc import Callable

from node_agent.model import log_space
from node_agent.model.log_space import Budgets
from node_agent.supervisor.loop import Loop, Timer
from node_agent.supervisor.raw_writers import Watched

TICK_S = 0.008


class Floods:
    """`go_on` gives a file a turn, `grew` hears how many bytes came to a service."""

    def __init__(
        self, loop: Loop, budgets: Budgets, go_on: Callable[[Watched], None], grew: Callable[[str, int], None]
    ) -> None:
        self._loop, self._budgets, self._go_on, self._grew = loop, budgets, go_on, grew
        self._files: dict[str, Watched] = {}
        self.urgent: set[str] = set()  # services that are numbered at full speed, for what they have behind
        self._timer: Timer | None = None

    def add(self, watched: Watched) -> None:
        """More of it waits."""
        self._files[watched.key] = watched
        if watched.service_id in self.urgent:
            self._go_on(watched)
        if self._timer is None:
            self._timer = self._loop.later(TICK_S, self._tick)

    def discard(self, watched: Watched) -> None:
        self._files.pop(watched.key, None)

    def _tick(self) -> None:
        self._timer = None
        grows = sum(self._measure(watched) for watched in self._files.values())
        self.urgent = self._services_in_a_hurry() if grows else {found.service_id for found in self._files.values()}
        paced = [watched for watched in self._files.values() if watched.service_id not in self.urgent]
        for watched in tuple(self._files.values()):
            if watched.service_id in self.urgent:
                self._go_on(watched)
        if paced:
            self._files[paced[0].key] = self._files.pop(paced[0].key)  # the last one next time
            self._go_on(paced[0])
        if self._files:
            self._timer = self._loop.later(TICK_S, self._tick)

    def _measure(self, watched: Watched) -> int:
        """How many bytes came."""
        grown = os.fstat(watched.fd).st_size - watched.size
        watched.size += grown
        if grown > 0:
            self._grew(watched.service_id, grown)
        return max(0, grown)

    def _services_in_a_hurry(self) -> set[str]:
        behind: collections.Counter[str] = collections.Counter()
        for watched in self._files.values():
            behind[watched.service_id] += watched.size - watched.numbered
        return log_space.in_a_hurry(behind, self._budgets)
