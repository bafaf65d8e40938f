"""Work that may wait: one piece at a time, with a look at everything else between two of them."""

import collections
from collections.abc import Callable

from node_agent.supervisor.loop import Loop


class Turns:
    """A queue. Whoever has more to do than a piece of about a millisecond comes again."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._waiting: collections.deque[Callable[[], None]] = collections.deque()

    def add(self, piece: Callable[[], None]) -> None:
        self._waiting.append(piece)
        if len(self._waiting) == 1:
            self._loop.later(0.0, self._next)

    def _next(self) -> None:
        try:
            self._waiting[0]()
        finally:
            self._waiting.popleft()
            if self._waiting:
                self._loop.later(0.0, self._next)
